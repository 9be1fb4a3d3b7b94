"""The machine that is measured on."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"


def facts(directory: Path) -> dict[str, Any]:
    """What a reader has to know to judge the numbers. The directory is where the brokers keep their data."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "file_system": file_system(directory),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit(),
        "load_average": os.getloadavg()[0],
    }


def processor() -> str:
    """The processor's name as the kernel has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return os.uname().machine


def file_system(directory: Path) -> str:
    """The type of the file system that a directory is on: that of the longest mount point above it."""
    place, best, kind = directory.resolve(), Path(), UNKNOWN
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point, found = line.split()[1:3]
        mount = Path(point.encode().decode("unicode_escape"))
        if place.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, found
    return kind


def commit() -> str:
    """The commit of the checkout, with a plus if something in it is changed."""
    hash_ = git("rev-parse", "--short=10", "HEAD")
    if hash_ is None:
        return UNKNOWN
    return hash_ + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def git(*words: str) -> str | None:
    """What git says; None where there is no git or no repository."""
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
