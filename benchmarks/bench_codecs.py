"""Ratio and speed of each chain, as multiples of plain zstd level 3 in the same run.

    python -m benchmarks.bench_codecs [FOLDER] [--no-native] [--threads N] [--cpu] [--megabytes N]

Made-up bf16, fp16 and fp32 weights first: a base, and the base moved by 1 % of its size. With FOLDER, a
folder of safetensors checkpoints, also the first file of each sub-folder alone and every later one
against the file before it, in pieces of 1 MiB. One thread unless told otherwise. ``--no-native`` leaves the
native kernel out; ``--cpu`` counts the processor time of one thread, for machines that have other work.
Absolute figures depend on the machine; the multiples less so.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from time import perf_counter, thread_time
from typing import NamedTuple

import numpy as np
import zstandard

from mvc.codecs import CODECS, Step, fused, native
from mvc.codecs.buckets import low_bits
from mvc.codecs.planes import Planes
from mvc.dtypes import DTYPES
from mvc.odb.decoder import decode_chain
from mvc.odb.encoder import encode_tensor
from mvc.odb.estimate import lane

CHUNK = 1 << 20
BLOCK = 512 << 10
ROUNDS = 5


class Chunk(NamedTuple):
    """A piece of a tensor and what it may be predicted from."""

    plain: bytes
    base: bytes | None


class Result(NamedTuple):
    """Stored bytes, and the best time of some rounds."""

    stored: int
    encode_seconds: float
    decode_seconds: float


Coder = Callable[[Chunk], tuple[int, Callable[[], object]]]
"""Codes a chunk: the stored length, and what decodes it."""


def chain_coder(dtype: str, names: list[str]) -> Coder:
    """Always the same chain; ``residual`` is ``ig`` without grouping."""
    seen = lane(DTYPES[dtype])
    grouped = "ig" in names
    params = {
        "zstd": {},
        "rot": {"width": seen.width},
        "ig": {"width": seen.width, "shift": seen.shift, "bits": seen.bits, "block": BLOCK},
        "residual": {"width": seen.width, "shift": 0, "bits": 0, "block": BLOCK},
        "planes": {"width": seen.width, "block": BLOCK},
        "tokens": {"width": seen.width, "shift": seen.shift, "bits": seen.bits},
        "buckets": {"width": seen.width, "low": low_bits(*seen)},
    }
    table = {name: CODECS[name, 1] for name in ("zstd", "rot", "ig", "tokens", "buckets")}
    table |= {"residual": CODECS["ig", 1], "planes": Planes(14 if grouped else 15)}

    def code(chunk: Chunk) -> tuple[int, Callable[[], object]]:
        data = None
        if len(names) == 2:  # as the encoder does
            first, second = ((table[name], params[name]) for name in names)
            data = fused.encode(first, second, chunk.plain, chunk.base)
        if data is None:
            data = chunk.plain
            for name in names:
                data = table[name].encode(data, params[name], chunk.base)
        length = memoryview(data).nbytes
        lengths = [len(chunk.plain)] * (len(names) - 1) + [length]
        chain = [Step(table[n].name, 1, params[n], size) for n, size in zip(names, lengths, strict=True)]
        return length, lambda: decode_chain(chain, data, len(chunk.plain), chunk.base)

    return code


def chosen(dtype: str) -> Coder:
    """The encoder's own choice, with the cost of choosing."""

    def code(chunk: Chunk) -> tuple[int, Callable[[], object]]:
        encoded = encode_tensor(chunk.plain, DTYPES[dtype], chunk.base)
        return len(encoded.stored), lambda: decode_chain(
            encoded.chain, encoded.stored, len(chunk.plain), chunk.base
        )

    return code


def zstd3(chunk: Chunk) -> tuple[int, Callable[[], object]]:
    """What everything is compared with."""
    frame = zstandard.ZstdCompressor(3).compress(chunk.plain)
    return len(frame), lambda: zstandard.ZstdDecompressor().decompress(frame)


clock = perf_counter


def measure(coder: Coder, chunks: list[Chunk], pool: ThreadPoolExecutor | None) -> Result:
    """Best of some rounds, after checking that every chunk comes back."""
    spread = map if pool is None else pool.map
    best = Result(0, float("inf"), float("inf"))
    for _ in range(ROUNDS):
        started = clock()
        coded = list(spread(coder, chunks))
        middle = clock()
        plain = list(spread(lambda one: one[1](), coded))
        ended = clock()
        if any(bytes(back) != chunk.plain for back, chunk in zip(plain, chunks, strict=True)):
            raise SystemExit("a chunk came back different")
        best = Result(
            sum(stored for stored, _ in coded),
            min(best.encode_seconds, middle - started),
            min(best.decode_seconds, ended - middle),
        )
    return best


def report(title: str, dtype: str, chunks: list[Chunk], pool: ThreadPoolExecutor | None) -> None:
    """Measure each coder that fits and print a table."""
    total = sum(len(chunk.plain) for chunk in chunks)
    if total == 0:
        return
    print(f"\n{title} ({dtype}, {total / 1e6:.1f} MB)")
    print(
        f"  {'':18}{'ratio':>7}{'encode':>9}{'decode':>9}   of zstd-3: {'ratio':>7}{'encode':>8}{'decode':>8}"
    )
    coders: dict[str, Coder] = {"zstd-3": zstd3}
    with_base = all(chunk.base is not None for chunk in chunks)
    for names in (
        ["zstd"],
        ["rot", "planes"],
        ["buckets"],
        ["residual", "planes"],
        ["ig", "planes"],
        ["tokens"],
    ):
        if with_base or not {"residual", "ig", "tokens"} & set(names):
            coders[" + ".join(names)] = chain_coder(dtype, names)
    coders["chosen"] = chosen(dtype)
    reference: Result | None = None
    for name, coder in coders.items():
        result = measure(coder, chunks, pool)
        reference = reference or result
        print(
            f"  {name:18}{total / result.stored:7.3f}{total / 1e6 / result.encode_seconds:9.0f}"
            f"{total / 1e6 / result.decode_seconds:9.0f}   {'':11}{reference.stored / result.stored:7.2f}"
            f"{reference.encode_seconds / result.encode_seconds:8.2f}"
            f"{reference.decode_seconds / result.decode_seconds:8.2f}"
        )


def cut(plain: bytes, base: bytes | None) -> list[Chunk]:
    """Pieces as a commit makes them."""
    return [
        Chunk(plain[at : at + CHUNK], None if base is None else base[at : at + CHUNK])
        for at in range(0, len(plain), CHUNK)
    ]


def made_up(dtype: str, count: int) -> list[Chunk]:
    """Normally distributed weights that moved a little."""
    random = np.random.default_rng(1)
    before = random.standard_normal(count) * 0.02
    after = before + random.standard_normal(count) * 0.0002

    def as_bytes(values: np.ndarray) -> bytes:
        if dtype == "BF16":
            return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return values.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()

    return cut(as_bytes(after), as_bytes(before))


def tensors(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, dtype and bytes of each tensor of a safetensors file that we made ourselves."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    for name, row in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            first, last = row["data_offsets"]
            yield name, row["dtype"], raw[start + first : start + last]


def pairs(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """Files to measure, each with its predecessor or None."""
    for sub in sorted({path.parent for path in folder.rglob("*.safetensors")}):
        files = sorted(sub.glob("*.safetensors"))
        yield files[0], None
        yield from ((after, before) for before, after in pairwise(files))


def on_files(after: Path, before: Path | None, pool: ThreadPoolExecutor | None) -> None:
    """Measure one file, dtype by dtype, without what did not change."""
    known = {name: data for name, _, data in tensors(before)} if before else {}
    by_dtype: dict[str, list[Chunk]] = defaultdict(list)
    for name, dtype, data in tensors(after):
        base = known.get(name)
        if len(data) < 4096 or data == base or (before and (base is None or len(base) != len(data))):
            continue
        by_dtype[dtype] += cut(data, base)
    for dtype, chunks in by_dtype.items():
        title = str(after.name if before is None else f"{after.name} <- {before.name}")
        report(f"{after.parent.name}/{title}", dtype, chunks, pool)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--megabytes", type=int, default=16)
    options = parser.parse_args()
    if options.cpu:
        global clock
        clock = thread_time
    if options.no_native:
        native.KERNEL = None
    print(f"native kernel: {'yes' if native.available() else 'no'}; threads: {options.threads}")
    pool = ThreadPoolExecutor(options.threads) if options.threads > 1 else None
    for dtype in ("BF16", "F16", "F32"):
        report("made up, moved by 1 %", dtype, made_up(dtype, options.megabytes << 19), pool)
    if options.folder is not None:
        for after, before in pairs(options.folder):
            on_files(after, before, pool)


if __name__ == "__main__":
    main()
