"""The journal of a checkout under way: what moves where, so that a killed one can be finished or taken back.

``.mvc/journal`` is ``mvcJRNL1``, a canonical msgpack map, and the BLAKE3 hash of both (32 bytes)::

    made     folders to create, parents first
    moves    [path, new, old, size, mtime in ns, seen] in the order in which files are moved away
    removed  [folder, permission bits] to remove, children first
    token    bytes that tell, by way of root, whether the checkout was committed

``new`` and ``old`` are names in ``.mvc/tmp`` or nil: where the coming file lies, and where the one that is
there now goes. Size and mtime are the coming file's. ``seen`` is [size, mtime in ns, inode] of the old file
as it was when the checkout was planned, nil if ``old`` is: another file has been written since, and is not
ours to remove. Which of the two names exist tells how far a move has come, so nothing is ever added to a
journal.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from blake3 import blake3

from mvc import canonical
from mvc.errors import CorruptFile, CorruptObject, InvalidPath
from mvc.fileio import TemporaryNames
from mvc.paths import check_path

MAGIC = b"mvcJRNL1"
HASH_BYTES = 32


class Seen(NamedTuple):
    """What tells a file from what somebody writes in its place: size in bytes, mtime in ns, inode.

    Unlike a :class:`mvc.worktree.index.StatKey` it stays the same when the file is moved.
    """

    size_bytes: int
    time_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Of a file's status, or of a link's own."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class Move:
    """One path's change. ``new`` is None if no file comes, ``old`` and ``seen`` if none was there.

    ``size_bytes`` and ``time_ns`` (mtime) are those of the coming file, to know it again; 0 if there is none.
    ``seen`` is the old file as the plan saw it.
    """

    path: str
    new: str | None
    old: str | None
    size_bytes: int = 0
    time_ns: int = 0
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """One checkout. ``made`` has parents first, ``removed`` (with permission bits) children first."""

    token: bytes
    moves: tuple[Move, ...]
    made: tuple[str, ...]
    removed: tuple[tuple[str, int], ...]

    def to_bytes(self) -> bytes:
        """The journal's file."""
        body = MAGIC + canonical.pack(
            {
                "made": list(self.made),
                "moves": [
                    [m.path, m.new, m.old, m.size_bytes, m.time_ns, m.seen and list(m.seen)]
                    for m in self.moves
                ],
                "removed": [list(item) for item in self.removed],
                "token": self.token,
            }
        )
        return body + blake3(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Journal:
        """Parse a journal. A repository may come from anywhere, so no name in it is believed.

        Raises:
            CorruptFile: damaged, or it names what no checkout moves.
        """
        body, digest = data[:-HASH_BYTES], data[-HASH_BYTES:]
        if not body.startswith(MAGIC) or blake3(body).digest() != digest:
            raise _damaged("its checksum is wrong")
        try:
            value = canonical.unpack(body[len(MAGIC) :], "the journal")
            return cls(
                token=_exactly(bytes, value["token"]),
                moves=tuple(_move(*item) for item in value["moves"]),
                made=tuple(_path(path) for path in value["made"]),
                removed=tuple((_path(path), _exactly(int, mode) & 0o777) for path, mode in value["removed"]),
            )
        except (CorruptObject, InvalidPath, KeyError, TypeError, ValueError) as error:
            raise _damaged(str(error)) from error


def _damaged(why: str) -> CorruptFile:
    return CorruptFile(
        f"the journal of an interrupted checkout is damaged: {why}",
        hint="move .mvc/journal away, look at 'mvc status', and check out again what you need",
    )


def _move(path: Any, new: Any, old: Any, size: Any, time: Any, seen: Any) -> Move:
    if (old is None) != (seen is None):
        raise ValueError(f"{path!r} has an old file or has none")
    key = None if seen is None else Seen(*(_exactly(int, number) for number in seen))
    return Move(_path(path), _name(new), _name(old), _exactly(int, size), _exactly(int, time), key)


def _path(path: Any) -> str:
    check_path(_exactly(str, path))
    return str(path)


def _name(name: Any) -> str | None:
    if name is not None and TemporaryNames.owner_of(_exactly(str, name)) is None:
        raise ValueError(f"{name!r} names no temporary file")
    return None if name is None else str(name)


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value
