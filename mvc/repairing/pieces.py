"""Files of a store that are named by their hash, other than packs: sound, mended, or lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from blake3 import blake3

from mvc.backends import NotFound
from mvc.errors import CorruptFile, MvcError
from mvc.oplog import Operation, OpLog, piece_key, read_piece
from mvc.repairing.donors import Donor
from mvc.upkeep.patched import PatchedStore


def mended(backend: PatchedStore, donors: Sequence[Donor], key: str, name: bytes) -> str | None:
    """Look at a file that must hash to ``name``: where it does not, put a donor's in its place.

    Returns what was done, empty where nothing had to be; None where the file is lost.
    """
    try:
        if blake3(backend.get(key)).digest() == name:
            return ""
    except NotFound:
        pass
    for donor in donors:
        data = donor.file(key, name)
        if data is not None:
            backend.mend(key, data)
            return donor.name
    return None


def log_pieces(backend: PatchedStore, log: OpLog) -> Iterator[bytes]:
    """The names of the log's pieces, newest first; of one that cannot be read nothing behind it is known."""
    name = log.piece
    while name is not None:
        yield name
        try:
            piece = read_piece(backend, name)
        except MvcError:
            return
        name = piece.get("previous") if isinstance(piece, dict) else None
        if not isinstance(name, bytes):
            return


def readable_operations(backend: PatchedStore, log: OpLog) -> tuple[list[Operation], str]:
    """The newest operations up to where the log breaks, newest first, and how it does; empty if it does
    not."""
    found: list[Operation] = []
    try:
        for operation in log.newest_first(backend):
            found.append(operation)
    except CorruptFile as error:
        return found, error.message
    return found, ""


def all_pieces(backend: PatchedStore) -> dict[bytes, Any]:
    """What every sound piece in the folder says, by its name, whether root names it or not."""
    found: dict[bytes, Any] = {}
    for key, _size in backend.list("pieces/"):
        text = key.removeprefix("pieces/").removesuffix(".piece")
        try:
            name = bytes.fromhex(text)
            if piece_key(name) == key:
                found[name] = read_piece(backend, name)
        except (ValueError, MvcError):
            continue  # damaged, which is why the others are looked at
    return found


def latest_log(pieces: dict[bytes, Any]) -> OpLog:
    """The log that ends in the newest of these pieces; an empty one where none is of a log."""
    best: tuple[int, OpLog] = (-1, OpLog())
    for name, piece in pieces.items():
        if not isinstance(piece, dict) or not isinstance(piece.get("operations"), list):
            continue
        try:
            newest = Operation.from_value(piece["operations"][-1])
        except (MvcError, IndexError):
            continue
        if newest.time.microseconds > best[0]:
            best = (newest.time.microseconds, OpLog(newest.id, (), name))
    return best[1]
