"""Versions by a template of the user's: ``--format='%h %an %s'``, with Git's placeholders and ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mvc.cli.datestyles import Style
from mvc.cli.screen import COLOURS
from mvc.errors import UsageError
from mvc.history.decorations import Entry
from mvc.objects import Number, Scalar
from mvc.text import number, one_line, plain

_PLACEHOLDER = re.compile(
    r"%(?:(?P<colour>C(?:\((?P<named>[a-z]+)\)|red|green|blue|reset))"
    r"|\((?P<kind>metrics?|params?)(?::(?P<name>[^()]*))?\)"
    r"|x(?P<byte>[0-9a-fA-F]{2})|(?P<letters>[ac][neldDriIst]|[HhTtPpsbBdDfmn%]))"
)
_SUBJECT_UNFIT = re.compile(r"[^A-Za-z0-9_.]+")
_ANSI = {**COLOURS, "blue": "34", "magenta": "35", "white": "37", "black": "30", "reset": "", "auto": ""}
HINT = "%H %h %T %P %an %ae %ad %ar %s %b %B %d %D %n %(metric:NAME) %(param:NAME) %(metrics) %(params)"


@dataclass(frozen=True, slots=True)
class Dress:
    """How a version is shown: its ``names`` (``HEAD -> main``), its ``metrics`` with later additions, the
    styles of dates, whether in colour."""

    names: Callable[[Entry], list[str]]
    metrics: Callable[[Entry], Mapping[str, Number]]
    date: Style
    styles: dict[str, Style]
    colour: bool


Piece = Callable[[Entry, Dress], str]


class Template:
    """A template, read once.

    Raises:
        UsageError: a placeholder that there is none.
    """

    def __init__(self, text: str) -> None:
        self._pieces: list[str | Piece] = []
        at = 0
        while (percent := text.find("%", at)) >= 0:
            match = _PLACEHOLDER.match(text, percent)
            piece = None if match is None else _piece(match)
            if match is None or piece is None:
                raise UsageError(f"{text[percent : percent + 12]!r} is no placeholder", hint=HINT)
            self._pieces += [text[at:percent], piece]
            at = match.end()
        self._pieces.append(text[at:])

    def of(self, entry: Entry, dress: Dress) -> str:
        """A version by the template. What it holds of others is spelled so that no terminal is fooled."""
        return "".join(piece if isinstance(piece, str) else piece(entry, dress) for piece in self._pieces)


def _piece(match: re.Match[str]) -> str | Piece | None:
    if match["colour"]:
        name = match["named"] or match["colour"][1:]
        if name not in _ANSI:
            return None
        code = f"\x1b[{_ANSI[name]}m" if name != "auto" else ""
        return lambda _entry, dress: code if dress.colour else ""
    if match["kind"]:
        return _value(match["kind"], match["name"])
    if match["byte"]:
        return chr(int(match["byte"], 16))
    letters = match["letters"]
    if len(letters) == 2:
        return _person(letters[1])
    return _FIELDS[letters]


def _value(kind: str, name: str | None) -> Piece | None:
    """``%(metric:loss)``: exactly, nothing where there is none; ``%(metrics)``: all of them, shortened."""

    def values(entry: Entry, dress: Dress) -> Mapping[str, Scalar]:
        return dress.metrics(entry) if kind.startswith("metric") else entry.commit.params

    def one(entry: Entry, dress: Dress) -> str:
        found = values(entry, dress)
        return _exact(found[name]) if name is not None and name in found else ""

    def every(entry: Entry, dress: Dress) -> str:
        return " ".join(f"{one_line(key)}={_short(item)}" for key, item in values(entry, dress).items())

    if kind.endswith("s"):
        return every if name is None else None
    return one if name else None


def _exact(value: Scalar) -> str:
    return one_line(str(value))


def _short(value: Scalar) -> str:
    return number(value) if isinstance(value, float) else one_line(str(value))


def _person(letter: str) -> Piece:
    """Of author and committer, who are one here."""
    if letter in "nel":
        return {
            "n": lambda entry, _dress: one_line(entry.commit.author.name),
            "e": lambda entry, _dress: one_line(entry.commit.author.email),
            "l": lambda entry, _dress: one_line(entry.commit.author.email.partition("@")[0]),
        }[letter]
    style = {"D": "rfc", "r": "relative", "i": "iso", "I": "iso-strict", "s": "short", "t": "unix"}.get(
        letter
    )
    if style is None:
        return lambda entry, dress: dress.date(entry.commit.time)
    return lambda entry, dress: dress.styles[style](entry.commit.time)


def subject_of(message: str) -> str:
    """The first paragraph on one line, as Git takes a message's subject."""
    return " ".join(message.lstrip("\n").partition("\n\n")[0].split("\n")).strip()


def body_of(message: str) -> str:
    """What follows the first paragraph."""
    return message.lstrip("\n").partition("\n\n")[2].lstrip("\n")


def _names(before: str, behind: str) -> Piece:
    def names(entry: Entry, dress: Dress) -> str:
        found = dress.names(entry)
        return before + ", ".join(found) + behind if found else ""

    return names


_FIELDS: dict[str, str | Piece] = {
    "H": lambda entry, _dress: entry.id.hex(),
    "h": lambda entry, _dress: entry.id.short,
    "T": lambda entry, _dress: entry.commit.tree.hex(),
    "t": lambda entry, _dress: entry.commit.tree.short,
    "P": lambda entry, _dress: " ".join(parent.hex() for parent in entry.commit.parents),
    "p": lambda entry, _dress: " ".join(parent.short for parent in entry.commit.parents),
    "s": lambda entry, _dress: one_line(subject_of(entry.commit.message)),
    "f": lambda entry, _dress: _SUBJECT_UNFIT.sub("-", subject_of(entry.commit.message)).strip("-."),
    "b": lambda entry, _dress: plain(body_of(entry.commit.message)),
    "B": lambda entry, _dress: plain(entry.commit.message),
    "d": _names(" (", ")"),
    "D": _names("", ""),
    "m": ">",
    "n": "\n",
    "%": "%",
}
