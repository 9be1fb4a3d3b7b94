"""A small disk of the broker's own, that fills up for real: a tmpfs in a mount namespace."""

import errno
import os
import subprocess

import pytest


class SmallDisk:
    """A tmpfs of `size` bytes on `directory`, which only processes see that are started with `wrapper`.

    It lives as long as a process that holds the namespace; that one ends with this.
    """

    def __init__(self, directory, size):
        directory.mkdir(mode=0o700, exist_ok=True)
        mount = 'mount -t tmpfs -o size="$1" none "$2" && echo mounted && exec cat'
        words = ["unshare", "--mount", "sh", "-c", mount, "sh", str(size), str(directory)]
        try:
            self._holder = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except FileNotFoundError:
            pytest.skip("unshare is not installed")
        if self._holder.stdout.readline() != b"mounted\n":
            why = self._holder.communicate(timeout=10)[1].decode(errors="replace").strip()
            pytest.skip(f"a tmpfs cannot be mounted here, which needs root: {why}")
        pid = self._holder.pid
        self.wrapper = ["nsenter", "--target", str(pid), "--mount", "--"]
        self.path = f"/proc/{pid}/root{directory}"

    def free(self):
        """Bytes that are free."""
        told = os.statvfs(self.path)
        return told.f_bavail * told.f_frsize

    def files(self):
        """The names in the directory, with how many bytes each takes on the disk."""
        return {entry.name: entry.stat().st_blocks * 512 for entry in os.scandir(self.path)}

    def fill(self, name):
        """Lets a file take all that is free."""
        with open(f"{self.path}/{name}", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(64 * 1024))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

    def remove(self, name):
        """Removes a file."""
        os.remove(f"{self.path}/{name}")

    def close(self):
        """Ends the holder; the disk is gone with the last process that sees it."""
        self._holder.communicate(timeout=10)
