"""Settings: TOML files whose comments survive edits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mvc.errors import ConfigError

MAX_DEPTH = 32
"""Tables and arrays within each other; a repository's settings may come from anywhere."""

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(f"(?<![A-Za-z0-9_-])(?:{_PART}){{{2 * MAX_DEPTH}}}")
"""Looked for before tomllib sees the text: a key takes it the square of its parts in memory."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\\\n]+")"""
_KEY = re.compile(rf"{_NAME}(\.{_NAME})+")
_NAMES = re.compile(_NAME)


class Setting(NamedTuple):
    """A key that mvc reads: its type, what it means, the values it may have (none listed: any).

    A ``personal`` one counts only in the user's own settings: a repository, which may come from anywhere,
    must not name programs that run.
    """

    type: type
    meaning: str
    choices: tuple[str, ...] = ()
    personal: bool = False


COLOUR_CHOICES = ("auto", "always", "never")
SHARED_CHOICES = ("auto", "always", "never")

KNOWN: dict[str, Setting] = {
    "commit.code": Setting(bool, "whether commits record the Git commit of the code; true if not set"),
    "commit.environment": Setting(
        bool, "whether commits record Python, platform and frameworks; true if not set"
    ),
    "core.shared": Setting(
        str, "whether several machines use the repository's folder; auto if not set", SHARED_CHOICES
    ),
    "gc.standalone": Setting(
        str, "what stands alone after mvc gc --repack; heads if not set", ("heads", "refs")
    ),
    "gc.trash-days": Setting(int, "days for which gc --undo can bring back what gc took; 7 if not set"),
    "gc.grace-hours": Setting(
        int, "hours after which gc deletes what it condemned in a bucket; 24 if not set"
    ),
    "gc.undo-days": Setting(int, "days for which gc keeps what was undone; 90 if not set"),
    "transfer.retry-seconds": Setting(
        int, "seconds from the first failure of a request on during which it is tried again; 60 if not set"
    ),
    "transfer.stall-seconds": Setting(
        int, "seconds without a byte after which a request to a bucket is given up; 30 if not set"
    ),
    "transfer.verify": Setting(
        bool, "whether all that is fetched is decoded before it is visible; true if not set"
    ),
    "user.name": Setting(str, "who commits"),
    "user.email": Setting(str, "and under which address"),
    "color.ui": Setting(str, "when output is coloured", COLOUR_CHOICES),
    "core.pager": Setting(str, "program that shows long output; cat for none", personal=True),
}
"""Keys that mvc reads. Others are kept for the programs that use them."""

_KINDS = {bool: "true or false", int: "a whole number", str: "text"}


Key = str | tuple[str, ...]
"""A setting's dotted name, parts with other characters than letters, digits, ``-`` and ``_`` in double
quotes; or its parts, which may hold anything."""


class Config:
    """One parsed file; ``text`` is its content, ``where`` names it in messages."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self.text = text
        self._values: dict[str, Any] = {}
        if not _says_something(text):
            return
        # 3 ms to import: where nobody set anything, the commands that look do without
        import tomllib

        if _LONG_KEY.search(text):
            raise ConfigError(
                f"{where} is nested deeper than {MAX_DEPTH} levels", hint="mend it with an editor"
            )
        try:
            self._values = tomllib.loads(text)
        # Beside its own error, tomllib lets through what thousands of brackets or digits raise in Python.
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where} is not valid TOML: {error}", hint="mend it with an editor") from None
        if _deeper_than(MAX_DEPTH, self._values):
            raise ConfigError(
                f"{where} is nested deeper than {MAX_DEPTH} levels", hint="mend it with an editor"
            )

    def get(self, key: Key) -> Any:
        """A value by its key, or None; a section is a dict."""
        value: Any = self._values
        for name in _names(key):
            if not isinstance(value, dict) or name not in value:
                return None
            value = value[name]
        return value

    def string(self, key: Key) -> str | None:
        """A text value, or None.

        Raises:
            ConfigError: the value is not text, or none of those that the setting may have.
        """
        value, key = self.get(key), _joined(_names(key))
        if value is None:
            return None
        if not isinstance(value, str):
            raise ConfigError(f"{key} in {self._where} is not text", hint=f"mvc config {key} 'TEXT'")
        _check_choice(key, value, f" in {self._where}")
        return value

    def boolean(self, key: Key) -> bool | None:
        """A boolean value, or None.

        Raises:
            ConfigError: the value is neither true nor false.
        """
        value, key = self.get(key), _joined(_names(key))
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{key} in {self._where} is not true or false", hint=f"mvc config {key} false")
        return value

    def count(self, key: Key) -> int | None:
        """A whole number from 0 up, or None.

        Raises:
            ConfigError: the value is none.
        """
        value, key = self.get(key), _joined(_names(key))
        if value is not None and (type(value) is not int or value < 0):
            raise ConfigError(f"{key} in {self._where} is not a whole number", hint=f"mvc config {key} 30")
        return value

    def texts(self, key: Key) -> tuple[str, ...]:
        """An array of texts; none where it is not set.

        Raises:
            ConfigError: the value is none.
        """
        value, key = self.get(key), _joined(_names(key))
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(
                f"{key} in {self._where} is not an array of texts", hint="mend it with an editor"
            )
        return tuple(value)

    def section(self, key: Key) -> dict[str, Any]:
        """The values and sections right below a section; empty where there is none."""
        names = _names(key) if isinstance(key, tuple) or "." in key else [key]
        value = self.get(tuple(names))
        return dict(value) if isinstance(value, dict) else {}

    def edited(self, text: str) -> Config:
        """These settings after an edit."""
        return Config(text, self._where)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every value with its dotted key, in the order of the file."""
        return _flatten(self._values, "")

    def with_value(self, key: Key, value: str | int | float | bool | list[str]) -> str:
        """The file's text with one value set; everything else, comments too, stays as it is."""
        # 30 ms to import: only where something is edited
        import tomlkit

        names = _names(key)
        key = _joined(names)
        wanted = KNOWN.get(key)
        if wanted is not None and not isinstance(value, wanted.type):
            raise ConfigError(f"{key} takes {_KINDS[wanted.type]}, not {value!r}")
        if isinstance(value, str):
            _check_choice(key, value)
        document = tomlkit.parse(self.text)
        table: Any = document
        for place, name in enumerate(names[:-1]):
            if name not in table:
                table[name] = tomlkit.table(is_super_table=place < len(names) - 2)
            table = table[name]
            if not isinstance(table, dict):
                raise ConfigError(f"{key}: {name} is a value, not a section")
        table[names[-1]] = value
        return tomlkit.dumps(document)

    def without(self, key: Key) -> str:
        """The file's text with one value, or a whole section, removed.

        Raises:
            ConfigError: it is not set.
        """
        # 30 ms to import: only where something is edited
        import tomlkit

        if self.get(key) is None:
            raise ConfigError(f"{_joined(_names(key))} is not set in {self._where}")
        names = _names(key)
        document = tomlkit.parse(self.text)
        table: Any = document
        for name in names[:-1]:
            table = table[name]
        del table[names[-1]]
        return tomlkit.dumps(document)


def enabled(settings: Sequence[Config], key: str) -> bool:
    """Whether a switch is on: as the first of the settings that names it says, else yes.

    Raises:
        ConfigError: a value is neither true nor false.
    """
    return next((value for config in settings if (value := config.boolean(key)) is not None), True)


def parse_value(text: str) -> str | int | float | bool:
    """A command-line value: a TOML boolean or number where it is one, else text."""
    # 3 ms to import: see above
    import tomllib

    if "#" in text or "\n" in text:
        return text  # a comment or a second line is not part of a value
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # see Config: not only its own error
        return text
    return value if isinstance(value, bool | int | float) else text


def _says_something(text: str) -> bool:
    """Whether there is more in a TOML file than comments and empty lines."""
    return any(line and not line.startswith("#") for line in map(str.strip, text.split("\n")))


def _check_choice(key: str, value: str, where: str = "") -> None:
    choices = KNOWN[key].choices if key in KNOWN else ()
    if choices and value not in choices:
        raise ConfigError(f"{key}{where} cannot be {value!r}", hint=f"mvc config {key} {'|'.join(choices)}")


def _names(key: Key) -> list[str]:
    if isinstance(key, tuple):
        return list(key)
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{key!r} is not a setting's name", hint="names look like user.name")
    return [name.strip('"') for name in _NAMES.findall(key)]


def _joined(names: Sequence[str]) -> str:
    """The dotted key of some names."""
    return ".".join(name if _BARE.fullmatch(name) else f'"{name}"' for name in names)


def _deeper_than(levels: int, values: dict[str, Any]) -> bool:
    """Whether tables and arrays lie so deep in each other; dotted keys make thousands without a bracket."""
    stack: list[tuple[int, Any]] = [(0, values)]
    while stack:
        depth, item = stack.pop()
        if depth > levels:
            return True
        if isinstance(item, dict | list):
            inner = item.values() if isinstance(item, dict) else item
            stack += ((depth + 1, value) for value in inner)
    return False


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{_joined([name])}.")
        else:
            yield prefix + _joined([name]), value
