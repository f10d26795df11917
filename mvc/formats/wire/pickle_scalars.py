"""Opcodes of a pickle that push a number, a text or bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from mvc.formats.base import NotThisFormat
from mvc.formats.wire.inert import Bytes, Unread
from mvc.formats.wire.pickle_machine import MAX_KEPT_BYTES, Machine

MAX_TEXT_BYTES = 1 << 16
"""A longer text is passed over."""

_MAX_FLOAT = 100  # characters
_MAX_DIGITS = 20  # of a number written in decimal: longer ones cost quadratic time, and are of no use

Operation = Callable[[Machine], None]
"""What an opcode does."""


def constant(value: object) -> Operation:
    """Push a value that is the same each time."""
    return lambda machine: machine.push(value)


def integer(length: int, signed: bool = False) -> Operation:
    """An integer of so many bytes."""

    def operation(machine: Machine) -> None:
        machine.push(int.from_bytes(machine.reader.take(length), "little", signed=signed))

    return operation


def decimal(line: bytes) -> object:
    """A number written in decimal; passed over if it is longer than any of use."""
    text = line.removesuffix(b"L")
    if len(text) > _MAX_DIGITS:
        return Unread("number")
    if not re.fullmatch(rb"\s*[+-]?[0-9]+\s*", text):
        raise NotThisFormat("the pickle holds a malformed number")
    return int(text)


def int_line(machine: Machine) -> None:
    """A decimal number on a line; ``00`` and ``01`` are false and true."""
    line = machine.reader.line()
    machine.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else decimal(line))


def long_line(machine: Machine) -> None:
    """A decimal number on a line, which may end in ``L``."""
    machine.push(decimal(machine.reader.line()))


def long1(machine: Machine) -> None:
    """An integer of up to 255 bytes."""
    length = machine.reader.byte()
    machine.charge(2 * length)
    machine.push(int.from_bytes(machine.reader.take(length), "little", signed=True))


def long4(machine: Machine) -> None:
    """An integer of any number of bytes, which is passed over."""
    machine.reader.skip(machine.reader.number(4))
    machine.push(Unread("number"))


def float_line(machine: Machine) -> None:
    """A number with a fraction, in decimal, on a line."""
    line = machine.reader.line()
    try:
        machine.push(float(line) if len(line) <= _MAX_FLOAT else Unread("number"))
    except ValueError:
        raise NotThisFormat("the pickle holds a malformed number") from None


def binfloat(machine: Machine) -> None:
    """A number with a fraction, in eight bytes."""
    machine.push(struct.unpack(">d", machine.reader.take(8))[0])


def text(width: int) -> Operation:
    """A text of UTF-8 behind its length in so many bytes."""

    def operation(machine: Machine) -> None:
        length = machine.reader.number(width)
        if length > MAX_TEXT_BYTES:
            machine.reader.skip(length)
            machine.push(Unread("text"))
            return
        machine.charge(4 * length)
        try:
            machine.push(machine.reader.take(length).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise NotThisFormat("the pickle holds a text that is not UTF-8") from None

    return operation


def text_line(machine: Machine) -> None:
    """A text on a line, with escapes."""
    line = machine.reader.line()
    machine.charge(4 * len(line))
    try:
        machine.push(line.decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        raise NotThisFormat("the pickle holds a malformed text") from None


def byte_string(width: int, is_text: bool = False) -> Operation:
    """Bytes behind their length in so many bytes."""

    def operation(machine: Machine) -> None:
        reader = machine.reader
        length = reader.number(width)
        offset = reader.position
        if length > MAX_KEPT_BYTES:
            reader.skip(length)
            machine.push(Bytes(offset, length, None, is_text))
        else:
            machine.charge(length)
            machine.push(Bytes(offset, length, reader.take(length), is_text))

    return operation


_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([\\'\"abfnrtv]))")
_ESCAPES = dict(zip(b"\\'\"abfnrtv", b"\\'\"\a\b\f\n\r\t\v", strict=True))


def string_line(machine: Machine) -> None:
    """A string of Python 2 in quotes, with escapes: text, or bytes that do not stand in the file as such."""
    line = machine.reader.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise NotThisFormat("the pickle holds a malformed text")
    machine.charge(4 * len(line))
    data = _ESCAPE.sub(lambda m: bytes([int(m[1], 16) if m[1] else _ESCAPES[m[2][0]]]), line[1:-1])
    machine.push(Bytes(None, len(data), data if len(data) <= MAX_KEPT_BYTES else None, is_text=True))
