"""A broker as a process of our own: started, waited for, measured, started again after a kill, and ended by its pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import IO

HEADER = b"AMQP\x00\x00\x09\x01"
STOP_SECONDS = 60
POLL_SECONDS = 0.0005
QUIET_SHARE = 0.03
QUIET_WINDOW_SECONDS = 0.5
QUIET_PATIENCE_SECONDS = 30


class Missing(Exception):
    """A broker is not installed."""


class Failed(Exception):
    """A broker or a measurement did not do what it was started for."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether a broker answers the protocol header with the frame of a connection.start (method 10.10 on channel 0)."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.settimeout(1)
        connection.sendall(HEADER)
        got = b""
        while len(got) < 11:
            more = connection.recv(4096)
            if not more:
                return False
            got += more
        return got[:3] == b"\x01\x00\x00" and got[7:11] == b"\x00\x0a\x00\x0a"
    return False


class Broker:
    """What all brokers have in common. One instance is one data directory; it is empty at the first start."""

    name = ""
    title = ""
    start_seconds = 120.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._ending = threading.Lock()
        self._is_over = False

    def command(self) -> list[str]:
        """The command line that runs the broker in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The environment it runs in."""
        return {**os.environ}

    def pid(self) -> int:
        """The process whose CPU time and memory are the broker's."""
        assert self.process is not None
        return self.process.pid

    def url(self) -> str:
        """Where it is, as `leveret perf` takes it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid_file(self) -> Path:
        """A file that has the pid, also after another launch."""
        return self.directory / "pid"

    def start(self) -> float:
        """Starts the process and answers the seconds from then until a handshake is answered."""
        self.prepare()
        begin = time.monotonic()
        process = self.launch()
        while not answers(self.port):
            if process.poll() is not None:
                raise Failed(f"{self.title} ended with {process.returncode} at the start: {self.last_words()}")
            if time.monotonic() - begin > self.start_seconds:
                raise Failed(f"{self.title} answers no handshake after {self.start_seconds:.0f} s: {self.last_words()}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - begin

    def prepare(self) -> None:
        """Makes what has to be there before the first launch."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._log is None:
            self._log = (self.directory / "console.log").open("ab")

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the process, on the data that is there, and waits for nothing."""
        self.process = subprocess.Popen(
            self.command(),
            env=self.environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.note_pid(self.process.pid)
        return self.process

    def note_pid(self, pid: int) -> None:
        """Writes the pid file."""
        self.pid_file.write_text(f"{pid}\n")

    def revive(self) -> None:
        """Waits until somebody else kills the process, and starts it again at once, unless `stop` ended it. For a thread."""
        assert self.process is not None
        self.process.wait()
        with self._ending:
            if not self._is_over:
                self.launch()

    def stop(self) -> None:
        """Ends it for good, and all that it started: in good order, or by force after a minute."""
        with self._ending:
            self._is_over = True
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def settle(self) -> None:
        """Waits until the broker has nothing to do any more, so that its start is not measured with what follows."""
        end = time.monotonic() + QUIET_PATIENCE_SECONDS
        while time.monotonic() < end:
            before = cpu_seconds(self.pid())
            time.sleep(QUIET_WINDOW_SECONDS)
            if cpu_seconds(self.pid()) - before <= QUIET_SHARE * QUIET_WINDOW_SECONDS:
                return

    def resident_bytes(self) -> int:
        """Its resident memory."""
        for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"the kernel does not tell the memory of {self.title}")

    def last_words(self) -> str:
        """The last lines it wrote to the console."""
        with contextlib.suppress(OSError):
            return " | ".join((self.directory / "console.log").read_text(errors="replace").splitlines()[-5:])
        return ""

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))
