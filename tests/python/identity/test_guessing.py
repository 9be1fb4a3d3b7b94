"""Whoever guesses passwords gets nowhere, and disturbs nobody.

LEVERET_GUESSES   how many wrong passwords are tried (150 if it is not set)
"""

import os
import threading
import time

import pytest

from identity.login import Login, logs_in
from support.control import ctl
from support.deadline import eventually
from support.messages import publish

pytestmark = pytest.mark.own_broker

AT_ONCE = 50
GUESSES = int(os.environ.get("LEVERET_GUESSES", "150")) // AT_ONCE * AT_ONCE
GUESSER = "127.0.0.2"


def test_answers_to_wrong_passwords_come_later_each_time(leveret):
    broker = leveret({"auth.failed_login_delay": "200ms", "auth.users.ci.password": "right"})
    for least in (0.2, 0.4, 0.8):
        succeeded, seconds = Login(broker, "ci", "wrong").answer()
        assert not succeeded and seconds >= least
    slow = Login(broker, "ci", "wrong")
    succeeded, seconds = Login(broker, "ci", "right").answer()
    assert succeeded and seconds < 1.5, "a right password is not held back"
    assert not slow.answer()[0]
    succeeded, seconds = Login(broker, "somebody", "wrong").answer()
    assert not succeeded and seconds < 0.8, "nor is anybody else"


def test_guessing_does_not_disturb_others(leveret, opened):
    broker = leveret({"auth.failed_login_delay": 0, "auth.users.ci.password": "right"})
    channel = opened(broker).channel()
    channel.confirm_delivery()
    channel.queue_declare("q")
    assert logs_in(broker, "ci", "right")
    done = threading.Event()
    successes = []

    def guess(number):
        # Existing users and others, by turns; always as many at once as one address nearly may.
        for n in range(GUESSES // AT_ONCE):
            user = "ci" if n % 2 else f"u{n}"
            successes.append(Login(broker, user, f"p{number}-{n}", source=GUESSER).answer()[0])

    def crowd():
        threads = [threading.Thread(target=guess, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()

    guessing = threading.Thread(target=crowd)
    guessing.start()
    slowest, rounds = 0.0, 0
    while not done.is_set():
        began = time.monotonic()
        publish(channel, "", "q", "m")
        assert channel.basic_get("q", auto_ack=True)[2] == b"m"
        slowest, rounds = max(slowest, time.monotonic() - began), rounds + 1
        if rounds % 20 == 1:
            succeeded, seconds = Login(broker, "ci", "right").answer()
            assert succeeded and seconds < 2, "a password that is known needs no queue"
    guessing.join()
    assert successes == [False] * GUESSES
    assert slowest < 1 and rounds > 10, f"{rounds} rounds, the slowest of {slowest:.3f} s"


def test_a_flood_of_failures_does_not_flood_the_log(leveret):
    broker = leveret({"auth.failed_login_delay": 0, "limits.handshakes_per_address": 0})
    failures, lines, strangers = 150, 100, []
    for _ in range(failures):
        # A blank password is refused without work.
        assert not Login(broker, "ci", "", source=GUESSER).answer()[0]
        # The broker is slow to close this one.
        strangers.append(Login(broker, "ci", "", "NONE", source=GUESSER))

    def said(text):
        return [record for record in broker.records() if text in record["message"]]

    for text in ("login refused: invalid", "connection refused: mechanism 'NONE'"):
        eventually(lambda what=text: len(said(what)) >= lines, "the first ones are all said")
        assert not any("unsaid" in record for record in said(text)[:lines]), text
        # Then it is one every six seconds, with the number of those that were not.
        assert len(said(text)) <= lines + 5, text
        assert all(record["unsaid"] > 0 for record in said(text)[lines:]), text
    for stranger in strangers:
        stranger.socket.close()


def test_no_password_is_written_anywhere(on):
    secrets = [f"hush-{name}-hush" for name in ("first", "config", "added", "stdin", "changed", "wrong", "plain")]
    first, config, added, stdin, changed, wrong, plain = secrets
    settings = {"auth.default_pass": first, "auth.users.ci.password": config}
    broker = on(settings | {"log.level": "trace"})
    ctl(broker, "add_user", "alice", added)
    ctl(broker, "add_user", "bob", stdin=stdin + "\n")
    ctl(broker, "change_password", "alice", changed)
    ctl(broker, "authenticate_user", "alice", changed)
    for user, password in (("guest", first), ("ci", config), ("alice", changed), ("bob", stdin)):
        assert logs_in(broker, user, password) and logs_in(broker, user, password, "AMQPLAIN")
    for user in ("guest", "nobody"):
        assert not logs_in(broker, user, wrong) and not logs_in(broker, user, plain, "AMQPLAIN")
    assert broker.stop() == 0
    log = broker.log_text()
    assert "login refused" in log and "user added" in log
    assert "hush" not in log
    for path in broker.data_dir.iterdir():
        if path.is_file():
            assert b"hush" not in path.read_bytes(), path
