"""How much of each pack is still needed, and which packs are worth rewriting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mvc.backends import Backend
from mvc.odb.pack import HEAD_BYTES, pack_key
from mvc.odb.segment import Entry
from mvc.upkeep.consolidate import SMALL_PACK

MOST_GARBAGE = 0.1
"""Share of a pack that may be garbage before its records are copied into a new one: to win a byte back costs
reading and writing nine others then."""


@dataclass(slots=True)
class PackUse:
    """A pack's size in bytes, and what is needed of it."""

    size: int
    records: int = 0
    live_bytes: int = 0

    @property
    def garbage_bytes(self) -> int:
        """What would be won by rewriting it."""
        return max(self.size - HEAD_BYTES - self.live_bytes, 0)


def pack_uses(backend: Backend, packs: Iterable[bytes], live: Iterable[Entry]) -> dict[bytes, PackUse]:
    """The use of each of ``packs``, of which ``live`` are all records that are needed."""
    sizes = dict(backend.list("packs/"))
    uses = {name: PackUse(sizes.get(pack_key(name), 0)) for name in packs}
    for entry in live:
        use = uses[entry.pack]
        use.records += 1
        use.live_bytes += entry.length
    return uses


def unused(uses: Mapping[bytes, PackUse]) -> list[bytes]:
    """Packs that hold nothing but garbage."""
    return sorted(name for name, use in uses.items() if not use.records)


def worth_rewriting(uses: Mapping[bytes, PackUse], most: float = MOST_GARBAGE) -> list[bytes]:
    """Packs of which more than the share ``most`` is garbage, and small ones where there are several that
    are needed: the small ones first, so that they end up together."""
    used = {name: use for name, use in uses.items() if use.records}
    small = {name for name, use in used.items() if use.size < SMALL_PACK}
    if len(small) < 2:
        small = set()
    wasteful = {name for name, use in used.items() if use.garbage_bytes > most * use.size}
    return sorted(small) + sorted(wasteful - small)
