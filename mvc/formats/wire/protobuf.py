"""Protocol Buffers' wire format: the fields of a message, and where in the file each one's bytes lie.

Specification: https://protobuf.dev/programming-guides/encoding. Nothing is known of any schema. Groups, which
no format of today uses, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.views import spend
from mvc.formats.wire.window import Window

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; :data:`BYTES` is what carries a length: texts, messages, packed numbers."""

MAX_FIELDS = 700_000
"""Fields of one file; each costs about two microseconds, and 120 bytes where they are kept."""

_FIXED = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MAX_HEAD_BYTES = 2 * _MAX_VARINT_BYTES
_IN_HAND = 2048  # bytes of a message that are taken at once: most messages, and a few fields of long ones
_UINT64 = 1 << 64
_FIELD_WORK = 64  # of a field, against reading a byte
_SPENT_AT_ONCE = 1 << 10  # fields


class Field(NamedTuple):
    """A field of a message: its number, its wire type, and its content.

    ``value`` is a varint's number; of any other type it is where in the file the ``length`` bytes lie.
    """

    number: int
    kind: int
    value: int
    length: int


class Wire:
    """A file of messages. One budget of fields holds for all that is read of it."""

    def __init__(self, view: View, max_fields: int = MAX_FIELDS) -> None:
        self._window = Window(view)
        self._view = view
        self._left = max_fields
        self.size = view.size

    def fields(self, start: int, length: int) -> Iterator[Field]:
        """The fields of the message in ``length`` bytes from ``start``, in the order of the file.

        Raises:
            NotThisFormat: the bytes are no message, or the budget is spent.
        """
        base, at, end = start, 0, start + length  # base: where in the file the bytes in hand begin
        raw = b""
        while base + at < end:
            if len(raw) - at < _MAX_HEAD_BYTES and base + len(raw) < end:
                base, at = base + at, 0
                raw = self._window.take(base, min(_IN_HAND, end - base))
            self._left -= 1
            if self._left < 0:
                raise NotThisFormat("more fields than are read of one file")
            if self._left % _SPENT_AT_ONCE == 0:
                spend(self._view, _SPENT_AT_ONCE * _FIELD_WORK)
            tag, at = (raw[at], at + 1) if raw[at] < 0x80 else _varint(raw, at)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise NotThisFormat("a field of number 0")
            if kind == VARINT:
                value, at = _varint(raw, at)
                yield Field(number, kind, value, 0)
                continue
            if kind == BYTES:
                size, at = _varint(raw, at)
            elif kind in _FIXED:
                size = _FIXED[kind]
            else:
                raise NotThisFormat(f"a field of the wire type {kind}")
            if size > end - base - at:
                raise NotThisFormat("a field leaves its message")
            yield Field(number, kind, base + at, size)
            at += size
            if at > len(raw):
                base, at, raw = base + at, 0, b""

    def message(self, field: Field) -> Iterator[Field]:
        """The fields of the message that a field holds.

        Raises:
            NotThisFormat: as for :meth:`fields`; or the field holds a number.
        """
        self.expect(field, BYTES)
        return self.fields(field.value, field.length)

    def expect(self, field: Field, kind: int) -> None:
        """Refuse a field that is not of the wire type its schema gives it."""
        if field.kind != kind:
            raise NotThisFormat(f"field {field.number} has the wire type {field.kind} where {kind} belongs")

    def raw(self, field: Field, most: int) -> bytes:
        """A field's bytes.

        Raises:
            NotThisFormat: more than ``most``, or the field holds a number.
        """
        self.expect(field, BYTES)
        if field.length > most:
            raise NotThisFormat(f"a text of {field.length} bytes, more than {most}")
        return self._window.take(field.value, field.length)

    def text(self, field: Field, most: int) -> str:
        """A field's text.

        Raises:
            NotThisFormat: as for :meth:`raw`; or it is not UTF-8.
        """
        try:
            return self.raw(field, most).decode()
        except UnicodeDecodeError:
            raise NotThisFormat("a text is not UTF-8") from None

    def integers(self, field: Field, most: int) -> list[int]:
        """The numbers of a repeated varint field, one by itself or many packed, as signed 64-bit integers.

        Raises:
            NotThisFormat: more than ``most``, or the field is of another type.
        """
        if field.kind == VARINT:
            return [_signed(field.value)]
        self.expect(field, BYTES)
        if field.length > most * _MAX_VARINT_BYTES:
            raise NotThisFormat(f"more than {most} numbers")
        raw = self._window.take(field.value, field.length)
        found = []
        position = 0
        while position < len(raw):
            number, position = _varint(raw, position)
            found.append(_signed(number))
        return found


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    """A number, and where the next byte is."""
    if position < len(raw) and raw[position] < 0x80:
        return raw[position], position + 1
    value = shift = 0
    for place in range(position, min(position + _MAX_VARINT_BYTES, len(raw))):
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= _UINT64:
                break
            return value, place + 1
        shift += 7
    raise NotThisFormat("a number that does not end")


def _signed(number: int) -> int:
    return number - _UINT64 if number >= _UINT64 >> 1 else number
