"""Refs: names that point to commits and annotated tags, in root and in bounded pieces (docs/format.md)."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

from mvc.backends import Backend
from mvc.errors import CorruptObject
from mvc.fields import (
    damaged,
    is_ref_value,
    parse_bytes,
    parse_exact_map,
    parse_list,
    parse_ref_name,
    parse_ref_value,
    parse_row,
)
from mvc.objectid import ID_BYTES, AliasId, CommitId, ObjectId, TagId
from mvc.oplog import read_piece, write_piece

MAX_RECENT = 64
MAX_PIECE_BYTES = 64 << 10
_ROW_BYTES = 72  # a value and its msgpack framing, beside the name itself

BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
NOTES = "refs/notes/commits"
"""What was added to versions afterwards (mvc.registry.notes); Git's name for it."""

_TARGETS: dict[int, type[ObjectId]] = {cls.kind: cls for cls in (CommitId, TagId, AliasId)}


def encode_target(identity: ObjectId, peeled: CommitId | None = None) -> bytes:
    """A ref's value: kind and id; for an annotated tag also the commit that it means, so that lists need not
    read it."""
    return bytes([identity.kind]) + identity + (peeled or b"")


def decode_target(value: bytes) -> ObjectId:
    """The id in a ref's value.

    Raises:
        CorruptObject: not a ref's value.
    """
    if not is_ref_value(value):
        raise CorruptObject("a ref points to nothing that a ref may name")
    return _TARGETS[value[0]](value[1:33])


def peeled_target(value: bytes) -> CommitId | None:
    """The commit that a ref's value means: its own, or an annotated tag's; None for an alias entry."""
    identity = decode_target(value)
    if isinstance(identity, CommitId):
        return identity
    return CommitId(value[33:]) if isinstance(identity, TagId) else None


@dataclass(frozen=True, slots=True)
class RefPieces:
    """The refs' part of root.

    ``recent`` overrides the pieces, None meaning deleted; ``pieces`` are (first name, piece name), sorted,
    covering disjoint ranges.
    """

    recent: Mapping[str, bytes | None] = field(default_factory=dict)
    pieces: tuple[tuple[str, bytes], ...] = ()

    def to_value(self) -> dict[str, Any]:
        """The canonical map."""
        return {"pieces": [[first, name] for first, name in self.pieces], "recent": dict(self.recent)}

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse the canonical map.

        Raises:
            CorruptFile: it is not one.
            UnsupportedFeature: a newer mvc requires something of its readers.
        """
        parse_exact_map(value, "the list of refs", ("pieces", "recent"))
        recent = value["recent"]
        if type(recent) is not dict or len(recent) > MAX_RECENT:
            damaged("the list of recent refs", f"is not a map of at most {MAX_RECENT} names")
        for name, target in recent.items():
            parse_ref_value(target, f"the value of {parse_ref_name(name, 'a recent ref')}")
        pieces = []
        for item in parse_list(value["pieces"], "the list of pieces of refs"):
            first, name = parse_row(item, "a piece of refs", 2)
            pieces.append(
                (parse_ref_name(first, "a piece's first name"), parse_bytes(name, "a piece's name", ID_BYTES))
            )
        if not all(one[0] < two[0] for one, two in pairwise(pieces)):
            damaged("the list of pieces of refs", "is out of order")
        return cls(recent, tuple(pieces))


class RefTable:
    """Looks refs up; reads only the pieces that it needs."""

    def __init__(self, refs: RefPieces, backend: Backend) -> None:
        self._refs = refs
        self._backend = backend
        self._firsts = [first for first, _name in refs.pieces]
        self._loaded: dict[int, dict[str, bytes]] = {}

    def _piece(self, number: int) -> dict[str, bytes]:
        if number not in self._loaded:
            self._loaded[number] = self._read(number)
        return self._loaded[number]

    def _read(self, number: int) -> dict[str, bytes]:
        """A piece's refs; all of them lie in its range, or look-ups would miss what lists show."""
        first, name = self._refs.pieces[number]
        what = f"piece {name.hex()[:12]}"
        rows = parse_exact_map(read_piece(self._backend, name), what, ("nonce", "refs"))["refs"]
        if type(rows) is not dict:
            damaged(what, "holds no refs")
        after = self._firsts[number + 1] if number + 1 < len(self._firsts) else None
        for ref, value in rows.items():
            parse_ref_name(ref, f"a name in {what}")
            if not is_ref_value(value):
                damaged(f"the value of {ref}", "is not what a ref may point to")
            if ref < first or (after is not None and ref >= after):
                damaged(what, "holds names outside of its range")
        return rows

    def value(self, name: str) -> bytes | None:
        """A ref's raw value, or None."""
        if name in self._refs.recent:
            return self._refs.recent[name]
        number = bisect_right(self._firsts, name) - 1
        return self._piece(number).get(name) if number >= 0 else None

    def get(self, name: str) -> ObjectId | None:
        """What a ref points to, or None."""
        value = self.value(name)
        return None if value is None else decode_target(value)

    def values(self, prefix: str = "refs/") -> Iterator[tuple[str, bytes]]:
        """Refs whose names begin so, with their raw values, in ascending order."""
        found: dict[str, bytes] = {}
        for number, first in enumerate(self._firsts):
            after = self._firsts[number + 1] if number + 1 < len(self._firsts) else None
            if (after is not None and after <= prefix) or (first > prefix and not first.startswith(prefix)):
                continue
            found.update(
                (name, value) for name, value in self._piece(number).items() if name.startswith(prefix)
            )
        for name, value in self._refs.recent.items():
            if name.startswith(prefix):
                if value is None:
                    found.pop(name, None)
                else:
                    found[name] = value
        for name in sorted(found):
            yield name, found[name]

    def names(self, prefix: str = "refs/") -> Iterator[str]:
        """Names that begin so, in ascending order."""
        for name, _value in self.values(prefix):
            yield name

    def changed(self, changes: Mapping[str, bytes | None]) -> tuple[RefPieces, list[bytes]]:
        """The refs with changes made, and the names of the pieces that they replace.

        New pieces are stored before this returns.
        """
        recent = {**self._refs.recent, **changes}
        if not self._refs.pieces:
            recent = {name: value for name, value in recent.items() if value is not None}
        if len(recent) <= MAX_RECENT:
            return RefPieces(recent, self._refs.pieces), []
        return self._merged(recent)

    def _merged(self, recent: Mapping[str, bytes | None]) -> tuple[RefPieces, list[bytes]]:
        by_piece: dict[int, dict[str, bytes | None]] = {}
        for name, value in recent.items():
            by_piece.setdefault(max(bisect_right(self._firsts, name) - 1, 0), {})[name] = value
        pieces: list[tuple[str, bytes]] = []
        replaced: list[bytes] = []
        for number in range(max(len(self._firsts), 1)):
            edits = by_piece.get(number)
            if edits is None:
                pieces.append(self._refs.pieces[number])
                continue
            rows: dict[str, bytes | None] = {}
            if self._firsts:
                rows.update(self._piece(number))
                replaced.append(self._refs.pieces[number][1])
            rows.update(edits)
            pieces += self._split({name: rows[name] for name in sorted(rows) if rows[name] is not None})
        kept = {name for _first, name in pieces}
        return RefPieces({}, tuple(pieces)), [name for name in replaced if name not in kept]

    def _split(self, rows: dict[str, bytes | None]) -> Iterator[tuple[str, bytes]]:
        group: dict[str, bytes | None] = {}
        size = 0
        for name, value in rows.items():
            cost = len(name.encode()) + _ROW_BYTES
            if group and size + cost > MAX_PIECE_BYTES // 2:
                # half full, so that a piece takes new names for a while before it must be split again
                yield next(iter(group)), self._write(group)
                group, size = {}, 0
            group[name] = value
            size += cost
        if group:
            yield next(iter(group)), self._write(group)

    def _write(self, group: Mapping[str, bytes | None]) -> bytes:
        # the nonce keeps a piece that is about to be deleted from being taken for a new one of equal refs
        return write_piece(self._backend, {"nonce": os.urandom(16), "refs": dict(group)})
