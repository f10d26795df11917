"""How good the encoder's choice is: what a sample says, next to trying every way.

    python -m benchmarks.choices [FOLDER] [--best]

Pieces of 1 MiB of related versions: a few made here (dense and sparse steps, steps in some rows, random, N:M
and magnitude masks, small integers), and with FOLDER, one of safetensors checkpoints, each file alone and
against the two before it that have tensors of the same names and sizes. For each pair, raw ÷ stored with all
headers: as chosen; by the same rules if every size were known; the smallest of all ways. The regret is the
first next to the second, what faster reading is allowed to cost the second next to the third. ``--best``
adds what effort ``best`` gives, which is slow.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.bench_codecs import CHUNK, tensors
from benchmarks.related import bf16
from mvc.codecs import native
from mvc.dtypes import DTYPES
from mvc.odb.effort import Effort
from mvc.odb.encoder import encode_as, encode_tensor, record_cost
from mvc.odb.estimate import Choice, choose, decide, lane, ways


class Piece(NamedTuple):
    """A piece of a tensor, and what it may be predicted from."""

    dtype: str
    plain: bytes
    base: bytes | None


class Sums(NamedTuple):
    """Bytes of some pieces: raw, as chosen, as an oracle chooses, the least, and with effort ``best``."""

    raw: int = 0
    chosen: int = 0
    known: int = 0
    least: int = 0
    best: int = 0

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def weigh(piece: Piece, best: bool) -> tuple[Sums, Choice]:
    """What the choice gives and what every way would."""
    seen = lane(DTYPES[piece.dtype])
    choice = choose(piece.plain, seen, piece.base)
    costs = {
        way: record_cost(encode_as(piece.plain, way, seen, piece.base))
        for way in ways(seen, piece.base is not None)
    }
    slow = 0
    if best:
        slow = record_cost(encode_tensor(piece.plain, DTYPES[piece.dtype], piece.base, Effort.BEST))
    known = costs[decide({way: float(size) for way, size in costs.items()})]
    return Sums(len(piece.plain), costs[choice], known, min(costs.values()), slow), choice


def report(title: str, pieces: list[Piece], best: bool) -> Sums:
    """Print a row."""
    total, chosen = Sums(), Counter[str]()
    for piece in pieces:
        sums, choice = weigh(piece, best)
        total = total.plus(sums)
        chosen[choice.value] += 1
    slow = f"{total.raw / total.best:9.3f}" if best else ""
    print(
        f"{title:58.58s}{total.raw / total.chosen:9.3f}{total.raw / total.known:9.3f}"
        f"{total.raw / total.least:9.3f}{100 * (total.chosen / total.known - 1):8.2f} %{slow}  "
        + ", ".join(f"{count} {name}" for name, count in chosen.most_common())
    )
    return total


def made_up() -> Iterator[tuple[str, list[Piece]]]:
    """Pieces of versions that are made here."""
    rng = np.random.default_rng(1)
    values = (rng.standard_normal(1 << 20) * 0.02).astype(np.float32)
    base = bf16(values)

    def pair(title: str, after: np.ndarray, dtype: str = "BF16") -> tuple[str, list[Piece]]:
        before = base if dtype == "BF16" else values
        return title, list(cut(dtype, after.tobytes(), before.tobytes()))

    noise = rng.standard_normal(values.size).astype(np.float32)
    for share in (0.01, 0.03, 0.1):
        yield pair(f"every weight moved by {share:.0%} of its size", bf16(values * (1 + share * noise)))
    yield pair("moved by 1 % of the typical size", bf16(values + np.float32(0.0002) * noise))
    few = rng.random(values.size) < 0.0086
    yield pair("0.86 % moved by one in the last place", base + few.astype("<u2"))
    rows = np.repeat(rng.random(values.size // 1024) < 0.1, 1024)
    yield pair("one row of ten moved", np.where(rows, bf16(values + np.float32(0.0002) * noise), base))
    for share in (0.5, 0.9):
        yield pair(
            f"{share:.0%} zero at random", np.where(rng.random(values.size) < share, 0, base).astype("<u2")
        )
    groups = np.abs(values).reshape(-1, 4)
    keep = np.argsort(np.argsort(groups, axis=1), axis=1).reshape(-1) >= 2
    masked = np.where(keep, base, 0).astype("<u2")
    yield pair("the greater two of four", masked)
    yield "the greater two of four, alone", list(cut("BF16", masked.tobytes(), None))
    threshold = np.median(np.abs(values))
    yield pair("the greater half", np.where(np.abs(values) > threshold, base, 0).astype("<u2"))
    yield "dense bf16 alone", list(cut("BF16", base.tobytes(), None))
    yield pair("fp32, moved by 1 % of the typical size", values + np.float32(0.0002) * noise, "F32")
    small = rng.integers(-100, 100, 1 << 20).astype("<i4")
    yield "small integers alone", list(cut("I32", small.tobytes(), None))
    yield "small integers", list(cut("I32", small.tobytes(), (small + (few * 3)).astype("<i4").tobytes()))


def cut(dtype: str, plain: bytes, base: bytes | None) -> Iterator[Piece]:
    """Pieces as a commit makes them."""
    for at in range(0, len(plain), CHUNK):
        yield Piece(dtype, plain[at : at + CHUNK], None if base is None else base[at : at + CHUNK])


def from_files(folder: Path) -> Iterator[tuple[str, list[Piece]]]:
    """Each file alone, and against each one before it that has tensors of the same names and sizes."""
    files = [
        (path.relative_to(folder), list(tensors(path))) for path in sorted(folder.rglob("*.safetensors"))
    ]
    for path, rows in files:
        yield f"{path} alone", [piece for _, dtype, data in rows for piece in cut(dtype, data, None)]
    for place, (after, rows) in enumerate(files):
        found = 0
        for before, known in reversed(files[:place]):
            bases = {(name, dtype, len(data)): data for name, dtype, data in known}
            pieces = [
                piece
                for name, dtype, data in rows
                if (base := bases.get((name, dtype, len(data)))) is not None and base != data
                for piece in cut(dtype, data, base)
            ]
            if pieces and found < 2:
                found += 1
                yield f"{after} <- {before}", pieces


def main() -> None:
    """Print a row for each pair, and the sum."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--best", action="store_true")
    options = parser.parse_args()
    print(f"native kernel: {'yes' if native.available() else 'no'}")
    best = f"{'best':>9s}" if options.best else ""
    print(f"{'pair':58s}{'chosen':>9s}{'known':>9s}{'least':>9s}{'regret':>10s}{best}  ways chosen")
    total = Sums()
    for title, pieces in made_up():
        total = total.plus(report(title, pieces, options.best))
    if options.folder is not None:
        for title, pieces in from_files(options.folder):
            total = total.plus(report(title, pieces, options.best))
    regret, speed = total.chosen / total.known - 1, total.known / total.least - 1
    print(f"regret over all: {100 * regret:.2f} %; left for speed: {100 * speed:.2f} %")


if __name__ == "__main__":
    main()
