"""Settings: TOML files whose comments survive edits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from mvc.errors import ConfigError

_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")

KNOWN: dict[str, tuple[type, str]] = {
    "commit.code": (bool, "whether commits record the Git commit of the code; true if not set"),
    "commit.environment": (bool, "whether commits record Python, platform and frameworks; true if not set"),
    "user.name": (str, "who commits"),
    "user.email": (str, "and under which address"),
}
"""Keys that mvc reads: type and meaning. Others are kept for the programs that use them."""


class Config:
    """One parsed file; ``text`` is its content, ``where`` names it in messages."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        # 3 ms to import: the commands that look need no settings
        import tomllib

        try:
            self._values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{where} is not valid TOML: {error}", hint="mend it with an editor") from None
        self.text = text

    def get(self, key: str) -> Any:
        """A value by its dotted key, or None."""
        value: Any = self._values
        for name in _names(key):
            if not isinstance(value, dict) or name not in value:
                return None
            value = value[name]
        return value

    def string(self, key: str) -> str | None:
        """A text value, or None.

        Raises:
            ConfigError: the value is not text.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{key} in {self._where} is not text", hint=f"mvc config {key} 'TEXT'")
        return value

    def boolean(self, key: str) -> bool | None:
        """A boolean value, or None.

        Raises:
            ConfigError: the value is neither true nor false.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{key} in {self._where} is not true or false", hint=f"mvc config {key} false")
        return value

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every value with its dotted key, in the order of the file."""
        return _flatten(self._values, "")

    def with_value(self, key: str, value: str | int | float | bool) -> str:
        """The file's text with one value set; everything else, comments too, stays as it is."""
        # 30 ms to import: only where something is edited
        import tomlkit

        names = _names(key)
        wanted = KNOWN.get(key)
        if wanted is not None and not isinstance(value, wanted[0]):
            raise ConfigError(f"{key} takes a {wanted[0].__name__}, not {value!r}")
        document = tomlkit.parse(self.text)
        table: Any = document
        for name in names[:-1]:
            if name not in table:
                table[name] = tomlkit.table()
            table = table[name]
            if not isinstance(table, dict):
                raise ConfigError(f"{key}: {name} is a value, not a section")
        table[names[-1]] = value
        return tomlkit.dumps(document)

    def without(self, key: str) -> str:
        """The file's text with one value removed.

        Raises:
            ConfigError: it is not set.
        """
        # 30 ms to import: only where something is edited
        import tomlkit

        if self.get(key) is None:
            raise ConfigError(f"{key} is not set in {self._where}")
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
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _names(key: str) -> list[str]:
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{key!r} is not a setting's name", hint="names look like user.name")
    return key.split(".")


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
