"""The optional native kernel: the tensor codecs' inner loops in C, built where there was a compiler.

The numpy code of the codecs is the definition and is always there; the kernel gives the same bytes faster,
and its calls leave the interpreter lock to other threads. That there is none is a normal state, which
:func:`available` tells.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ctypes import (
    CDLL,
    addressof,
    c_char_p,
    c_int,
    c_size_t,
    c_ssize_t,
    c_uint,
    c_uint8,
    c_uint64,
    c_void_p,
    py_object,
    pythonapi,
)
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from mvc.codecs import logs
from mvc.elements import U8, scratch

Bytes = NDArray[np.uint8]

INTERFACE = 4
"""Which functions with which arguments the library must offer: ``mvc_kernel_interface`` in ``_kernel.c``."""

NONE, ROTATE, RESIDUAL = 0, 1, 2


class Step(NamedTuple):
    """What happens to elements of ``width`` bytes before they are split into planes.

    ``kind`` is NONE, ROTATE (the codec ``rot``) or RESIDUAL (the codec ``ig``, whose ``shift`` and ``bits``
    these are).
    """

    kind: int
    width: int
    shift: int = 0
    bits: int = 0


class Kernel:
    """The functions of the library, on one-dimensional contiguous arrays of bytes.

    Sizes are checked here, so that no caller can make the library leave its arrays.
    """

    def __init__(self, library: CDLL) -> None:
        self._split = _function(library, "mvc_split", c_int, "uuuuppnnpp")
        self._join = _function(library, "mvc_join", c_int, "uuuuppnpp")
        self._histograms = _function(library, "mvc_histograms", c_int, "uuuuppnp")
        self._pack = _function(library, "mvc_pack_nibbles", c_size_t, "pnpp")
        self._unpack = _function(library, "mvc_unpack_nibbles", c_size_t, "pnp")
        self._fill = _function(library, "mvc_fill_escapes", c_int, "pnpn")
        self._tokenise = _function(library, "mvc_tokenise", c_uint64, "uuuuppnnpppp")
        self._untokenise = _function(library, "mvc_untokenise", c_int, "uuppnpnp")
        self._bucketise = _function(library, "mvc_bucketise", c_uint64, "uupnpppp")
        self._unbucketise = _function(library, "mvc_unbucketise", c_int, "uupnppnp")
        self._keys = _function(library, "mvc_keys", c_int, "uuupnp")
        self._huffman = _function(library, "mvc_huffman", None, "pnnpp")
        self._entropies = _function(library, "mvc_entropies", None, "pnnqpp")
        self._fit = _function(library, "mvc_fit", c_size_t, "pnuppppp")
        self._read_shares = _function(library, "mvc_read_shares", c_size_t, "pnnupp")
        self._rans_encode = _function(library, "mvc_rans_encode", c_size_t, "ppnppnnunppn")
        self._rans_decode = _function(library, "mvc_rans_decode", c_int, "pnpnppnnunpp")

    def split(
        self, step: Step, block: int, target: Bytes, base: Bytes | None, scratch: Bytes, planes: Bytes
    ) -> None:
        """The step and then the byte planes of each block of ``block`` elements, end to end into ``planes``.

        ``target``, ``base`` (None unless the step is RESIDUAL) and ``planes`` have the same whole number of
        elements; ``scratch`` has a block if the step has ``bits``.
        """
        count = target.size // step.width
        _fit(target.size == planes.size == count * step.width and block > 0)
        _fit(step.bits == 0 or scratch.size >= min(block, count) * step.width)
        _fit((base is None) == (step.kind != RESIDUAL) and (base is None or base.size == target.size))
        done = self._split(
            *_head(step), _source(target), _source(base), count, block, _target(scratch), _target(planes)
        )
        _fit(done == 0)

    def join(
        self, step: Step, planes: Sequence[Bytes], base: Bytes | None, scratch: Bytes, out: Bytes
    ) -> None:
        """Undo :meth:`split` for one block, whose planes these are."""
        count = out.size // step.width
        _fit(len(planes) == step.width and all(plane.size == count for plane in planes))
        _fit(out.size == count * step.width and (step.bits == 0 or scratch.size >= out.size))
        _fit((base is None) == (step.kind != RESIDUAL) and (base is None or base.size == out.size))
        pointers = (c_void_p * step.width)(*map(_source, planes))
        done = self._join(*_head(step), pointers, _source(base), count, _target(scratch), _target(out))
        _fit(done == 0)

    def histograms(
        self, step: Step, target: Bytes, base: Bytes | None, room: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """How often each byte occurs in each plane after the step, for the elements of each key that occurs.

        A view of ``room`` with the shape (width, keys, 256), keys ascending; there is one key if the step has
        no ``bits``. ``room`` has as many items as that can be.
        """
        count = target.size // step.width
        most = min(256, count) if step.bits else 1
        _fit(target.size == count * step.width and room.size >= step.width * most * 256)
        _fit((base is None) == (step.kind != RESIDUAL) and (base is None or base.size == target.size))
        groups = self._histograms(*_head(step), _source(target), _source(base), count, _target(room))
        _fit(groups >= 0)
        return room[: step.width * groups * 256].reshape(step.width, groups, 256)

    def huffman(self, counts: NDArray[np.int64], table: NDArray[np.uint32]) -> list[int]:
        """Bits of each plane of counts of the shape (planes, groups, 256), in parts of 2^16.

        What :func:`mvc.odb.estimate.huffman_bits` says.
        """
        _fit(counts.dtype == np.int64 and counts.ndim == 3 and counts.shape[2] == 256)
        _fit(table.dtype == np.uint32 and table.size == 1025)
        found = np.empty(counts.shape[0], np.int64)
        self._huffman(_source(counts), *counts.shape[:2], _source(table), _target(found))
        bits: list[int] = found.tolist()
        return bits

    def entropies(
        self, counts: NDArray[np.uint32], least: int, table: NDArray[np.uint32]
    ) -> tuple[int, int, int]:
        """What :func:`mvc.odb.estimate.entropies` says of rows of counts."""
        _fit(counts.dtype == np.uint32 and counts.ndim == 2 and 0 <= least < 1 << 64)
        _fit(table.dtype == np.uint32 and table.size == 1025)
        found = np.empty(3, np.int64)
        self._entropies(_source(counts), *counts.shape, least, _source(table), _target(found))
        bits, rows, others = found.tolist()
        return bits, rows, others

    def pack_nibbles(self, plane: Bytes, packed: Bytes, escapes: Bytes) -> int:
        """Two values per byte into ``packed``, those of 15 or more into ``escapes``; returns their number."""
        _fit(packed.size == (plane.size + 1) // 2 and escapes.size >= plane.size)
        return int(self._pack(_source(plane), plane.size, _target(packed), _target(escapes)))

    def unpack_nibbles(self, packed: Bytes, plane: Bytes) -> int:
        """The values of ``packed``, as many as ``plane`` has room for; returns how many of them are 15."""
        _fit(packed.size == (plane.size + 1) // 2)
        return int(self._unpack(_source(packed), plane.size, _target(plane)))

    def fill_escapes(self, plane: Bytes, escapes: Bytes) -> None:
        """Put ``escapes`` in the place of the values 15 of ``plane``, which are as many."""
        _fit(self._fill(_target(plane), plane.size, _source(escapes), escapes.size) == 0)

    def keys(self, width: int, shift: int, bits: int, base: Bytes, keys: Bytes) -> None:
        """The key of each element of ``base``, as ``ig`` has them."""
        _fit(base.size == keys.size * width)
        _fit(self._keys(width, shift, bits, _source(base), keys.size, _target(keys)) == 0)

    def tokenise(
        self,
        width: int,
        shift: int,
        bits: int,
        keep: int,
        target: Bytes,
        base: Bytes,
        tokens: Bytes,
        keys: Bytes,
        counts: NDArray[np.uint32],
        extras: Bytes,
    ) -> int:
        """What :func:`mvc.codecs.tokens.tokenise` says; returns the number of extra bits.

        ``counts`` has the shape (2, 256, number of tokens), its first half is the result; ``extras`` has room
        for the elements and 8 bytes.
        """
        count = tokens.size
        _fit(target.size == base.size == count * width and keys.size == count)
        _fit(counts.dtype == np.uint32 and counts.shape[:2] == (2, 256) and extras.size >= target.size + 8)
        total = self._tokenise(
            *(width, shift, bits, keep),
            *(_source(target), _source(base), count, counts.shape[2]),
            *(_target(tokens), _target(keys), _target(counts), _target(extras)),
        )
        _fit(total <= 8 * target.size)
        return int(total)

    def untokenise(
        self, width: int, keep: int, tokens: Bytes, base: Bytes, extras: Bytes, out: Bytes
    ) -> bool:
        """Undo :meth:`tokenise`; False if other extra bits belong to these tokens."""
        _fit(base.size == out.size == tokens.size * width)
        undone = self._untokenise(
            *(width, keep, _source(tokens), _source(base), tokens.size),
            *(_source(extras), extras.size, _target(out)),
        )
        return bool(undone == 0)

    def bucketise(
        self,
        width: int,
        low: int,
        target: Bytes,
        symbol_of: Bytes,
        symbols: Bytes,
        counts: NDArray[np.uint32],
        extras: Bytes,
    ) -> int:
        """What :func:`mvc.codecs.buckets.bucketise` says; returns the number of extra bits.

        ``symbol_of`` has an entry for each of 2^16 upper parts, ``counts`` one for each of 256 symbols,
        ``extras`` room for the elements and 8 bytes.
        """
        _fit(target.size == symbols.size * width and extras.size >= target.size + 8)
        _fit(symbol_of.size == 1 << 16 and counts.size == 256 and counts.dtype == np.uint32)
        total = self._bucketise(
            *(width, low, _source(target), symbols.size, _source(symbol_of)),
            *(_target(symbols), _target(counts), _target(extras)),
        )
        _fit(total <= 8 * target.size)
        return int(total)

    def unbucketise(
        self, width: int, low: int, symbols: Bytes, upper: NDArray[np.uint64], extras: Bytes, out: Bytes
    ) -> bool:
        """Undo :meth:`bucketise`; ``upper`` has the upper parts of 256 symbols.

        False if other extra bits belong to these symbols.
        """
        _fit(out.size == symbols.size * width and upper.size == 256 and upper.dtype == np.uint64)
        _fit(0 <= low < 8 * width)
        undone = self._unbucketise(
            *(width, low, _source(symbols), symbols.size, _source(upper)),
            *(_source(extras), extras.size, _target(out)),
        )
        return bool(undone == 0)

    def fit(
        self,
        counts: NDArray[np.uint32],
        precision: int,
        table: NDArray[np.uint32],
        room: NDArray[np.uint32],
        contexts: Bytes,
        shares: NDArray[np.uint16],
        stored: Bytes,
    ) -> int:
        """What :func:`mvc.codecs.shares.fit` says; returns the length of the stored form.

        ``room`` and ``shares`` have an item for each of ``counts``, ``stored`` three and 520 bytes.
        """
        _fit(counts.dtype == room.dtype == table.dtype == np.uint32 and shares.dtype == np.uint16)
        _fit(counts.shape[0] == contexts.size == 256 and table.size == 1025)
        _fit(room.size == shares.size == counts.size and stored.size >= 520 + 3 * counts.size)
        length = self._fit(
            *(_source(counts), counts.shape[1], precision, _source(table)),
            *(_target(room), _target(contexts), _target(shares), _target(stored)),
        )
        _fit(length > 0)
        return int(length)

    def read_shares(
        self, stored: Bytes, symbols: int, precision: int, contexts: Bytes, shares: NDArray[np.uint16]
    ) -> int:
        """Undo :meth:`fit`: fill ``contexts`` and the front of ``shares``.

        Returns the length of the stored form with which ``stored`` begins, or 0 if it does not.
        """
        _fit(1 <= symbols <= 256 and contexts.size == 256)
        _fit(shares.dtype == np.uint16 and shares.size == 256 * symbols)
        length = self._read_shares(
            *(_source(stored), stored.size, symbols, precision, _target(contexts), _target(shares))
        )
        return int(length)

    def rans_encode(
        self,
        symbols: Bytes,
        keys: Bytes,
        contexts: Bytes,
        shares: NDArray[np.uint16],
        precision: int,
        lanes: int,
        room: Bytes,
    ) -> Bytes:
        """What :func:`mvc.codecs.rans.encode` says; the part of ``room`` that was filled."""
        _fit(symbols.size == keys.size and contexts.size == 256 and shares.dtype == np.uint16)
        _fit(room.size >= 2 * symbols.size + 4 * lanes)
        table = _table(shares.shape[0] * 256 * 16 + 8)  # begins at a multiple of 8
        table = table[-table.ctypes.data % 8 :]
        length = self._rans_encode(
            *(_source(symbols), _source(keys), symbols.size, _source(contexts), _source(shares)),
            *(*shares.shape, precision, lanes, _target(table), _target(room), room.size),
        )
        _fit(length > 0)
        return room[room.size - length :]

    def rans_decode(
        self,
        coded: Bytes,
        keys: Bytes,
        contexts: Bytes,
        shares: NDArray[np.uint16],
        precision: int,
        lanes: int,
        symbols: Bytes,
    ) -> bool:
        """What :func:`mvc.codecs.rans.decode` says; False if the bytes are not such a code."""
        _fit(symbols.size == keys.size and contexts.size == 256 and shares.dtype == np.uint16)
        table = _table(shares.shape[0] * 4 * ((1 << min(precision, 14)) + 256))
        done = self._rans_decode(
            *(_source(coded), coded.size, _source(keys), symbols.size, _source(contexts), _source(shares)),
            *(*shares.shape, precision, lanes, _target(table), _target(symbols)),
        )
        return bool(done == 0)


def available() -> bool:
    """Whether there is a kernel here and it works."""
    return KERNEL is not None


def new_bytes(length: int) -> tuple[bytes, Bytes]:
    """A bytes object whose content is not written yet, and an array over that content to write it through.

    For results that come from the kernel: no copy, and no page is touched while the interpreter lock is held.
    The array is good as long as the object lives, and is let go before anybody else gets to see the object.
    """
    # documented: what PyBytes_FromStringAndSize made of NULL may be written to until it is used
    made = _NEW_BYTES(None, length)
    content = (c_uint8 * length).from_address(_CONTENT_OF(made))
    return made, np.ndarray(length, np.uint8, memoryview(content))


_NEW_BYTES = pythonapi["PyBytes_FromStringAndSize"]
_NEW_BYTES.restype, _NEW_BYTES.argtypes = py_object, (c_char_p, c_ssize_t)
_CONTENT_OF = pythonapi["PyBytes_AsString"]
_CONTENT_OF.restype, _CONTENT_OF.argtypes = c_void_p, (py_object,)


def _function(library: CDLL, name: str, result: Any, arguments: str) -> Any:
    types: dict[str, Any] = {"u": c_uint, "p": c_void_p, "n": c_size_t, "q": c_uint64}
    function = library[name]
    function.restype = result
    function.argtypes = [types[letter] for letter in arguments]
    return function


def _table(size: int) -> Bytes:
    """Room for tables that a call makes, valid until this thread's next call."""
    return scratch("native.table", size, U8)


def _head(step: Step) -> tuple[int, int, int, int]:
    return step.kind, step.width, step.shift, step.bits


def _source(array: NDArray[Any] | None) -> int | None:
    """Address of an array that the library reads."""
    if array is None:
        return None
    flags = array.flags
    _fit(flags.c_contiguous)
    if flags.writeable:  # a quarter of the time that the other way takes, which is more than a small join
        return addressof(_NOTHING.from_buffer(array.data))
    address: int = array.__array_interface__["data"][0]
    return address


_NOTHING = c_uint8 * 0


def _target(array: NDArray[Any]) -> int | None:
    """Address of an array that the library writes to."""
    _fit(array.flags.writeable)
    return _source(array)


def _fit(does: bool) -> None:
    """A caller's mistake must not become a write beyond an array."""
    if not does:
        raise ValueError("arrays or parameters that do not fit together")


def load(folder: Path) -> Kernel | None:
    """The kernel from a folder; None if there is none, or none that loads here and passes its self-test."""
    if sys.byteorder != "little":
        return None
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"_kernel{suffix}"
        if not path.is_file():
            continue
        try:
            library = CDLL(str(path))
            if library["mvc_kernel_interface"]() != INTERFACE:
                return None
            kernel = Kernel(library)
        except (OSError, AttributeError):  # built for another machine, or by another version of mvc
            return None
        return kernel if _works(kernel) else None
    return None


_KNOWN = "e24df148c0e1db95172268dd9b45d3ee140d1ded0ad7c9942792495cc444bf19"
"""BLAKE3 over all that :func:`_works` does, as the numpy code does it."""


def _works(kernel: Kernel) -> bool:
    """Whether it gives known bytes, and back: a miscompiled kernel is refused rather than trusted."""
    return _fingerprint(kernel) == _KNOWN


def _fingerprint(kernel: Kernel) -> str:
    """A hash over what the kernel makes of fixed bytes, and of what it makes of that on the way back."""
    noise = np.frombuffer(blake3(b"mvc kernel").digest(length=2 * 1208), np.uint8)
    target, base = noise[:1208], noise[1208:]
    apart, scratch, back = (np.empty(1208, np.uint8) for _ in range(3))
    room = np.empty(8 * 256 * 256, np.int64)
    seen = blake3()
    for width in (1, 2, 4, 8):
        size = 600 // width  # elements per block: two whole blocks and a short one
        exponent = {1: (3, 4), 2: (7, 8), 4: (23, 8), 8: (52, 11)}[width]
        for step in (
            Step(NONE, width),
            Step(ROTATE, width),
            Step(RESIDUAL, width),
            Step(RESIDUAL, width, *exponent),
        ):
            other = base if step.kind == RESIDUAL else None
            kernel.split(step, size, target, other, scratch, apart)
            seen.update(apart.data)
            for start in range(0, 1208, 600):
                block = slice(start, start + 600)
                planes = apart[block].reshape(width, -1)
                kernel.join(step, list(planes), None if other is None else other[block], scratch, back[block])
            seen.update(back.data)
            counts = kernel.histograms(step, target, other, room)
            seen.update(counts.tobytes())
            seen.update(repr(kernel.huffman(counts, logs.TABLE)).encode())
    packed, plane = apart[:600], back[:1199]
    escaped = kernel.pack_nibbles(target[:1199] // 14, packed, scratch)
    seen.update(packed.data)
    seen.update(scratch[:escaped].data)
    if kernel.unpack_nibbles(packed, plane) != escaped:
        return ""
    kernel.fill_escapes(plane, scratch[:escaped])
    seen.update(plane.data)
    _tokens_into(kernel, seen, target, base)
    return seen.hexdigest()


def _tokens_into(kernel: Kernel, seen: blake3, target: Bytes, base: Bytes) -> None:
    """The part of :func:`_fingerprint` that is about tokens and their codes."""
    base = base.copy()
    base[:800] = target[:800]  # so that some residuals are 0,
    base[800:1000] += np.uint8(3)  # some small,
    target = target.copy()
    target[1000:1100] = 0  # and some targets
    most = 256 * 241  # counts; once for all, for fresh memory costs more than what is done in it
    pieces, tables, every = (
        np.empty(most, np.uint32),
        np.empty(most, np.uint16),
        np.empty(2 * most, np.uint32),
    )
    contexts, stored = np.empty(256, np.uint8), np.empty(520 + 3 * most, np.uint8)
    for width in (1, 2, 4, 8):
        shift, bits = {1: (3, 4), 2: (7, 8), 4: (23, 8), 8: (52, 11)}[width]
        keep = 1 if width in (1, 8) else 3
        number = 17 + ((8 * width - 4) << keep)
        tokens, keys = np.empty(1208 // width, np.uint8), np.empty(1208 // width, np.uint8)
        counts, extras = every[: 512 * number].reshape(2, 256, number), np.empty(1216, np.uint8)
        total = kernel.tokenise(width, shift, bits, keep, target, base, tokens, keys, counts, extras)
        for part in (tokens, keys, counts[0], extras[: (total + 7) // 8]):
            seen.update(part.tobytes())
        seen.update(repr(kernel.entropies(counts[0], 3, logs.TABLE)).encode())
        again, back = np.empty_like(keys), np.empty_like(target)
        room, fitted = pieces[: 256 * number], tables[: 256 * number]
        for precision in (8, 12):
            length = kernel.fit(counts[0], precision, logs.TABLE, room, contexts, fitted, stored)
            size = (int(stored[0]) + 1) * number
            for part in (contexts, fitted[:size], stored[:length]):
                seen.update(part.tobytes())
            contexts.fill(0)
            fitted.fill(0)
            for form in (stored[: length - 1], stored[:length]):
                found = kernel.read_shares(form, number, precision, contexts, fitted)
                seen.update(found.to_bytes(4, "little"))
            for part in (contexts, fitted[:size]):
                seen.update(part.tobytes())
        kernel.keys(width, shift, bits, base, again)
        seen.update(again.data)
        halves = np.repeat(np.arange(2, dtype=np.uint8), 128)
        shares = np.full((2, number), (1 << 12) // number, np.uint16)
        shares[:, 0] += (1 << 12) % number
        shares[1] = shares[1, ::-1]
        for lanes in (1, 8, 16):
            coded = kernel.rans_encode(
                tokens, keys, halves, shares, 12, lanes, np.empty(2 * tokens.size + 64, np.uint8)
            )
            seen.update(coded.tobytes())
            again.fill(0)
            seen.update(bytes([kernel.rans_decode(coded, keys, halves, shares, 12, lanes, again)]))
            seen.update(again.data)
        seen.update(bytes([kernel.untokenise(width, keep, again, base, extras[: (total + 7) // 8], back)]))
        seen.update(back.data)
        low = {1: 0, 2: 5, 4: 21, 8: 50}[width]
        symbol_of = np.ones(1 << 16, np.uint8)
        symbol_of[::3] = 2 + np.arange((1 << 16) // 3 + 1) % 250
        upper = np.arange(256, dtype=np.uint64) << np.uint64(low)
        upper[:2] = 0
        total = kernel.bucketise(width, low, target, symbol_of, tokens, counts.reshape(-1)[:256], extras)
        for part in (tokens, counts.reshape(-1)[:256], extras[: (total + 7) // 8]):
            seen.update(part.tobytes())
        done = kernel.unbucketise(width, low, tokens, upper, extras[: (total + 7) // 8], back)
        seen.update(bytes([done]) + back.tobytes())


KERNEL = load(Path(__file__).parent)
"""The kernel of this installation, or None."""
