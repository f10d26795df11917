"""What was purged: ids whose objects left this store for good and may not come back (docs/format.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from mvc.backends import Backend
from mvc.errors import ObjectPurged
from mvc.fields import (
    damaged,
    parse_bytes,
    parse_count,
    parse_exact_map,
    parse_list,
    parse_row,
    parse_text,
)
from mvc.objectid import ID_BYTES, KINDS, ObjectId
from mvc.objects import Person, Timestamp
from mvc.oplog import read_piece, write_piece

MAX_IDS = 1_500
"""Ids in one piece, which keeps it below 64 KiB."""

_KEYS = ("count", "lifted", "pieces", "time", "what", "who", "why")
_NAME_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Purge:
    """One purge: ``name`` is random; ``what`` was asked for, ``why`` is the user's reason; ``count`` ids
    stand in ``pieces``. Once ``lifted`` they may be stored again; that they are missing stays no damage."""

    name: str
    time: Timestamp
    who: Person
    what: str
    why: str
    count: int
    pieces: tuple[bytes, ...]
    lifted: bool = False

    @property
    def told(self) -> str:
        """When, by whom and why, for a sentence that ends in ``was purged``."""
        day = datetime.fromtimestamp(self.time.microseconds / 1e6, UTC).date().isoformat()
        return f"on {day} by {self.who.name or self.who.email}{f': {self.why}' if self.why else ''}"

    def to_value(self) -> dict[str, Any]:
        """The canonical map, without the name."""
        return {
            "count": self.count,
            "lifted": self.lifted,
            "pieces": list(self.pieces),
            "time": list(self.time),
            "what": self.what,
            "who": list(self.who),
            "why": self.why,
        }

    @classmethod
    def from_value(cls, name: Any, value: Any) -> Purge:
        """Parse a canonical map.

        Raises:
            CorruptFile: it is not one.
        """
        what = "a purge"
        if type(name) is not str or len(name) != _NAME_DIGITS or not set(name) <= set("0123456789abcdef"):
            damaged(what, "has not the name of one")
        value = parse_exact_map(value, what, _KEYS)
        moment, offset = parse_row(value["time"], f"{what}'s time", 2)
        if type(moment) is not int or type(offset) is not int:
            damaged(f"{what}'s time", "is not a time")
        who, address = parse_row(value["who"], f"{what}'s author", 2)
        pieces = parse_list(value["pieces"], f"{what}'s pieces")
        if type(value["lifted"]) is not bool:
            damaged(what, "does not say whether it was lifted")
        return cls(
            name,
            Timestamp(moment, offset),
            Person(parse_text(who, "an author's name"), parse_text(address, "an author's address")),
            parse_text(value["what"], f"what {what} took"),
            parse_text(value["why"], f"why {what} was made"),
            parse_count(value["count"], f"{what}'s number of ids"),
            tuple(parse_bytes(piece, f"the name of {what}'s piece", ID_BYTES) for piece in pieces),
            value["lifted"],
        )

    @classmethod
    def store(
        cls,
        backend: Backend,
        ids: Iterable[ObjectId],
        *,
        time: Timestamp,
        who: Person,
        what: str,
        why: str,
    ) -> Purge:
        """A new purge of these ids, whose pieces are durable when this returns; root has yet to name it."""
        rows = sorted({(identity.kind, bytes(identity)) for identity in ids})
        pieces = [
            write_piece(
                backend,
                {"ids": [list(row) for row in rows[start : start + MAX_IDS]], "nonce": os.urandom(16)},
            )
            for start in range(0, len(rows), MAX_IDS)
        ]
        return cls(os.urandom(16).hex(), time, who, what, why, len(rows), tuple(pieces))


class Tombstones:
    """All purges that a root names; their ids are read when they are first asked for.

    Without purges, the usual case, nothing is read and every question is answered with no.
    """

    def __init__(self, value: Mapping[str, Any], backend: Backend) -> None:
        self.purges = tuple(
            sorted((Purge.from_value(name, item) for name, item in value.items()), key=lambda item: item.time)
        )
        self._backend = backend

    def __bool__(self) -> bool:
        return bool(self.purges)

    def __contains__(self, identity: ObjectId) -> bool:
        """Whether a purge took an object: that it is missing is no damage then, lifted or not."""
        return bool(self.purges) and identity in self._ids

    def find(self, identity: ObjectId) -> Purge | None:
        """The purge that took an object; None where none did.

        Raises:
            CorruptFile: a piece is missing or damaged.
        """
        return self._ids.get(identity) if self.purges else None

    def refusal(self, identity: ObjectId, *, missing: bool = False) -> ObjectPurged | None:
        """What to raise when an object is to be read or stored that may be neither; None where it may. If it
        is ``missing``, also where the purge was lifted since."""
        purge = self.find(identity)
        if purge is None or (purge.lifted and not missing):
            return None
        return purged_error(f"{identity.word} {identity.short}", purge)

    def ids(self) -> Mapping[ObjectId, Purge]:
        """Every purged id.

        Raises:
            CorruptFile: a piece is missing or damaged.
        """
        return self._ids

    def refused(self) -> set[ObjectId]:
        """The purged ids that may not come back."""
        return {identity for identity, purge in self._ids.items() if not purge.lifted}

    def piece_names(self) -> set[bytes]:
        """The pieces in which the ids stand."""
        return {piece for purge in self.purges for piece in purge.pieces}

    @cached_property
    def _ids(self) -> dict[ObjectId, Purge]:
        found: dict[ObjectId, Purge] = {}
        # of two purges of one id the one that still holds counts
        for purge in sorted(self.purges, key=lambda item: item.lifted):
            for name in purge.pieces:
                what = f"piece {name.hex()[:12]}"
                piece = parse_exact_map(read_piece(self._backend, name), what, ("ids", "nonce"))
                for item in parse_list(piece["ids"], f"{what}'s ids", MAX_IDS):
                    kind, raw = parse_row(item, "a purged id", 2)
                    if type(kind) is not int or kind not in KINDS:
                        damaged("a purged id", "is of an unknown kind")
                    found.setdefault(KINDS[kind](parse_bytes(raw, "a purged id", ID_BYTES)), purge)
        return found

    def added(self, *purges: Purge) -> dict[str, Any]:
        """Root's map with more purges."""
        return {item.name: item.to_value() for item in (*self.purges, *purges)}

    def lifting(self, name: str) -> dict[str, Any]:
        """Root's map in which a purge no longer refuses anything."""
        return {
            item.name: (replace(item, lifted=True) if item.name == name else item).to_value()
            for item in self.purges
        }


def purged_error(what: str, purge: Purge) -> ObjectPurged:
    """That something was purged: when, by whom and why."""
    return ObjectPurged(
        f"{what} was purged {purge.told}",
        hint=f"mvc purge --list tells of it; mvc purge --forgive {purge.name[:8]} lets it come back",
    )
