"""Definitions that are imported at the start, as clients see them."""

import json
import shutil

import pika
import pika.exceptions
import pytest

from support.broker import ROOT
from support.control import ctl
from support.deadline import eventually
from support.messages import PERSISTENT, publish

pytestmark = pytest.mark.own_broker

DATA = ROOT / "tests" / "data" / "definitions"
GUEST = "+pHuxkR9fCyrrwXjOD4BP4XbzO3l8LJr8YkThMgJ0yVHFRE+"


def connected(broker, user, password, vhost="/"):
    """A connection of the user, which ends with a `with`."""
    return pika.BlockingConnection(broker.parameters(vhost, user, password))


def refused(broker, user, password):
    """Whether the user cannot log in."""
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connected(broker, user, password)
    return True


def users(*names):
    """A document with users whose password is guest, and who may do everything."""
    rows = [{"user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"} for name in names]
    return {
        "users": [{"name": name, "password_hash": GUEST, "tags": ["administrator"]} for name in names],
        "permissions": rows,
    }


def counted(broker, what):
    """The lines of the log that begin so."""
    return [record["message"] for record in broker.records() if record["message"].startswith(what)]


def test_an_export_of_rabbitmq_works_from_the_first_moment(on):
    broker = on({"definitions.load": DATA / "rabbitmq-3.13.json"})
    assert refused(broker, "guest", "guest"), "the default user is not made beside others"
    with connected(broker, "admin", "test12", "orders") as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        publish(channel, "orders.events", "eu.created", "one")
        arguments = {"x-delivery-limit": 20, "x-queue-type": "quorum"}
        declared = channel.queue_declare("orders.new", durable=True, arguments=arguments)
        assert declared.method.message_count == 1
        channel.queue_declare("orders.audit", durable=True, passive=True)
    with connected(broker, "orders-service", "guest", "orders") as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        publish(channel, "orders.events", "orders-service.failed", "two", properties=PERSISTENT)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.queue_declare("mine")
        assert closed.value.reply_code == 403
        assert connection._impl.server_properties["cluster_name"] == "orders-cluster"
    (line,) = counted(broker, "definitions are imported: ")
    assert "queues: 4 new, 0 changed, 0 as they were" in line and "users: 3 new" in line
    unsupported = counted(broker, "imported and without effect: ")
    assert any("copy-orders" in line and "a parameter of shovel" in line for line in unsupported)
    broker.kill()

    again = on({"definitions.load": DATA / "rabbitmq-3.13.json"})
    with connected(again, "admin", "test12", "orders") as connection:
        channel = connection.channel()
        assert channel.queue_declare("orders.new", passive=True).method.message_count == 1
        assert channel.basic_get("orders.audit", auto_ack=True)[2] == b"two"
    (line,) = counted(again, "definitions are imported: ")
    assert "queues: 1 new, 0 changed, 3 as they were" in line, "the transient one"


@pytest.mark.parametrize(
    ("file", "user", "password", "vhost", "queue"),
    [
        ("rabbitmq-3.10.json", "guest", "guest", "shop", "orders"),
        ("rabbitmq-4.2.json", "app", "guest", "tenant-a", "work"),
        ("lavinmq-2.json", "meter", "U*U", "meters", "readings"),
    ],
)
def test_exports_of_other_brokers_are_loaded(leveret, file, user, password, vhost, queue):
    broker = leveret({"definitions.load": DATA / file})
    with connected(broker, user, password, vhost) as connection:
        assert connection.channel().queue_declare(queue, passive=True).method.message_count == 0


def test_the_files_of_a_directory_are_one_import(on, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "2-bindings.json").write_text(
        json.dumps({"bindings": [{"source": "x", "vhost": "v", "destination": "q", "destination_type": "queue"}]})
    )
    objects = {"vhosts": [{"name": "v"}], "queues": [{"name": "q", "vhost": "v"}]}
    objects["exchanges"] = [{"name": "x", "vhost": "v", "type": "fanout"}]
    (files / "1-objects.json").write_text(json.dumps(objects))
    (files / "3.txt").write_text("no definitions")
    (files / ".hidden.json").write_text("no definitions")
    broker = on({"definitions.load": files})
    with connected(broker, "guest", "guest") as connection:
        assert connection.is_open, "without users in the definitions the default user is made"
    assert "v" in ctl(broker, "list_vhosts")
    assert len(counted(broker, "definitions are imported: ")) == 1


def test_a_problem_ends_the_start_and_leaves_nothing(on, directory, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.json").write_text(json.dumps(users("a") | {"queues": [{"name": "q", "vhost": "nowhere"}]}))
    (files / "b.json").write_text(json.dumps({"users": [{"name": "b", "password": "s3cret", "tags": 5}]}))
    broker = on()
    broker.stop()
    shutil.rmtree(directory)
    broker.settings["definitions.load"] = files
    broker.launch()
    assert broker.wait() != 0
    told = eventually(lambda: broker.has_logged("2 problems") and broker.log_text(), "it says why")
    assert "a.json: queues[0] 'q' in vhost 'nowhere': vhost 'nowhere' does not exist" in told
    assert "b.json: users[0] 'b': tags should be a list" in told
    assert "s3cret" not in told
    del broker.settings["definitions.load"]
    broker.port = 0
    broker.start()
    assert refused(broker, "a", "guest")
    connected(broker, "guest", "guest").close()


def test_files_that_are_no_definitions_end_the_start(on, tmp_path):
    broker = on()
    broker.stop()
    for text, told in [("{", "not valid JSON at line 1"), ("[]", "should be a JSON object"), (None, "cannot read")]:
        file = tmp_path / "definitions.json"
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        broker.settings["definitions.load"] = file
        broker.launch()
        assert broker.wait() != 0
        assert told in broker.log_text()


def test_unchanged_definitions_are_skipped_if_wanted(on, tmp_path):
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(users("a")))
    settings = {"definitions.load": file, "definitions.skip_if_unchanged": "true"}
    broker = on(settings)
    ctl(broker, "change_password", "a", "changed")
    assert broker.stop() == 0
    broker = on(settings)
    assert counted(broker, "definitions are unchanged")
    connected(broker, "a", "changed").close()
    assert broker.stop() == 0
    file.write_text(json.dumps(users("a", "b")))
    broker = on(settings)
    assert not counted(broker, "definitions are unchanged")
    connected(broker, "a", "guest").close()
    connected(broker, "b", "guest").close()
