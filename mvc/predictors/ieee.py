"""Whether this thread's floating-point arithmetic is IEEE 754's, and what to do where it is not.

A program may tell the processor to flush subnormal numbers to zero (``torch.set_flush_denormal``, libraries
built with ``-ffast-math``) or to round otherwise than to nearest, for one thread and those that it starts. A
prediction made so would differ from the one that was made when the record was written. So every recipe that
calculates with floats asks first, and is otherwise calculated in a child process, which begins with the
processor's own state (System V ABI: MXCSR is reset by exec).
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgpack
import numpy as np

from mvc.errors import CorruptObject, UnsupportedFeature

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

SECONDS = 300
"""How long a child process may take."""

_HINT = "run mvc in a process of its own"
_DONE, _DAMAGED, _INEXACT = range(3)  # first byte of a child's answer
_HEAD = struct.Struct("<Q")
_CHILD = "import sys; sys.path.extend(sys.argv[1:]); from mvc.predictors import ieee; ieee.serve()"


class Floating(Protocol):
    """A predictor that calculates with floats."""

    @property
    def name(self) -> str:
        """How records call it."""

    @property
    def version(self) -> int:
        """Which form of the parameters and of the arithmetic."""

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The prediction, on arithmetic that is known to be IEEE 754's."""


def _u32(*values: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.array(values * 16, np.uint32)  # long enough for vector instructions, which have their own state


def _u64(*values: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array(values * 16, np.uint64)


# Operands and results of single operations, as bits: subnormal operands and results (flushed ones give 0),
# ties to even, the last place of both signs (other directions of rounding differ in one of them).
_LEFT32 = _u32(0x00800000, 0x00000003, 0x3F800000, 0x3F800001, 0xBF800000, 0x3F800000)
_RIGHT32 = _u32(0x80400000, 0x00000004, 0x33800000, 0x33800000, 0xB3C00000, 0x33C00000)
_SUM32 = _u32(0x00400000, 0x00000007, 0x3F800000, 0x3F800002, 0xBF800001, 0x3F800001)
_FACTOR32 = _u32(0x3F000000, 0x40000000, 0x3F800001, 0x3F800001, 0x3F800001, 0x3EAAAAAB)
_PRODUCT32 = _u32(0x00400000, 0x00000006, 0x3F800001, 0x3F800002, 0xBF800001, 0x3EAAAAAB)
_QUOTIENT32 = _u32(0x01000000, 0x00000002, 0x3F7FFFFE, 0x3F800000, 0xBF7FFFFE, 0x40400000)
_LEFT64 = _u64(0x0010000000000000, 0x0000000000000003, 0x3FF0000000000000, 0x3FF0000000000001)
_RIGHT64 = _u64(0x8008000000000000, 0x0000000000000004, 0x3CA0000000000000, 0x3CA0000000000000)
_SUM64 = _u64(0x0008000000000000, 0x0000000000000007, 0x3FF0000000000000, 0x3FF0000000000002)
_WIDE = _u64(0x3690000000000000, 0x380FFFFFC0000000, 0x3FF0000010000000, 0xBFF0000030000000)
_NARROW = _u32(0x00000000, 0x007FFFFF, 0x3F800000, 0xBF800002)
_HALVES = np.array([0x0001, 0x0000, 0x3C00, 0x3C02] * 16, np.uint16)
_SINGLES = _u32(0x33800000, 0x33000000, 0x3F801000, 0x3F803000)


def is_exact() -> bool:
    """Whether this thread's sums, products, quotients and conversions are IEEE 754's, rounded to nearest.

    Takes some microseconds: ask before each prediction, for the state can change between two.
    """
    with np.errstate(all="ignore"):
        left, right, factor = (bits.view(np.float32) for bits in (_LEFT32, _RIGHT32, _FACTOR32))
        wide = _LEFT64.view(np.float64) + _RIGHT64.view(np.float64)
        return (
            np.array_equal((left + right).view(np.uint32), _SUM32)
            and np.array_equal((left * factor).view(np.uint32), _PRODUCT32)
            and np.array_equal((left / factor).view(np.uint32), _QUOTIENT32)
            and np.array_equal(wide.view(np.uint64), _SUM64)
            and np.array_equal(_WIDE.view(np.float64).astype(np.float32).view(np.uint32), _NARROW)
            and np.array_equal(_SINGLES.view(np.float32).astype(np.float16).view(np.uint16), _HALVES)
        )


def calculate(predictor: Floating, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
    """The predictor's prediction, calculated here where that is exact and else in a child process.

    Raises:
        CorruptObject: bases or parameters that cannot be predicted from.
        UnsupportedFeature: neither this thread nor a child process calculates exactly.
    """
    if is_exact():
        with np.errstate(all="ignore"):  # overflow to infinity and NaNs are results like others
            return predictor.calculate(bases, params, length)
    return calculate_apart(predictor, bases, params, length)


def calculate_apart(
    predictor: Floating, bases: Sequence[Buffer], params: Mapping[str, Any], length: int
) -> bytes:
    """As :func:`calculate`, always in a child process: about 0.2 s for each prediction."""
    pieces = [memoryview(base).cast("B") for base in bases]
    head = msgpack.packb(
        [predictor.name, predictor.version, dict(params), length, [len(piece) for piece in pieces]]
    )
    try:
        done = subprocess.run(
            _command(),
            input=b"".join([_HEAD.pack(len(head)), head, *pieces]),
            capture_output=True,
            timeout=SECONDS,
            cwd=os.sep,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedFeature(
            f"{predictor.name}: floating-point arithmetic is not IEEE 754's here, and a child process "
            f"failed: {error}",
            hint=_HINT,
        ) from None
    status, answer = done.stdout[:1], done.stdout[1:]
    if status == bytes([_DONE]) and len(answer) == length:
        return answer
    if status == bytes([_DAMAGED]):
        raise CorruptObject(answer.decode("utf-8", "replace"))
    raise UnsupportedFeature(
        f"{predictor.name}: floating-point arithmetic is not IEEE 754's, here or in a child process "
        f"(which ended with {done.returncode})",
        hint=_HINT,
    )


def _command() -> list[str]:
    """The child process: isolated, it finds the packages that this process has loaded, where those came from,
    and nothing in the current folder, which may hold what somebody else wrote."""
    found = [Path(__file__).resolve().parents[2]]
    found += [Path(str(package.__file__)).resolve().parents[1] for package in (np, msgpack)]
    folders = dict.fromkeys(map(str, found))
    return [str(sys.executable), "-I", "-S", "-B", "-c", _CHILD, *folders]


def serve() -> None:
    """The child process: one question from standard input, its answer to standard output."""
    _answer(sys.stdin.buffer, sys.stdout.buffer)


def _answer(question: BinaryIO, answer: BinaryIO) -> None:
    from mvc.predictors import PREDICTORS  # deferred: that package's modules import this one

    (size,) = _HEAD.unpack(question.read(_HEAD.size))
    name, version, params, length, lengths = msgpack.unpackb(question.read(size))
    bases = [question.read(count) for count in lengths]
    predictor: Any = PREDICTORS[name, version]
    if not is_exact():
        answer.write(bytes([_INEXACT]))
        return
    try:
        with np.errstate(all="ignore"):
            prediction = predictor.calculate(bases, params, length)
    except CorruptObject as error:
        answer.write(bytes([_DAMAGED]) + error.message.encode())
        return
    answer.write(bytes([_DONE]))
    answer.write(memoryview(prediction).cast("B"))
