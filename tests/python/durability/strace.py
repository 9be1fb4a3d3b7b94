"""Disk faults on the unmodified binary, by strace's injection."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.deadline import eventually

CALLS = "openat,fdatasync,fsync,write,pwritev,pwrite64,unlinkat,renameat,ftruncate"


@functools.cache
def why_not():
    """Why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1..2", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=30)
    return None if done.returncode == 0 else f"strace does not work here: {done.stderr.strip()[:200]}"


class Strace:
    """The wrapper of a broker that injects `faults`, such as "fdatasync:error=EIO:when=3".

    Counts are by thread, and the journal has one. If there are `paths`, only what is done to those files is traced and
    fails.
    """

    def __init__(self, trace, *faults, paths=()):
        if why_not():
            pytest.skip(why_not())
        self.trace = trace
        # -D: the broker is our own child, so that signals, its exit code and kill -9 are its own.
        self.words = ["strace", "-D", "-f", "-qq", "-y", "-s", "0", "-o", str(trace), "-e", f"trace={CALLS}"]
        for fault in faults:
            self.words += ["-e", f"inject={fault}"]
        for path in paths:
            self.words += ["-P", str(path)]

    def lines(self):
        """What was traced, in order."""
        return self.trace.read_text(errors="replace").splitlines()

    def injected(self):
        """How many faults have happened."""
        return sum("INJECTED" in line for line in self.lines())

    def syncs_after_a_failed_one(self):
        """Successful syncs of a file after one of it failed: what must never happen."""
        failed, found = set(), []
        for line in self.lines():
            match = re.search(r"(?:fsync|fdatasync)\(\d+<(.*?)>\)\s+= (\S+)", line)
            if match and match.group(2) == "-1":
                failed.add(match.group(1))
            elif match and match.group(1) in failed:
                found.append(line)
        return found


class ReaderFaults:
    """Injects faults into the threads of a running broker that read messages, as long as it is entered.

    Nothing else is slowed down or harmed by them. Counts are by thread, and there are two.
    """

    def __init__(self, broker, *faults):
        if why_not():
            pytest.skip(why_not())
        # A thread tells its name a moment after it was started.
        self.threads = eventually(lambda: self._readers(broker.process.pid), "there are threads that read")
        self.faults = faults
        self.process = None

    @staticmethod
    def _readers(pid):
        """The threads that read messages, when both are there."""
        tasks = [path.parent for path in Path(f"/proc/{pid}/task").glob("*/comm")]
        found = [task.name for task in tasks if (task / "comm").read_text(encoding="ascii").startswith("reader-")]
        return found if len(found) == 2 else None

    def __enter__(self):
        words = ["strace", "-e", "trace=pread64"]
        for fault in self.faults:
            words += ["-e", f"inject={fault}"]
        for thread in self.threads:
            words += ["-p", thread]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        for _ in self.threads:
            line = self.process.stderr.readline()
            assert "attached" in line, line + self.process.stderr.read()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.lines = self.process.communicate(timeout=20)[1].splitlines()

    def injected(self):
        """How many faults have happened; after it is left."""
        return sum("INJECTED" in line for line in self.lines)
