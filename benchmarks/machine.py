"""What machine a benchmark ran on, so that its figures can be read: no names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("modelvc", "numpy", "zstandard", "blake3", "torch", "zipnn", "blosc2")


def describe(folder: Path) -> dict[str, str | int | None]:
    """Cores, processor, memory, system, the kind of file system that holds ``folder``, and versions.

    None stands for what this machine does not tell, and for a package that is not installed.
    """
    from mvc.codecs import native

    out: dict[str, str | int | None] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory GiB": _memory(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "file system": _file_system(folder),
        "python": platform.python_version(),
        "native kernel": "yes" if native.available() else "no",
    }
    return out | {name: _version(name) for name in PACKAGES}


def sentence(described: dict[str, str | int | None]) -> str:
    """One line of text for a table's heading; what is unknown is left out."""
    known = {key: value for key, value in described.items() if value is not None}
    first = [f"{known.pop('cores')} cores"] if "cores" in known else []
    if "memory GiB" in known:
        first.append(f"{known.pop('memory GiB')} GiB")
    return ", ".join(first + [f"{key} {value}" for key, value in known.items()])


def _processor() -> str | None:
    """The model that the kernel names; without clock rates, which differ from one start to the next."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or None
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _memory() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))
    except (OSError, ValueError):
        return None


def _file_system(folder: Path) -> str | None:
    """The type of the file system, as the longest mount point above the folder has it."""
    try:
        mounts = Path("/proc/mounts").read_text()
    except OSError:
        return None
    here = folder.resolve()
    found = [
        (len(point.parts), words[2])
        for words in (line.split() for line in mounts.splitlines())
        if here.is_relative_to(point := Path(words[1].replace("\\040", " ")))
    ]
    return max(found)[1] if found else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
