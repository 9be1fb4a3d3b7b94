"""The broker under test: one that runs already, or a Leveret process of our own.

LEVERET_TEST_URL   an AMQP URL of a running broker; tests that need Leveret itself are skipped then
LEVERET_TEST_VHOST a second vhost of that broker that the URL's user may open (default: none, such tests are skipped)
LEVERET_BIN        the binary to start otherwise (default: target/release/leveret of this checkout)
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pika

from support.deadline import eventually

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 20
STOP_SECONDS = 20


def binary():
    """The Leveret binary to start."""
    return Path(os.environ.get("LEVERET_BIN", ROOT / "target" / "release" / "leveret"))


def free_port():
    """A port nobody listens on now. For brokers that must come back on the same port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Where a broker listens and how to log in."""

    def __init__(self, host, port, user="guest", password="guest", second_vhost=None):
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.second_vhost = second_vhost

    def parameters(self, vhost="/", user=None, password=None, **options):
        """pika's connection parameters; heartbeat off unless asked for, one attempt, short timeouts."""
        options.setdefault("heartbeat", 0)
        options.setdefault("socket_timeout", 10)
        options.setdefault("blocked_connection_timeout", 30)
        credentials = pika.PlainCredentials(user or self.user, self.password if password is None else password)
        return pika.ConnectionParameters(self.host, self.port, vhost, credentials, **options)

    def url(self, vhost="/", scheme="amqp", **query):
        """The same as a URL, as aio-pika and Celery take it."""
        path = urllib.parse.quote(vhost, safe="")
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{path}{tail}"


def running_broker():
    """The broker LEVERET_TEST_URL names, or None."""
    url = os.environ.get("LEVERET_TEST_URL")
    if not url:
        return None
    parts = urllib.parse.urlparse(url)
    user = urllib.parse.unquote(parts.username or "guest")
    password = urllib.parse.unquote(parts.password or "guest")
    return Broker(parts.hostname, parts.port or 5672, user, password, os.environ.get("LEVERET_TEST_VHOST"))


class Leveret(Broker):
    """A Leveret process of our own: without lasting data, or on `data_dir`.

    `settings` are written as `--set section.key=value`, and `wrapper` are words put before the command, such as those
    of strace. The log stays in memory for assertions. Used as a context manager it is stopped with SIGTERM and must
    exit with 0.
    """

    def __init__(self, settings=None, port=0, data_dir=None, wrapper=()):
        super().__init__("127.0.0.1", port)
        # Who traces a broker has to be allowed to.
        self.settings = {"server.core_dumps": "true"} | (settings or {})
        self.data_dir = data_dir
        self.wrapper = list(wrapper)
        self.process = None
        self.lines = []
        self._reader = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if self.running():
            code = self.stop()
            if kind is None:
                assert code == 0, f"exit code {code} after SIGTERM\n{self.log_text()}"

    def command(self):
        """The command line it is started with."""
        words = [*self.wrapper, str(binary()), "--listen", f"127.0.0.1:{self.port}", "--log-format", "json"]
        words += ["--ephemeral"] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        for key, value in self.settings.items():
            words += ["--set", f"{key}={value}"]
        return words

    @staticmethod
    def environment():
        """The test's own environment without what the broker would take for settings."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(("LEVERET_", "RABBITMQ_"))}
        # Its usual ports may be another test's.
        return {**own, "LEVERET_HTTP_LISTEN": "127.0.0.1:0", "LEVERET_PROMETHEUS_LISTEN": "127.0.0.1:0"}

    def start(self):
        """Starts the process and waits until it says where it listens."""
        self.launch()
        self.port = eventually(self._listening_port, "the broker says that it listens", START_SECONDS)

    def launch(self):
        """Starts the process and waits for nothing."""
        self.lines = []
        self.process = subprocess.Popen(
            self.command(),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self.process.stderr, self.lines), daemon=True)
        self._reader.start()

    def running(self):
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def has_ended(self):
        """Whether the process is over, and its log read to the end."""
        if self.running():
            return False
        self._reader.join(5)
        return True

    def terminate(self):
        """Sends SIGTERM and returns at once."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=STOP_SECONDS):
        """Waits for the end of the process and answers its exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {seconds} s\n{self.log_text()}") from None
        self._reader.join(5)
        return code

    def stop(self):
        """SIGTERM, then its exit code."""
        self.terminate()
        return self.wait()

    def kill(self):
        """SIGKILL; for tests of what clients see then."""
        self.process.kill()
        self.process.wait()

    def records(self):
        """The log so far, one flat dict per JSON line (tracing's `fields` are lifted to the top)."""
        found = []
        for line in list(self.lines):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                fields = record.pop("fields", {})
                found.append({**record, **fields})
        return found

    def complaints(self):
        """The warnings and errors in the log so far, but for the one that is about who runs the tests."""
        wrong = [record for record in self.records() if record["level"] in ("ERROR", "WARN")]
        return [record for record in wrong if not record["message"].startswith("running as root")]

    def address(self, protocol):
        """Where it listens for "amqp", "amqps", "ws", "wss", "unix", "http" or "prometheus", as the log has it."""

        def found():
            for record in self.records():
                if record.get("message") == "listening" and record.get("protocol") == protocol:
                    return record["address"]
            return None

        return eventually(found, f"the broker says that it listens for {protocol}", START_SECONDS)

    def log_text(self):
        """The log so far as it was written."""
        return "\n".join(self.lines)

    def has_logged(self, pattern):
        """Whether a line of the log matches the regular expression."""
        return any(re.search(pattern, line) for line in list(self.lines))

    @staticmethod
    def _read_log(stream, lines):
        with stream:
            for line in stream:
                lines.append(line.decode("utf-8", "replace").rstrip())

    def port_of(self, protocol):
        """The port of its listener for a protocol, such as "amqps"; None if there is none."""
        for record in self.records():
            if record.get("message") == "listening" and record.get("protocol") == protocol:
                match = re.fullmatch(r"127\.0\.0\.1:(\d+)", record.get("address", ""))
                if match:
                    return int(match.group(1))
        return None

    def _listening_port(self):
        ended = self.has_ended()
        port = self.port_of("amqp")
        if port is None and ended:
            raise AssertionError(f"the broker ended with {self.process.returncode}: {self.log_text()}")
        return port
