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
_MAX_JOINED = 1 << 12  # characters of a path


class NotPlain:
    """What is found for a value that is no plain one."""


NOT_PLAIN: Final = NotPlain()


def plain(value: object, most: int = MAX_VALUE_CHARACTERS) -> Value | NotPlain:
    """The plain value that an inert one is; a text has at most ``most`` characters.

    A global is its path, a device or a file's path its text, a date its ISO form, a number of numpy a number;
    an object that is nothing but one plain value (of an enumeration, say) is that value.
    """
    if type(value) is Call:
        return _of_call(value, most)
    if type(value) is Global:
        return value.path
    return _simple(value, most)


def _simple(value: object, most: int) -> Value | NotPlain:
    if value is None or type(value) in (bool, float):
        return value  # type: ignore[return-value]
    if type(value) is int:
        return value if -_LIMIT <= value < 2 * _LIMIT else NOT_PLAIN
    text = text_of(value)
    if text is None or len(text) > most:
        return NOT_PLAIN
    return valid(text)


def valid(text: str) -> str:
    """A text with lone surrogates spelt out: what is stored must be valid Unicode."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _of_call(call: Call, most: int) -> Value | NotPlain:
    path, args = path_of(call.function), call.args
    if path in SCALAR:
        number = scalar_of(call)
        return NOT_PLAIN if number is None else number
    if not isinstance(args, tuple) or not args or call.state is not None or call.items or call.pairs:
        return NOT_PLAIN
    if path in ("datetime.datetime", "datetime.date"):
        return _date(path, args[0])
    if path == _DEVICE or path.startswith(_PATHS):
        return _joined(":" if path == _DEVICE else "/", args, most)
    return _simple(args[0], most) if len(args) == 1 else NOT_PLAIN


def _joined(separator: str, args: tuple[object, ...], most: int) -> Value | NotPlain:
    """Texts and numbers, one behind the other. The arguments may be one long text many times over, so they
    are counted before they are joined."""
    parts: list[str] = []
    left = min(most, _MAX_JOINED)
    for arg in args:
        text = str(arg) if type(arg) is int else text_of(arg)
        if text is not None:
            left -= len(text) + 1
            if left < 0:
                return NOT_PLAIN
            parts.append(text)
    return valid(separator.join(parts).replace("//", "/"))


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
