"""Protocol Buffers' wire format: the fields of a message, and where in the file each one's bytes lie.

Specification: https://protobuf.dev/programming-guides/encoding. Nothing is known of any schema. Groups, which
no format of today uses, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.formats.base import NotThisFormat, View
from mvc.formats.wire.window import Window

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; :data:`BYTES` is what carries a length: texts, messages, packed numbers."""

MAX_FIELDS = 4_000_000
"""Fields of one file, each costs a few microseconds."""

_FIXED = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10
_UINT64 = 1 << 64


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
        self._left = max_fields
        self.size = view.size

    def fields(self, start: int, length: int) -> Iterator[Field]:
        """The fields of the message in ``length`` bytes from ``start``, in the order of the file.

        Raises:
            NotThisFormat: the bytes are no message, or the budget is spent.
        """
        position, end = start, start + length
        while position < end:
            tag, position = self._varint(position, end)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, position = self._varint(position, end)
                yield Field(self._checked(number), kind, value, 0)
                continue
            if kind == BYTES:
                size, position = self._varint(position, end)
            elif kind in _FIXED:
                size = _FIXED[kind]
            else:
                raise NotThisFormat(f"a field of the wire type {kind}")
            if size > end - position:
                raise NotThisFormat("a field leaves its message")
            yield Field(self._checked(number), kind, position, size)
            position += size

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
        found = []
        position, end = field.value, field.value + field.length
        while position < end:
            number, position = self._varint(position, end)
            found.append(_signed(number))
        return found

    def _checked(self, number: int) -> int:
        self._left -= 1
        if self._left < 0:
            raise NotThisFormat("more fields than are read of one file")
        if number == 0:
            raise NotThisFormat("a field of number 0")
        return number

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """A number, and where the next byte is."""
        raw = self._window.take(position, min(_MAX_VARINT_BYTES, end - position))
        value = shift = 0
        for used, byte in enumerate(raw, 1):
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= _UINT64:
                    break
                return value, position + used
            shift += 7
        raise NotThisFormat("a number that does not end")


def _signed(number: int) -> int:
    return number - _UINT64 if number >= _UINT64 >> 1 else number
