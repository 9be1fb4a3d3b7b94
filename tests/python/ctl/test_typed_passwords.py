"""Passwords that are typed at a terminal."""

import os
import pty
import select
import termios
import time

import pytest

from identity.login import logs_in
from support.broker import Leveret, binary
from support.deadline import eventually

pytestmark = pytest.mark.own_broker

SECONDS = 20


def typed(broker, *words, answers):
    """Exit code and screen of a command at a terminal, where each of its questions is answered with a line."""
    words = [str(binary()), "ctl", *words, "--data-dir", str(broker.data_dir)]
    environment = Leveret.environment()
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execve(words[0], words, environment)
        finally:
            os._exit(127)
    screen, answers, end = b"", list(answers), time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 0.5)[0]:
                continue
            try:
                screen += os.read(terminal, 4096)
            except OSError:
                break  # The command has ended.
            if screen.endswith(b": ") and answers:
                # It asks, and then sees to it that what is typed does not show: a person is slower than that.
                eventually(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, "nothing shows")
                os.write(terminal, answers.pop(0).encode() + b"\n")
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, screen.decode()


def test_they_do_not_show_and_are_asked_for_twice(on):
    broker = on()
    code, screen = typed(broker, "add_user", "alice", answers=["hush-hush", "hush-hush"])
    assert code == 0 and screen.count(": ") == 2 and "hush" not in screen, screen
    assert logs_in(broker, "alice", "hush-hush")
    code, screen = typed(broker, "change_password", "alice", answers=["hush-one", "hush-two"])
    assert code == 65 and "differ" in screen and "hush" not in screen, screen
    assert logs_in(broker, "alice", "hush-hush"), "nothing was changed"
    code, screen = typed(broker, "authenticate_user", "alice", answers=["hush-hush"])
    assert code == 0 and screen.count(": ") == 1 and "hush" not in screen, screen
