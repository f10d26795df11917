"""The header of numpy's npy format, which ``.npy`` files and the members of ``.npz`` share.

Specification: the docstring of ``numpy.lib.format``, versions 1.0, 2.0 and 3.0. The header is a Python
literal; it is matched against the few forms that a plain array takes and never given to a Python parser,
which can be made to exhaust the stack and prints warnings of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mvc.dtypes import DTYPES
from mvc.formats.base import NotThisFormat, View
from mvc.spans import MAX_RANK, Span, element_count, row_major_strides, shown

MAX_HEADER_BYTES = 1 << 16

MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}

_TYPES = {
    f"{kind}{width}": f"{letter}{8 * width}"
    for kind, letter in (("i", "I"), ("u", "U"))
    for width in (1, 2, 4, 8)
} | {"f2": "F16", "f4": "F32", "f8": "F64", "c8": "C64", "c16": "C128", "b1": "BOOL"}
_UNSUPPORTED = {
    "O": "Python objects (a pickle)",
    "S": "byte strings",
    "a": "byte strings",
    "U": "text",
    "V": "raw bytes of an unknown type (what numpy writes for bfloat16 and other foreign types)",
    "M": "dates",
    "m": "time spans",
}

_ENTRY = re.compile(
    rb"""\s*(?P<quote>['"])(?P<key>\w{1,20})(?P=quote)\s*:\s*
    (?: '(?P<single>[^'\\\n]*)' | "(?P<double>[^"\\\n]*)"
      | (?P<flag>True|False)
      | \((?P<tuple>[0-9L,\s]*)\)
      | (?P<list>\[) )
    \s*(?P<comma>,?)""",
    re.VERBOSE,
)
_EXTENT = re.compile(rb"\s*(0|[1-9][0-9]{0,18})L?\s*")  # Python 2 wrote long integers as 3L


@dataclass(frozen=True, slots=True)
class Header:
    """What stands in front of an array: ``start`` is where its data does, ``descr`` its dtype as numpy spells
    it."""

    start: int
    descr: str
    fortran: bool
    shape: tuple[int, ...]

    @property
    def holds_objects(self) -> bool:
        """Whether the data is a pickle."""
        return self.descr[:1] in ("|", "<", ">") and self.descr[1:2] == "O"


def read_header(view: View) -> Header:
    """The header of an npy file.

    Raises:
        NotThisFormat: no such file, a structured dtype, or a header of more than :data:`MAX_HEADER_BYTES`.
    """
    start, text = _read_text(view)
    return Header(start, *_parse(text))


def read_array(view: View, name: str) -> Span:
    """The one array of an npy file, which it must fill to its end.

    Raises:
        NotThisFormat: as :func:`read_header`, or of another dtype or length.
    """
    header = read_header(view)
    dtype = _dtype(header.descr)
    length = element_count(header.shape) * DTYPES[dtype].width
    end = header.start + length
    if end > view.size:
        raise NotThisFormat("truncated: the shape needs more data")
    if end < view.size:
        raise NotThisFormat(f"{view.size - end} bytes behind the array")
    strides = fortran_strides(header.shape) if header.fortran else None
    return Span(header.start, length, name, dtype, header.shape, strides)


def type_name(order: str, code: str) -> str | None:
    """Our name of a numpy type such as ``<`` and ``f4``; None if there is none for it."""
    name = _TYPES.get(code)
    if name is None or order not in ("<", ">", "|") or (order == "|" and DTYPES[name].width > 1):
        return None
    return f"{name}:be" if order == ">" and DTYPES[name].width > 1 else name


def _read_text(view: View) -> tuple[int, bytes]:
    """Where the data starts, and the header's text."""
    fixed = len(MAGIC) + 2
    if view.size < fixed:
        raise NotThisFormat("truncated: no magic")
    magic = view.read(0, fixed)
    if not magic.startswith(MAGIC):
        raise NotThisFormat("the magic bytes are missing")
    width = _LENGTH_BYTES.get((magic[-2], magic[-1]))
    if width is None:
        raise NotThisFormat(f"unknown version {magic[-2]}.{magic[-1]}")
    if view.size < fixed + width:
        raise NotThisFormat("truncated: no header length")
    length = int.from_bytes(view.read(fixed, width), "little")
    start = fixed + width + length
    if length > MAX_HEADER_BYTES:
        raise NotThisFormat(f"a header of {length} bytes, more than {MAX_HEADER_BYTES}")
    if start > view.size:
        raise NotThisFormat("truncated: the header leaves the file")
    return start, view.read(fixed + width, length)


def _parse(header: bytes) -> tuple[str, bool, tuple[int, ...]]:
    """Read ``{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }``: its values, in that order."""
    text = header.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise NotThisFormat("the header is not a dictionary")
    end = len(text) - 1
    position = 1
    fields: dict[bytes, re.Match[bytes]] = {}
    while match := _ENTRY.match(text, position, end):
        if match["list"] is not None:
            raise NotThisFormat("a structured dtype")
        if match["key"] in fields:
            raise NotThisFormat(f"the key {shown(match['key'].decode())} occurs twice")
        fields[match["key"]] = match
        position = match.end()
        if not match["comma"]:
            break
    if text[position:end].strip():
        raise NotThisFormat("the header is malformed")
    if fields.keys() != {b"descr", b"fortran_order", b"shape"}:
        raise NotThisFormat("the header has not the keys descr, fortran_order and shape")
    descr = fields[b"descr"]["single"] if fields[b"descr"]["double"] is None else fields[b"descr"]["double"]
    flag = fields[b"fortran_order"]["flag"]
    extents = fields[b"shape"]["tuple"]
    if descr is None or flag is None or extents is None:
        raise NotThisFormat("the header is malformed")
    return descr.decode("latin-1"), flag == b"True", _shape(extents)


def _shape(inner: bytes) -> tuple[int, ...]:
    """What stands between the parentheses of a tuple of counts."""
    if not inner.strip():
        return ()
    items = inner.split(b",")
    if len(items) > 1 and not items[-1].strip():
        items.pop()
    elif len(items) == 1:
        raise NotThisFormat("the shape is no tuple")  # (3) is a number in Python, (3,) a tuple
    if len(items) > MAX_RANK:  # before anything is multiplied
        raise NotThisFormat(f"{len(items)} dimensions, more than {MAX_RANK}")
    matches = [_EXTENT.fullmatch(item) for item in items]
    extents = tuple(int(match[1]) for match in matches if match)
    if len(extents) != len(items):
        raise NotThisFormat("the shape is no tuple of counts")
    return extents


def _dtype(descr: str) -> str:
    """Our name of a numpy type string such as ``<f4``."""
    order, code = descr[:1], descr[1:]
    if order not in ("<", ">", "|") or not code:
        raise NotThisFormat(f"an unknown dtype {shown(descr)}")
    if code[0] in _UNSUPPORTED:
        raise NotThisFormat(f"the dtype {shown(descr)}: {_UNSUPPORTED[code[0]]}")
    name = type_name(order, code)
    if name is None:
        raise NotThisFormat(f"an unknown dtype {shown(descr)}")
    return name


def fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of a column-major array; None where row-major order is the same."""
    if 0 in shape or sum(extent > 1 for extent in shape) < 2:
        return None
    return row_major_strides(shape[::-1])[::-1]
