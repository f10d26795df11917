"""What an entropy coder of residuals could reach with which context, next to what is stored.

    python -m benchmarks.entropy AFTER BEFORE [AFTER BEFORE …]

Each pair of safetensors files: raw ÷ bytes of all tensors that differ, as stored by Huffman's codes (grouped
planes) and by tokens, and at the empirical order-0 entropy of tokens given

- ``exponent``: the base's exponent, as ``tokens`` has it, with no tables and no whole bits;
- ``+ sign``, ``+ mantissa``: also the base's sign, or the two upper bits of its mantissa;
- ``+ left``: also the size of the steps of the eight elements before, in units of this one's last place;
- ``+ row, column``: also the product of the mean steps of its row and of its column.

Entropies are of the data that they are measured on: many contexts flatter, by about what their tables would
cost (``tables``: bytes at one byte for each context and token that occurs).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_codecs import CHUNK, tensors
from mvc.codecs.ig import residual
from mvc.dtypes import DTYPES
from mvc.elements import unsigned
from mvc.odb.encoder import encode_as, record_cost
from mvc.odb.estimate import Choice, lane

Whole = NDArray[np.int64]

DIRECT, KEEP = 16, 3


def classes(values: NDArray[np.uint64]) -> tuple[Whole, Whole]:
    """The token of each residual and how many bits it leaves, as ``tokens`` has them."""
    tops = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1, 4)
    more = np.where(values >= DIRECT, tops - KEEP, 0)
    upper = (values >> more.astype(np.uint64)).astype(np.int64) & ((1 << KEEP) - 1)
    return np.where(values < DIRECT, values.astype(np.int64), DIRECT + ((tops - 4) << KEEP) + upper), more


def conditional(symbols: Whole, *contexts: Whole) -> tuple[float, int]:
    """Bits of the symbols given all contexts, and how many pairs of context and symbol occur."""
    joint = np.zeros(symbols.size, np.int64)
    for context in contexts:
        joint = np.unique(joint * (int(context.max()) + 1) + context, return_inverse=True)[1].astype(np.int64)
    apart = np.bincount(joint)
    pairs = np.unique(joint * (int(symbols.max()) + 1) + symbols, return_counts=True)[1]
    return float((apart * np.log2(apart)).sum() - (pairs * np.log2(pairs)).sum()), pairs.size


def in_places(steps: NDArray[np.float64], unit: NDArray[np.float64]) -> Whole:
    """Half powers of two of a step's size, in units of the last place."""
    return (np.clip(np.round(2 * np.log2(np.maximum(steps / unit, 1e-3))), -12, 60) + 12).astype(np.int64)


def measure(dtype: str, shape: list[int], plain: bytes, before: bytes, sums: dict[str, float]) -> None:
    """Add a tensor's bytes to ``sums``."""
    seen = lane(DTYPES[dtype])
    for start in range(0, len(plain), CHUNK):
        piece, base_piece = plain[start : start + CHUNK], before[start : start + CHUNK]
        for name, way in (("Huffman", Choice.GROUPED), ("tokens", Choice.TOKENS)):
            sums[name] += record_cost(encode_as(piece, way, seen, base_piece))
    target, base = (np.frombuffer(data, unsigned(seen.width)) for data in (plain, before))
    symbols, more = classes(residual(target, base).astype(np.uint64))
    key = ((base >> seen.shift) & ((1 << seen.bits) - 1)).astype(np.int64)
    unit = np.exp2(key.astype(np.float64))
    steps = (residual(target, base).astype(np.float64) / 2 + 0.5) * unit
    left = sum(np.roll(steps, place) for place in range(1, 9)) / 8
    table = steps.reshape(shape[0], -1) if shape else steps.reshape(1, -1)
    rank1 = table.mean(1, keepdims=True) * table.mean(0, keepdims=True) / max(table.mean(), 1e-300)
    contexts = {
        "exponent": [],
        "+ sign": [(base >> (8 * seen.width - 1)).astype(np.int64)],
        "+ mantissa": [((base >> (seen.shift - 2)) & 3).astype(np.int64)],
        "+ left": [in_places(left, unit)],
        "+ row, column": [in_places(rank1.reshape(-1), unit)],
    }
    for name, other in contexts.items():
        bits, pairs = conditional(symbols, key, *other)
        sums[name] += (bits + float(more.sum())) / 8
        sums[f"{name}: tables"] += pairs


def shapes(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor."""
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return {name: row["shape"] for name, row in header.items() if name != "__metadata__"}


def main() -> None:
    """Print a row for each pair."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    names = ["Huffman", "tokens", "exponent", "+ sign", "+ mantissa", "+ left", "+ row, column"]
    print(f"{'pair':50s}" + "".join(f"{name:>14s}" for name in names))
    for after, before in zip(options.files[::2], options.files[1::2], strict=True):
        bases = {name: data for name, _, data in tensors(before)}
        shape_of, total, sums = shapes(after), 0, dict.fromkeys(names, 0.0)
        sums |= {f"{name}: tables": 0 for name in names}
        for name, dtype, data in tensors(after):
            base = bases.get(name, b"")
            if len(base) == len(data) and base != data and lane(DTYPES[dtype]).bits and len(data) >= 4096:
                total += len(data)
                measure(dtype, shape_of[name], data, base, sums)
        title = f"{after.parent.name}/{after.stem} <- {before.parent.name}/{before.stem}"
        print(f"{title:50.50s}" + "".join(f"{total / sums[name]:14.3f}" for name in names))
        print(f"{'  tables, bytes':50s}" + "".join(f"{sums[f'{name}: tables'] or '':>14}" for name in names))


if __name__ == "__main__":
    main()
