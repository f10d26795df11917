"""A random share of the records, drawn pack by pack, which the same seed draws again."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from mvc.odb.index import Index
from mvc.odb.segment import Entry
from mvc.upkeep.unsound import live_entries

_OFFSET_BITS = 32


@dataclass(frozen=True, slots=True)
class Wish:
    """How much is to be drawn: a ``share`` of each pack's records (0 < share ≤ 1), or so many stored
    ``bytes``, each pack giving in proportion to its own; one of the two is None. Equal seeds draw equal
    records of equal packs."""

    share: float | None
    bytes: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Share:
    """What was drawn, and what there is."""

    seed: int
    records: int
    of_records: int
    bytes: int
    of_bytes: int


class Sample:
    """The records that ``wish`` draws from an index: from every pack at least one, and never fewer than
    the share. Memory: 24 bytes for each record."""

    def __init__(self, index: Index, wish: Wish) -> None:
        self._index = index
        self._packs: dict[bytes, int] = {}
        keys, lengths = self._places()
        want = wish.share
        if wish.bytes is not None:
            want = min(wish.bytes / max(sum(lengths), 1), 1.0)
        assert want is not None
        chosen = array("Q")
        drawn = 0
        for name, number in sorted(self._packs.items()):
            low = bisect_left(keys, number << _OFFSET_BITS)
            high = bisect_right(keys, (number + 1 << _OFFSET_BITS) - 1)
            for at in _draw(lengths[low:high], want, wish, name):
                chosen.append(keys[low + at])
                drawn += lengths[low + at]
        self._chosen = array("Q", sorted(chosen))
        self.share = Share(wish.seed, len(chosen), len(keys), drawn, sum(lengths))

    def entries(self) -> Iterator[Entry]:
        """The index entries of what was drawn, in no order."""
        seen: set[int] = set()
        for entry in live_entries(self._index):
            key = self._packs[entry.pack] << _OFFSET_BITS | entry.offset
            at = bisect_left(self._chosen, key)
            if at < len(self._chosen) and self._chosen[at] == key and key not in seen:
                seen.add(key)
                yield entry

    def _places(self) -> tuple[array[int], array[int]]:
        """Every record's place, ascending and each once, and its length."""
        keys, lengths = array("Q"), array("Q")
        for entry in live_entries(self._index):
            number = self._packs.setdefault(entry.pack, len(self._packs))
            keys.append(number << _OFFSET_BITS | entry.offset)
            lengths.append(entry.length)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        once = [at for nth, at in enumerate(order) if not nth or keys[at] != keys[order[nth - 1]]]
        return array("Q", (keys[at] for at in once)), array("Q", (lengths[at] for at in once))


def _draw(lengths: array[int], share: float, wish: Wish, pack: bytes) -> list[int]:
    """Which of a pack's records: a share of their number or of their bytes, rounded up."""
    random = Random(f"{wish.seed} {pack.hex()}")  # a text seeds alike in every version of Python
    if wish.bytes is None:
        return random.sample(range(len(lengths)), min(-int(-share * len(lengths) // 1), len(lengths)))
    left = share * sum(lengths)
    found = []
    for at in random.sample(range(len(lengths)), len(lengths)):
        if left <= 0:
            break
        found.append(at)
        left -= lengths[at]
    return found
