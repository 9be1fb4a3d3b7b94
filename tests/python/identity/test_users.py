"""Users are kept, and what is changed of them takes effect at once."""

import pika
import pika.exceptions
import pytest

from identity.login import logs_in
from support.control import Refused, ctl, listed
from support.deadline import pump
from support.messages import PERSISTENT, publish

pytestmark = pytest.mark.own_broker

# The first two are RabbitMQ's own vectors; the third is one of OpenBSD's.
FOREIGN = [
    ("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "rabbit_password_hashing_sha256", "test12"),
    ("+pHuxkR9fCyrrwXjOD4BP4XbzO3l8LJr8YkThMgJ0yVHFRE+", None, "guest"),
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "lavinmq_bcrypt", "U*U"),
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", None, "U*U"),
]


def tags(broker):
    """The users with their tags."""
    return {row["user"]: row["tags"] for row in listed(broker, "list_users")}


def limits(broker):
    """The users that have limits, with these."""
    return {row["user"]: row["limits"] for row in listed(broker, "list_user_limits")}


def refused(code, *command, stdin=""):
    """Runs a command that must fail with this exit code, and answers what it said."""
    with pytest.raises(Refused) as caught:
        ctl(*command, stdin=stdin)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def test_users_survive_a_kill(on):
    broker = on()
    assert tags(broker) == {"guest": ["administrator"]}
    ctl(broker, "add_user", "alice", "one")
    ctl(broker, "add_user", "bob", stdin="from a file\n")
    ctl(broker, "add_user", "carol", "three")
    ctl(broker, "set_user_tags", "alice", "monitoring", "night-shift")
    ctl(broker, "set_user_limits", "alice", '{"max-connections": 5, "max-channels": 9}')
    ctl(broker, "clear_user_limits", "alice", "max-channels")
    ctl(broker, "change_password", "alice", "two")
    ctl(broker, "delete_user", "carol")
    for _ in range(2):
        broker.kill()
        broker = on()
        assert tags(broker) == {"alice": ["monitoring", "night-shift"], "bob": [], "guest": ["administrator"]}
        assert limits(broker) == {"alice": {"max-connections": 5}}
        assert logs_in(broker, "alice", "two") and logs_in(broker, "bob", "from a file")
        assert not logs_in(broker, "alice", "one") and not logs_in(broker, "carol", "three")
    assert broker.stop() == 0
    broker = on()
    assert set(tags(broker)) == {"alice", "bob", "guest"}


def test_users_outlive_the_journal_they_were_written_to(on, opened):
    small = {"storage.journal_file": "64KiB", "storage.journal_budget": "256KiB", "storage.sync": "never"}
    broker = on(small)
    ctl(broker, "add_user", "alice", "one")
    ctl(broker, "add_vhost", "/kept")
    ctl(broker, "add_vhost", "/gone")
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True)

    def journal_files():
        return {path.name for path in broker.data_dir.iterdir() if path.name.startswith("journal-")}

    first = min(journal_files())
    for number in range(1000):
        if first not in journal_files():
            break
        publish(channel, "", "q", *["x" * 10_000] * 20, properties=PERSISTENT)
        channel.queue_purge("q")
        if number == 0:
            ctl(broker, "delete_vhost", "/gone")
    assert first not in journal_files()
    broker.kill()
    broker = on(small)
    assert logs_in(broker, "alice", "one") and logs_in(broker, "guest", "guest")
    assert [row["name"] for row in listed(broker, "list_vhosts")] == ["/", "/kept"]


def test_the_default_user_is_that_of_the_first_start(on):
    first = {"auth.default_user": "root", "auth.default_pass": "first"}
    broker = on(first)
    assert tags(broker) == {"root": ["administrator"]}
    # At once, whether or not its hash is made by now.
    broker.kill()
    broker = on(first)
    assert logs_in(broker, "root", "first")
    assert broker.stop() == 0
    broker = on({"auth.default_user": "other", "auth.default_pass": "second"})
    assert tags(broker) == {"root": ["administrator"]}
    assert logs_in(broker, "root", "first") and not logs_in(broker, "other", "second")


def test_users_of_the_configuration_are_set_at_each_start(on):
    settings = {"auth.users.ci.password": "said", "auth.users.ci.tags": '["a"]'}
    broker = on(settings)
    assert logs_in(broker, "ci", "said")
    ctl(broker, "change_password", "ci", "changed")
    ctl(broker, "set_user_limits", "ci", '{"max-connections": 4}')
    assert logs_in(broker, "ci", "changed") and not logs_in(broker, "ci", "said")
    assert broker.stop() == 0
    broker = on(settings)
    assert logs_in(broker, "ci", "said") and not logs_in(broker, "ci", "changed")
    assert tags(broker)["ci"] == ["a"]
    assert limits(broker) == {"ci": {"max-connections": 4}}
    assert broker.stop() == 0
    broker = on()
    assert logs_in(broker, "ci", "said"), "it is kept without its section"


def test_a_password_counts_until_it_is_changed(on, opened):
    broker = on({"auth.users.ci.password": "one"})
    connection = opened(broker, user="ci", password="one")
    assert logs_in(broker, "ci", "one"), "and is known now"
    ctl(broker, "change_password", "ci", stdin="two\r\n")
    assert not logs_in(broker, "ci", "one") and logs_in(broker, "ci", "two", "AMQPLAIN")
    ctl(broker, "clear_password", "ci")
    assert not logs_in(broker, "ci", "two") and not logs_in(broker, "ci", "")
    connection.channel().queue_declare("", exclusive=True)
    connection.close()


@pytest.mark.parametrize(("scheme", "begin"), [("argon2id", "$argon2id$v=19$m=9216,t=4,p=1$"), ("rabbit_sha512", "")])
def test_hashes_that_are_printed_can_be_used(on, scheme, begin):
    broker = on()
    text = ctl(broker, "hash_password", "--hashing-algorithm", scheme, stdin="pass word\n").strip()
    assert text.startswith(begin)
    ctl(broker, "add_user", "alice", text, "--pre-hashed-password")
    assert logs_in(broker, "alice", "pass word")


def test_hashes_of_other_brokers_log_in(on):
    broker = on()
    for number, (text, algorithm, _) in enumerate(FOREIGN):
        options = ["--hashing-algorithm", algorithm] if algorithm else []
        ctl(broker, "add_user", f"u{number}", text, "--pre-hashed-password", *options)
    broker.kill()
    broker = on()
    for number, (_, _, password) in enumerate(FOREIGN):
        assert logs_in(broker, f"u{number}", password), password
        assert not logs_in(broker, f"u{number}", password + "x")
    md5 = ["--pre-hashed-password", "--hashing-algorithm", "rabbit_password_hashing_md5"]
    assert "MD5" in refused(65, broker, "add_user", "weak", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", *md5)


def test_exit_codes_and_texts_are_those_of_rabbitmqctl(on):
    broker = on({"auth.min_password_length": 4})
    ctl(broker, "add_user", "alice", "long enough")
    assert refused(70, broker, "add_user", "alice", "other") == 'leveret: User "alice" already exists'
    for command in (
        ["delete_user", "bob"],
        ["change_password", "bob", "long enough"],
        ["clear_password", "bob"],
        ["set_user_tags", "bob", "a"],
        ["set_user_limits", "bob", '{"max-channels": 1}'],
        ["clear_user_limits", "bob", "all"],
    ):
        assert refused(67, broker, *command) == 'leveret: User "bob" does not exist'
    refused(65, broker, "add_user", "bob", "abc")
    refused(65, broker, "add_user", "bob", stdin="\n")
    refused(65, broker, "set_user_tags", "alice", "a,b")
    refused(65, broker, "set_user_limits", "alice", '{"max-queues": 1}')
    refused(65, broker, "authenticate_user", "alice", "wrong")
    refused(65, broker, "authenticate_user", "bob", "wrong")
    ctl(broker, "authenticate_user", "alice", stdin="long enough")
    assert broker.stop() == 0
    refused(69, broker, "list_users")


def test_a_deleted_user_is_disconnected(on, opened):
    broker = on({"auth.users.ci.password": "one", "auth.users.ops.password": "two"})
    doomed = [opened(broker, user="ci", password="one") for _ in range(3)]
    other = opened(broker, user="ops", password="two")
    doomed[0].channel().queue_declare("kept", durable=True)
    ctl(broker, "delete_user", "ci")
    for connection in doomed:
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
            pump(connection, lambda: False, "it is closed", 2)
        assert (caught.value.reply_code, caught.value.reply_text) == (
            320,
            "CONNECTION_FORCED - user 'ci' is deleted",
        )
    other.channel().queue_declare("kept", passive=True)
    assert not logs_in(broker, "ci", "one")


def test_limits_hold_for_what_is_opened_after(on, opened):
    broker = on({"auth.users.ci.password": "one"})
    connection = opened(broker, user="ci", password="one")
    ctl(broker, "set_user_limits", "ci", '{"max-connections": 1, "max-channels": 1}')
    with pytest.raises(pika.exceptions.AMQPConnectionError, match=r"530.*user connection limit \(1\) is reached"):
        opened(broker, user="ci", password="one")
    channel = connection.channel()
    ctl(broker, "clear_user_limits", "ci", "all")
    opened(broker, user="ci", password="one")
    connection.channel()
    channel.queue_declare("", exclusive=True)
