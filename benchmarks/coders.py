"""What a file takes under coders other than mvc as a whole: zstd, peers, XOR planes, our codecs one by one.

All sizes are in bytes of stored data without any container around it, so that no peer pays for one. A coder
that cannot code something answers None.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import zstandard

from benchmarks import bounds
from benchmarks.bench_codecs import Chunk, chain_coder, cut
from benchmarks.tensor_files import Tensor, read
from mvc.codecs import CODECS
from mvc.dtypes import DTYPES
from mvc.odb.estimate import lane

Pairs = Sequence[tuple[Tensor, Tensor | None]]
"""Tensors of a file, each with the one that it may be predicted from."""


class File:
    """A file's bytes and its tensors; what lies between the tensors is ``rest``."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.tensors = read(path)
        self.rest = max(0, len(self.data) - sum(len(tensor.data) for tensor in self.tensors.values()))

    @property
    def streams(self) -> dict[str, bytes]:
        """The tensors of each type end to end."""
        out: dict[str, list[bytes]] = defaultdict(list)
        for tensor in self.tensors.values():
            out[tensor.dtype].append(tensor.data)
        return {dtype: b"".join(parts) for dtype, parts in out.items()}

    def beside(self, bases: Sequence[File]) -> Pairs:
        """Each tensor with its namesake in the first base whose namesake has its type and at least one row
        like its own. Rows that only one of them has are not compared."""
        return [(tensor, _namesake(name, tensor, bases)) for name, tensor in self.tensors.items()]


def _namesake(name: str, tensor: Tensor, bases: Sequence[File]) -> Tensor | None:
    for base in bases:
        other = base.tensors.get(name)
        if other is not None and (other.dtype, other.shape) == (tensor.dtype, tensor.shape):
            return other
    return None


def zstd(data: bytes, level: int, base: bytes | None = None) -> int:
    """One frame; with a base as ``zstd --patch-from`` does it: a window over both, long matches too."""
    if base is None:
        return len(zstandard.ZstdCompressor(level).compress(data))
    settings = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(data),
        window_log=min(30, max(17, (len(data) + len(base)).bit_length())),
        enable_ldm=True,
    )
    prefix = zstandard.ZstdCompressionDict(base, zstandard.DICT_TYPE_RAWCONTENT)
    return len(zstandard.ZstdCompressor(dict_data=prefix, compression_params=settings).compress(data))


def xor_planes(file: File, pairs: Pairs) -> int:
    """XOR with the base, byte planes of each tensor, zstd -3 on each plane."""
    coder = zstandard.ZstdCompressor(3)
    total = file.rest
    for tensor, base in pairs:
        bits = tensor.elements if base is None else tensor.elements ^ base.elements
        octets = bits.view(np.uint8).reshape(-1, bits.dtype.itemsize)
        total += sum(len(coder.compress(np.ascontiguousarray(plane))) for plane in octets.T)
    return total


def forced(file: File, pairs: Pairs, names: list[str]) -> int | None:
    """Always the same chain of our codecs, on pieces as a commit cuts them; for tensors without a base
    ``rot``. None where no tensor has a base and the chain needs one."""
    needs_base = "rot" not in names
    if needs_base and all(base is None for _, base in pairs):
        return None
    total = file.rest
    for tensor, base in pairs:
        has_exponent = lane(DTYPES[tensor.dtype]).bits and tensor.elements.dtype.itemsize > 1
        alone = ["rot", "planes"] if has_exponent else ["planes"]
        chain = names if needs_base and base is not None else alone
        code = tokens_coder(tensor.dtype) if chain == ["tokens"] else chain_coder(tensor.dtype, chain)
        pieces = cut(tensor.data, base.data if needs_base and base is not None else None)
        total += sum(min(code(piece)[0], len(piece.plain)) for piece in pieces)
    return total


def tokens_coder(dtype: str) -> Callable[[Chunk], tuple[int, None]]:
    """The codec ``tokens``, as the encoder sets it."""
    seen = lane(DTYPES[dtype])
    params = {"width": seen.width, "shift": seen.shift, "bits": seen.bits}
    return lambda chunk: (len(memoryview(CODECS["tokens", 1].encode(chunk.plain, params, chunk.base))), None)


def bound(file: File, pairs: Pairs, which: str) -> float | None:
    """One of the bounds of :mod:`benchmarks.bounds`, of the tensors only. Those without a base count as they
    are alone, those that did not move not at all."""
    function = {
        "residual": bounds.of_residual,
        "grouped": bounds.of_grouped_residual,
        "changes": bounds.of_changes,
    }
    if which == "alone":
        return sum(bounds.alone(tensor) for tensor, _ in pairs)
    if all(base is None for _, base in pairs):
        return None
    return sum(
        bounds.alone(tensor) if base is None else function[which](tensor, base)
        for tensor, base in pairs
        if base is None or base.data != tensor.data
    )


def _mostly_paired(pairs: Pairs) -> bool:
    paired = sum(len(tensor.data) for tensor, base in pairs if base is not None)
    return 2 * paired >= sum(len(tensor.data) for tensor, _ in pairs)


def moved(pairs: Pairs) -> float | None:
    """‖Δ‖ ÷ ‖W‖ over all tensors that have a base, W being the base; None where numbers are missing, or less
    than half of the bytes have a base."""
    if not _mostly_paired(pairs):
        return None
    difference = size = 0.0
    for tensor, base in pairs:
        if base is None:
            continue
        after, before = tensor.values, base.values
        if after is None or before is None:
            return None
        difference += float(np.square(after - before).sum())
        size += float(np.square(before).sum())
    return (difference / size) ** 0.5 if size else None


def unchanged(pairs: Pairs) -> float | None:
    """The share of elements with a base that are bit for bit what they were; None where less than half of the
    bytes have a base."""
    if not _mostly_paired(pairs):
        return None
    same = count = 0
    for tensor, base in pairs:
        if base is not None:
            same += int(np.count_nonzero(tensor.elements == base.elements))
            count += tensor.elements.size
    return same / count if count else None


class Peer:
    """A library in a process of its own; ``missing`` says why there is none."""

    def __init__(self, name: str, python: str) -> None:
        script = Path(__file__).with_name("coder_worker.py")
        self._process = subprocess.Popen(
            [python, str(script), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        hello = self._answer()
        self.version: str | None = hello.get("version")
        self.missing: str | None = hello.get("missing")

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a peer's process ended without an answer")
        return json.loads(line)

    def size(self, data: bytes, dtype: str) -> int | None:
        """Stored bytes; None where the peer is missing or cannot code that type."""
        if self.missing is not None:
            return None
        assert self._process.stdin is not None
        width = DTYPES[dtype].width
        request = {"dtype": dtype, "width": width, "length": len(data)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n" + data)
        self._process.stdin.flush()
        return self._answer()["size"]

    def file_size(self, file: File) -> int | None:
        """The streams of a file, each as its type; small ones of types that the peer cannot code stay raw."""
        total, uncoded = file.rest, 0
        for dtype, data in file.streams.items():
            size = self.size(data, dtype)
            uncoded += len(data) if size is None else 0
            total += len(data) if size is None else size
        return None if uncoded > 0.1 * len(file.data) or not file.tensors else total

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
