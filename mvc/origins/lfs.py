"""What git-lfs has in a file's place, and where the file's bytes lie (its specification, version 1)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MAX_POINTER_BYTES = 1023
"""Of a pointer, as git-lfs has it: what is larger is none."""

_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com/spec/v1|hawser\.github\.com/spec/v1)\n"
    rb"(?:ext-[0-9]-[^\n]*\n)*"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\n"
    rb"size (?P<size>[0-9]{1,18})\n?"
)


class Pointer(NamedTuple):
    """A file by its SHA-256 (hexadecimal) and its size in bytes."""

    sha256: str
    size: int


def read_pointer(data: bytes) -> Pointer | None:
    """The pointer that a file is; None for any other file. One that was made through an extension of git-lfs
    names what only that program can turn into the file, so it stays as it is."""
    match = _POINTER.fullmatch(data) if len(data) <= MAX_POINTER_BYTES else None
    if match is None or b"\next-" in data:
        return None
    return Pointer(match["oid"].decode(), int(match["size"]))


def object_path(store: Path, sha256: str) -> Path:
    """Where an object lies below ``.git/lfs/objects``."""
    return store / sha256[:2] / sha256[2:4] / sha256
