"""One note, and the JSON file that holds all notes of a version (docs/format.md, *Notes*).

A note never changes: it is added or taken away. So two such files are merged key by key, with no conflict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from blake3 import blake3

from mvc.errors import CorruptObject, UnsupportedFeature, UsageError, UserError
from mvc.objects import Number, Person, Scalar, Timestamp

MAX_BYTES = 1 << 20
"""Bytes of all notes of one version."""

ID_DIGITS = 16
_KEYS = ("author", "message", "metrics", "params", "time")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MOST = 1 << 63


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody added to a version: measured ``metrics``, ``params`` of the measurement, a ``message``.

    ``extra`` keeps what a newer mvc wrote, verbatim.
    """

    author: Person
    time: Timestamp
    metrics: Mapping[str, Number] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)
    message: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """16 hexadecimal digits: the note's hash, so that one note is one wherever it was fetched from.

        Raises:
            UsageError: a text in it is not valid Unicode.
        """
        return blake3(_utf8(_text(self.to_value()))).hexdigest()[:ID_DIGITS]

    def to_value(self) -> dict[str, Any]:
        """The JSON object; what is empty is left out."""
        value: dict[str, Any] = {**self.extra, "author": list(self.author), "time": list(self.time)}
        if self.metrics:
            value["metrics"] = {name: _plain(number) for name, number in self.metrics.items()}
        if self.params:
            # as a pair where JSON has no such number: a text may say NaN too
            value["params"] = {
                name: [_plain(item)] if _is_odd(item) else item for name, item in self.params.items()
            }
        if self.message:
            value["message"] = self.message
        return value

    @classmethod
    def from_value(cls, value: Any) -> Self:
        """Parse a note's JSON object.

        Raises:
            CorruptObject: it has not the form that docs/format.md gives.
            UnsupportedFeature: a newer mvc requires something of its readers.
        """
        known = _map(value, "a note")
        for key in known:
            if key.startswith("!"):
                raise UnsupportedFeature(f"a note needs the feature {key[1:]!r}", hint="upgrade mvc")
        author, time = known.get("author"), known.get("time")
        if not isinstance(author, list) or list(map(type, author)) != [str, str]:
            _damaged("its author is not [name, email]")
        if not isinstance(time, list) or list(map(type, time)) != [int, int]:
            _damaged("its time is not [microseconds, offset]")
        if abs(time[0]) >= 1 << 62 or abs(time[1]) > 24 * 60:
            _damaged("its time is out of range")
        message = known.get("message", "")
        if type(message) is not str:
            _damaged("its message is not text")
        return cls(
            author=Person(*author),
            time=Timestamp(*time),
            metrics={name: _number(item) for name, item in _map(known.get("metrics", {}), "metrics").items()},
            params={name: _scalar(item) for name, item in _map(known.get("params", {}), "params").items()},
            message=message,
            extra={key: item for key, item in known.items() if key not in _KEYS},
        )


# --- a version's file of notes -----------------------------------------------------------------------------
def encode(notes: Iterable[Note]) -> bytes:
    """The file that holds a version's notes, by their ids.

    Raises:
        UserError: they are too many, or too long.
        UsageError: a text that is not valid Unicode.
    """
    data = _utf8(_file_text({note.id: note.to_value() for note in notes}))
    if len(data) > MAX_BYTES:
        raise UserError(
            f"a version's notes may take {MAX_BYTES >> 20} MiB, not more", hint="mvc notes remove REV NOTE"
        )
    return data


def decode(data: bytes) -> dict[str, Note]:
    """The notes in a file, by their ids.

    Raises:
        CorruptObject: anything but what :func:`encode` gives.
        UnsupportedFeature: a newer mvc requires something of its readers.
    """
    if len(data) > MAX_BYTES:
        _damaged(f"a file of notes has more than {MAX_BYTES >> 20} MiB")
    try:
        value = json.loads(data.decode(), parse_constant=_damaged)
    except (ValueError, RecursionError) as error:
        _damaged(str(error))
    notes = {key: Note.from_value(item) for key, item in _map(value, "a file of notes").items()}
    # As for every object: one value has one encoding. Duplicate keys and false ids do not survive this.
    try:
        canonical = encode(notes.values()) == data
    except (UsageError, UserError, ValueError, RecursionError):
        canonical = False  # it holds what has no form
    if not canonical:
        _damaged("a file of notes is not in its canonical form")
    return notes


def merge(base: Mapping[str, Note], ours: Mapping[str, Note], theirs: Mapping[str, Note]) -> dict[str, Note]:
    """The notes of a version after both sides added and removed some: what one side removed is gone, what
    one added is there."""
    known = {**ours, **theirs}
    return {key: note for key, note in known.items() if (key in ours and key in theirs) or key not in base}


# --- JSON --------------------------------------------------------------------------------------------------
def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _file_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"text that is not valid Unicode cannot be stored: {error.object!a}") from None


def _is_odd(value: Any) -> bool:
    """Whether JSON has no form for a value."""
    return isinstance(value, float) and not math.isfinite(value)


def _plain(value: Any) -> Any:
    """A number as JSON has it: those that are not finite by their names."""
    if not _is_odd(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _number(value: Any) -> Number:
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) not in (int, float) or (type(value) is int and not -_MOST <= value < _MOST):
        _damaged("a metric is no number")
    return value  # type: ignore[no-any-return]


def _scalar(value: Any) -> Scalar:
    if type(value) is list and len(value) == 1:
        return _number(value[0])
    if type(value) is int and not -_MOST <= value < _MOST:
        _damaged("a param is too large")
    if value is not None and type(value) not in (str, int, float, bool):
        _damaged("a param is no scalar")
    return value  # type: ignore[no-any-return]


def _map(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        _damaged(f"{what} is not an object")
    return value


def _damaged(why: str) -> NoReturn:
    raise CorruptObject(f"notes are damaged: {why}")
