"""An engine that needs nothing: seeded mutations of seeds, the same ones each time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

from tests.fuzz.target import Target
from tests.fuzz.watch import Watch

MOST_BYTES = 1 << 16
_NUMBERS = (
    0,
    1,
    2,
    7,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    (1 << 63) - 1,
)


class Died(Exception):
    """A finding, with the input that it came of as ``data``."""

    def __init__(self, target: Target, data: bytes) -> None:
        super().__init__(f"{target.name}: {data[:200]!r}")
        self.data = data


def run(target: Target, seeds: Sequence[bytes], seed: int, most: int, seconds: float) -> int:
    """Run the seeds, then mutations of them; returns how many inputs there were.

    Raises:
        Died: one did what none may do.
    """
    watch = Watch(target)
    ends = time.monotonic() + seconds
    for data in inputs(seeds, random.Random(f"{seed} {target.name}")):
        if watch.count >= most or time.monotonic() > ends:
            break
        try:
            watch(data)
        except Exception as error:
            raise Died(target, data) from error
    return watch.count


def inputs(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Without end."""
    seeds = list(seeds) or [b""]
    yield b""
    yield from seeds
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            _mutate(data, seeds, chance)
        yield bytes(data[:MOST_BYTES])


def _mutate(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    # Heads are where lengths and offsets stand.
    at = chance.randrange(min(len(data), chance.choice((8, 64, 1 << 20))) or 1)
    length = chance.choice((1, 2, 4, 8, 32, 256))
    match chance.randrange(8):
        case 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        case 1:
            data[at : at + 1] = bytes([(data[at] if data else 0) ^ 1 << chance.randrange(8)])
        case 2:
            width = chance.choice((1, 2, 4, 8))
            number = (chance.choice(_NUMBERS) + chance.randrange(-2, 3)) & (1 << 8 * width) - 1
            data[at : at + width] = number.to_bytes(width, chance.choice(("little", "big")))
        case 3:
            del data[at : at + length]
        case 4:
            data[at:at] = data[at : at + length] * chance.choice((1, 2, 100))
        case 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) or 1)
            data[at : at + chance.choice((0, length))] = other[start : start + length]
        case 6:
            del data[chance.randrange(len(data) or 1) :]
        case 7:
            data[at : at + length] = chance.randbytes(length)
