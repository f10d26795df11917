"""GGUF: a header of keys, values and tensor descriptions, then the tensors, each aligned.

Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 1 to 3, version 3 also
big-endian. Dimensions are stored with the one that runs fastest first; shapes are given here in numpy's
order, so that a tensor of plain elements is described as in any other format. A model in several files has a
whole header in each, so each stands alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mvc.dtypes import DTYPES
from mvc.formats.base import (
    MAX_LISTED,
    MAX_VALUE_CHARACTERS,
    NotThisFormat,
    Sibling,
    Value,
    View,
    limited,
)
from mvc.formats.wire.window import Window
from mvc.spans import MAX_RANK, Layout, Span, element_count, shown

MAX_HEADER_BYTES = 64 << 20
"""Vocabularies lie in the header; the largest take about 10 MiB."""

MAX_KEYS = 65_536
MAX_TENSORS = 100_000
MAX_NESTING = 4
"""Arrays within arrays."""

MAX_ITEMS = 2_000_000
"""Texts in arrays, over the whole header: each costs a step of the walk."""

_MAGIC = b"GGUF"
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
_MAX_NAME_BYTES = 0xFFFF
_STRETCH = 256 << 10
_STEPS_OF_ARRAY = 16  # what an array costs against a text
_U32, _TEXT, _ARRAY = 4, 8, 9

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", _U32: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of values, as ``struct`` spells them."""

_DTYPES = (
    {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1"}
    | {10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K"}
    | {16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S"}
    | {23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16"}
    | {31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 34: "TQ1_0", 35: "TQ2_0"}
    | {36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"}
)
"""``enum ggml_type``; 4 and 5 were gone before GGUF came."""


@dataclass(frozen=True, slots=True)
class Gguf:
    """Scanner of ``.gguf`` files."""

    name: str = "gguf"

    def claims(self, name: str, head: bytes) -> bool:
        """By the magic bytes, or by the file name."""
        return head.startswith(_MAGIC) or name.lower().endswith(".gguf")

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """One span per tensor of the header."""
        header = _Header(view)
        for _ in header.values(keep=False):
            pass
        return {view.name: Layout(self.name, tuple(header.spans()))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """The header's keys; of the items of an array each is a value."""
        return limited(_Header(view).values(keep=True))


class _Header:
    """The header, read from its start to its end: first :meth:`values`, then :meth:`spans`."""

    def __init__(self, view: View) -> None:
        self._window = Window(view, _STRETCH)
        self._position = 0
        self._items = MAX_ITEMS
        self._alignment = _DEFAULT_ALIGNMENT
        if self._take(len(_MAGIC)) != _MAGIC:
            raise NotThisFormat("the magic bytes are missing")
        raw = self._take(4)
        # a version never needs its upper half, so that one that seems to is of the other byte order
        self._order = ">" if raw[:2] == b"\0\0" else "<"
        (version,) = struct.unpack(f"{self._order}I", raw)
        if version not in ((1, 2, 3) if self._order == "<" else (3,)):
            raise NotThisFormat(f"unknown version {version}")
        self._length = "I" if version == 1 else "Q"
        self._tensors = self._count(MAX_TENSORS, "tensors")
        self._keys = self._count(MAX_KEYS, "keys")

    def values(self, *, keep: bool) -> Iterator[tuple[str, Value]]:
        """Names and values of all keys; without ``keep`` it only reads past them."""
        seen: set[str] = set()
        for _ in range(self._keys):
            key = self._name()
            if key in seen:
                raise NotThisFormat(f"the key {shown(key)} occurs twice")
            seen.add(key)
            kind = self._number("I")
            if key == _ALIGNMENT:
                value = self._read_alignment(kind)
                if keep:
                    yield key, value
            elif kind == _ARRAY:
                yield from self._array(key, keep=keep)
            else:
                yield from self._single(key, kind, keep=keep)

    def spans(self) -> Iterator[Span]:
        """The tensors' places."""
        described = [self._tensor() for _ in range(self._tensors)]
        if len({name for name, *_ in described}) < len(described):
            raise NotThisFormat("two tensors have one name")
        start = -(-self._position // self._alignment) * self._alignment
        for name, dtype, shape, offset in described:
            if offset % self._alignment:
                raise NotThisFormat(f"tensor {shown(name)} is not aligned to {self._alignment} bytes")
            length = DTYPES[dtype].byte_count(element_count(shape))
            yield Span(start + offset, length, name, dtype, shape)

    # --- keys and values -----------------------------------------------------------------------------------
    def _read_alignment(self, kind: int) -> int:
        alignment = self._number("I") if kind == _U32 else 0
        if not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise NotThisFormat(f"{_ALIGNMENT} is no power of two in 32 bits")
        self._alignment = alignment
        return alignment

    def _single(self, name: str, kind: int, *, keep: bool) -> Iterator[tuple[str, Value]]:
        value = self._text(keep=keep) if kind == _TEXT else self._unpack(self._scalar(kind))
        if keep and value is not None:
            yield name, value

    def _array(self, name: str, *, keep: bool) -> Iterator[tuple[str, Value]]:
        kind = self._number("I")
        count = self._number(self._length)
        if keep and (count > MAX_LISTED or kind == _ARRAY):
            yield f"{name}.#", count
        if keep and count <= MAX_LISTED and kind != _ARRAY:
            for place in range(count):
                yield from self._single(f"{name}.{place}", kind, keep=True)
        else:
            self._pass_items(kind, count, MAX_NESTING)

    def _pass_items(self, kind: int, count: int, nesting: int) -> None:
        """Read past the items of an array."""
        if kind not in (_TEXT, _ARRAY):
            self._pass(count * struct.calcsize(f"<{self._scalar(kind)}"))
            return
        self._items -= count if kind == _TEXT else count * _STEPS_OF_ARRAY
        if self._items < 0:
            raise NotThisFormat(f"more than {MAX_ITEMS} items in arrays")
        if kind == _TEXT:
            self._pass_texts(count)
            return
        if nesting == 1:
            raise NotThisFormat(f"arrays nested more than {MAX_NESTING} deep")
        for _ in range(count):
            inner = self._number("I")
            self._pass_items(inner, self._number(self._length), nesting - 1)

    def _pass_texts(self, count: int) -> None:
        """Read past many texts, as a vocabulary has."""
        length = struct.Struct(f"{self._order}{self._length}")
        while count:
            held = self._window.rest(self._position, length.size)
            at, last = 0, len(held) - length.size
            while count and at <= last:
                at += length.size + length.unpack_from(held, at)[0]
                count -= 1
            self._pass(at)

    # --- tensors -------------------------------------------------------------------------------------------
    def _tensor(self) -> tuple[str, str, tuple[int, ...], int]:
        """One tensor's name, dtype, shape in numpy's order, and offset from the start of the data."""
        name = self._name()
        rank = self._number("I")
        if rank > MAX_RANK:
            raise NotThisFormat(f"tensor {shown(name)} has {rank} dimensions, more than {MAX_RANK}")
        extents = struct.unpack(
            f"{self._order}{rank}{self._length}", self._take(rank * struct.calcsize(f"<{self._length}"))
        )
        kind = self._number("I")
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise NotThisFormat(f"tensor {shown(name)} has an unknown type {kind}")
        if self._order == ">" and DTYPES[dtype].width > 1:
            dtype += ":be"
        return name, dtype, extents[::-1], self._number("Q")

    # --- bytes ---------------------------------------------------------------------------------------------
    def _count(self, most: int, what: str) -> int:
        count = self._number(self._length)
        if count > most:
            raise NotThisFormat(f"{count} {what}, more than {most}")
        return count

    def _name(self) -> str:
        length = self._number(self._length)
        if length > _MAX_NAME_BYTES:
            raise NotThisFormat(f"a name of {length} bytes, more than {_MAX_NAME_BYTES}")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise NotThisFormat("a name is not UTF-8") from None

    def _text(self, *, keep: bool) -> str | None:
        """A text; None where it is too long to keep, or no text."""
        length = self._number(self._length)
        if not keep or length > MAX_VALUE_CHARACTERS:
            self._pass(length)
            return None
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            return None

    def _scalar(self, kind: int) -> str:
        code = _SCALARS.get(kind)
        if code is None:
            raise NotThisFormat(f"a value of unknown type {kind}")
        return code

    def _number(self, code: str) -> int:
        number: int = self._unpack(code)
        return number

    def _unpack(self, code: str) -> Any:
        form = f"{self._order}{code}"
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, length: int) -> bytes:
        start = self._position
        self._pass(length)
        return self._window.take(start, length)

    def _pass(self, length: int) -> None:
        self._position += length
        if self._position > self._window.size:
            raise NotThisFormat("truncated: the header leaves the file")
        if self._position > MAX_HEADER_BYTES:
            raise NotThisFormat(f"a header of more than {MAX_HEADER_BYTES >> 20} MiB")
