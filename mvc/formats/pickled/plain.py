"""Plain values among the inert ones: numbers, texts, and small objects that are such in other clothes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from mvc.formats.base import MAX_VALUE_CHARACTERS, Value
from mvc.formats.pickled.arrays import SCALAR, scalar_of
from mvc.formats.wire.inert import Bytes, Call, Global, path_of, text_of

_LIMIT = 1 << 63
_PATHS = ("pathlib.", "pathlib._local.")
_DEVICE = "torch.device"


class NotPlain:
    """What is found for a value that is no plain one."""


NOT_PLAIN: Final = NotPlain()


def plain(value: object) -> Value | NotPlain:
    """The plain value that an inert one is.

    A global is its path, a device or a file's path its text, a date its ISO form, a number of numpy a number;
    an object that is nothing but one plain value (of an enumeration, say) is that value.
    """
    if type(value) is Call:
        return _of_call(value)
    if type(value) is Global:
        return value.path
    return _simple(value)


def _simple(value: object) -> Value | NotPlain:
    if value is None or type(value) in (bool, float):
        return value  # type: ignore[return-value]
    if type(value) is int:
        return value if -_LIMIT <= value < 2 * _LIMIT else NOT_PLAIN
    text = text_of(value)
    if text is None or len(text) > MAX_VALUE_CHARACTERS:
        return NOT_PLAIN
    return valid(text)


def valid(text: str) -> str:
    """A text with lone surrogates spelt out: what is stored must be valid Unicode."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _of_call(call: Call) -> Value | NotPlain:
    path, args = path_of(call.function), call.args
    if path in SCALAR:
        number = scalar_of(call)
        return NOT_PLAIN if number is None else number
    if not isinstance(args, tuple) or not args or call.state is not None or call.items or call.pairs:
        return NOT_PLAIN
    if path in ("datetime.datetime", "datetime.date"):
        return _date(path, args[0])
    if path == _DEVICE or path.startswith(_PATHS):
        parts = [text if (text := text_of(arg)) is not None else str(arg) for arg in args if _is_short(arg)]
        joined = (":" if path == _DEVICE else "/").join(parts)
        return valid(joined.replace("//", "/")) if len(joined) <= MAX_VALUE_CHARACTERS else NOT_PLAIN
    return _simple(args[0]) if len(args) == 1 else NOT_PLAIN


def _is_short(value: object) -> bool:
    return type(value) is int or text_of(value) is not None


def _date(path: str, data: object) -> Value | NotPlain:
    """The state of a date: year, month, day, and of a time too: hour, minute, second, microsecond."""
    if not isinstance(data, Bytes) or data.data is None or len(data.data) not in (4, 10):
        return NOT_PLAIN
    year, month, day = int.from_bytes(data.data[:2], "big"), data.data[2] & 0x7F, data.data[3]
    try:
        if path == "datetime.date":
            return date(year, month, day).isoformat()
        hour, minute, second = data.data[4:7]
        return datetime(
            year, month, day, hour, minute, second, int.from_bytes(data.data[7:], "big")
        ).isoformat()
    except ValueError:  # no such day
        return NOT_PLAIN
