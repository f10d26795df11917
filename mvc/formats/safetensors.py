"""safetensors: eight bytes of header length, a JSON header, then the tensors end to end.

Specification: the *Format* section of https://github.com/huggingface/safetensors, whose rules are kept
strictly. The byte buffer is covered without holes or overlaps, duplicate keys are refused (the reference
library lets them pass), and so is whatever the library refuses. Tensor names are free text and never used as
paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from mvc.dtypes import DTYPES
from mvc.errors import UserError
from mvc.formats.base import MAX_VALUE_CHARACTERS, NotThisFormat, Sibling, Value, View, limited
from mvc.formats.wire.views import spend
from mvc.spans import MAX_RANK, Layout, Span, element_count, shown

MAX_HEADER_BYTES = 25_000_000
"""A quarter of the reference library's limit: one wide character makes text take four times the memory."""

MAX_HEADER_VALUES = 1_000_000
"""Bounds what parsing may allocate: tens of bytes for each comma or bracket. A tensor takes about nine."""

MAX_LOOSE_VALUES = 200_000
"""Values beyond those that describe tensors, of which each has a brace and hardly 20: a header of a million
keys that describe none would take more than a second to parse."""

_VALUES_PER_TENSOR = 20
_MAX_DIGITS = 19  # what a 64-bit file offset may need; longer ones cost quadratic time to convert
_VALUE_WORK = 40  # of a value, against reading a byte
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_TENSOR_KEYS = {"dtype", "shape", "data_offsets"}
_DTYPES = frozenset(
    {
        "BOOL",
        "F4",
        "F6_E2M3",
        "F6_E3M2",
        "U8",
        "I8",
        "F8_E4M3",
        "F8_E5M2",
        "F8_E8M0",
        "F8_E4M3FNUZ",
        "F8_E5M2FNUZ",
        "U16",
        "I16",
        "F16",
        "BF16",
    }
    | {"U32", "I32", "F32", "U64", "I64", "F64", "C64"}
)


@dataclass(frozen=True, slots=True)
class Safetensors:
    """Scanner of ``.safetensors`` files."""

    name: str = "safetensors"

    def claims(self, name: str, head: bytes) -> bool:
        """By the file name, or by a small header length followed by a brace (the Hub's cache drops names)."""
        if name.lower().endswith(".safetensors"):
            return True
        length = int.from_bytes(head[:_LENGTH_BYTES], "little")
        return head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{" and length <= MAX_HEADER_BYTES

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """One span per tensor of the header."""
        start, header = _read_header(view)
        spans = [_span(name, entry, start) for name, entry in header.items() if name != _METADATA]
        _check_metadata(header.get(_METADATA))
        _check_coverage(spans, start, view.size)
        return {view.name: Layout(self.name, tuple(spans))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """The texts of ``__metadata__``."""
        metadata = _read_header(view)[1].get(_METADATA)
        _check_metadata(metadata)
        return limited(
            (key, text) for key, text in (metadata or {}).items() if len(text) <= MAX_VALUE_CHARACTERS
        )


def _read_header(view: View) -> tuple[int, dict[str, Any]]:
    """Where the byte buffer starts, and the parsed header."""
    raw = read_header(view)
    return _LENGTH_BYTES + len(raw), _parse(raw)


def read_header(view: View) -> bytes:
    """The JSON text of a header: of a length and a number of values that may be parsed.

    Raises:
        NotThisFormat: it is longer than the file, or than any header may be.
    """
    if view.size < _LENGTH_BYTES:
        raise NotThisFormat("truncated: no header length")
    length = int.from_bytes(view.read(0, _LENGTH_BYTES), "little")
    start = _LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES:
        raise NotThisFormat(f"a header of {length} bytes, more than {MAX_HEADER_BYTES}")
    if start > view.size:
        raise NotThisFormat("truncated: the header leaves the file")
    raw = view.read(_LENGTH_BYTES, length)
    if not raw.startswith(b"{"):
        raise NotThisFormat("the header does not start with a brace")
    values = _values(raw)
    if values > MAX_HEADER_VALUES:
        raise NotThisFormat(f"a header of more than {MAX_HEADER_VALUES} values")
    if values > MAX_LOOSE_VALUES + _VALUES_PER_TENSOR * raw.count(b"{"):
        raise NotThisFormat(f"a header of more than {MAX_LOOSE_VALUES} values that describe no tensor")
    spend(view, values * _VALUE_WORK)
    return raw


def _parse(raw: bytes) -> dict[str, Any]:
    """Parse header bytes that start with a brace, under the budgets already checked."""
    try:
        header: dict[str, Any] = json.loads(
            raw.decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except UnicodeDecodeError:
        raise NotThisFormat("the header is not UTF-8") from None
    except json.JSONDecodeError:  # its message differs between Python versions, and the reason is stored
        raise NotThisFormat("the header is not JSON") from None
    except RecursionError:
        raise NotThisFormat("the header is nested too deeply") from None
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotThisFormat(f"the key {shown(twice)} occurs twice")
    return result


def _integer(text: str) -> int:
    # "-0" would pass as 0; no number of a header is negative.
    if text.startswith("-") or len(text) > _MAX_DIGITS:
        _refuse_number(text)
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise NotThisFormat(f"the header holds the number {shown(text)}")


def _span(name: str, entry: Any, start: int) -> Span:
    """One tensor's entry; what the span itself shows (length, place, name) is checked where it is tiled."""
    if not isinstance(entry, dict) or entry.keys() != _TENSOR_KEYS:
        raise NotThisFormat(f"tensor {shown(name)} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise NotThisFormat(f"tensor {shown(name)} has a dtype that is not text")
    if dtype not in _DTYPES:
        raise NotThisFormat(f"tensor {shown(name)} has an unknown dtype {shown(dtype)}")
    if not _are_counts(shape):
        raise NotThisFormat(f"tensor {shown(name)} has a shape that is no list of counts")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise NotThisFormat(f"tensor {shown(name)} has data_offsets that are no [begin, end]")
    packed = DTYPES[dtype].elements
    if packed > 1 and len(shape) <= MAX_RANK and element_count(shape) % packed:
        raise NotThisFormat(f"tensor {shown(name)} does not end at a byte")
    return Span(start + offsets[0], offsets[1] - offsets[0], name, dtype, tuple(shape))


def _are_counts(value: Any) -> bool:
    # type() and not isinstance(): true and false are no counts. Negative numbers did not get past the parser.
    return isinstance(value, list) and all(type(item) is int for item in value)


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise NotThisFormat(f"{_METADATA} is not a map of text to text")
    _check_unicode(metadata.keys())
    _check_unicode(metadata.values())


def _check_unicode(texts: Iterable[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate, spelt as an escape
            raise NotThisFormat(f"{_METADATA} holds text that is not valid Unicode") from None


def _check_coverage(spans: list[Span], start: int, size: int) -> None:
    """The tensors cover the byte buffer exactly, as the specification demands."""
    position = start
    for span in sorted(spans, key=lambda s: (s.offset, s.length)):
        if span.offset < position:
            raise NotThisFormat(f"tensor {shown(span.name)} overlaps another")
        if span.offset > position:
            raise NotThisFormat(f"a hole of {span.offset - position} bytes before tensor {shown(span.name)}")
        position = span.offset + span.length
    if position > size:
        raise NotThisFormat(f"truncated: the tensors need {position - size} bytes more")
    if position < size:
        raise NotThisFormat(f"{size - position} bytes behind the last tensor")


def read_metadata(view: View) -> dict[str, str] | None:
    """All of ``__metadata__``; None where a file has none.

    Raises:
        NotThisFormat: the header is malformed.
    """
    metadata = _read_header(view)[1].get(_METADATA)
    _check_metadata(metadata)
    return None if metadata is None else dict(metadata)


# --- a header for what has no file yet ---------------------------------------------------------------------
_RANKED = (
    *("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    *("I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"),
)
"""Dtypes as the reference library ranks them, by width: in its files the last come first, which keeps every
tensor aligned to its elements."""


class Described(NamedTuple):
    """A tensor that is to be written: dtype as in files, shape in elements."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def emit_header(
    tensors: Iterable[Described], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, list[Described]]:
    """The bytes of a safetensors file up to its first tensor, and the tensors in the order of their data.

    The bytes are those that the reference library writes: wider dtypes first, then by name, the header padded
    with spaces to a multiple of eight; ``metadata``, where given, in front. Tensors follow each other without
    gaps, row-major and little-endian.

    Raises:
        UserError: two tensors of one name, a name or dtype that the format cannot hold, or more tensors than
            a header may name.
    """
    ranks = {dtype: rank for rank, dtype in enumerate(_RANKED)}
    listed = list(tensors)
    for tensor in listed:
        _check_emitted(tensor, ranks)
    ordered = sorted(listed, key=lambda tensor: (-ranks[tensor.dtype], tensor.name))
    header: dict[str, Any] = {} if metadata is None else {_METADATA: dict(metadata)}
    offset = 0
    for name, dtype, shape in ordered:
        if name in header:
            raise UserError(f"two tensors are called {shown(name)}", hint="give one of them another name")
        end = offset + element_count(shape) * DTYPES[dtype].width
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES or _values(text) > MAX_HEADER_VALUES:
        raise UserError(
            f"{len(ordered):,} tensors are more than one safetensors file may name",
            hint="commit them under several keys",
        )
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text, ordered


def _check_emitted(tensor: Described, ranks: Mapping[str, int]) -> None:
    if tensor.dtype not in ranks:
        raise UserError(f"tensor {shown(tensor.name)}: safetensors files cannot hold {tensor.dtype}")
    if tensor.name == _METADATA:
        raise UserError(f"no tensor can be called {_METADATA}", hint="safetensors files use that name")
    try:
        tensor.name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the tensor name {shown(tensor.name)} is not valid Unicode") from None


def _values(raw: bytes) -> int:
    """At least so many values does JSON text hold."""
    return sum(map(raw.count, (b",", b"[", b"{")))
