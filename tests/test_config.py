"""Settings that somebody made to harm are refused in one line."""

from __future__ import annotations

import pytest

from mvc.config import MAX_DEPTH, Config, parse_value
from mvc.errors import ConfigError

BRACKETS = "[" * 3000
DIGITS = "9" * 5000
HOSTILE = {
    "open brackets": f"x = {BRACKETS}",
    "brackets": f"x = {BRACKETS}{BRACKETS.replace('[', ']')}",
    "digits": f"x = {DIGITS}",
    "dotted key": f"{'a.' * 2000}b = 1",
    "table": f"[{'a.' * 2000}b]",
    "just too deep": f"x = {'[' * (MAX_DEPTH + 1)}{']' * (MAX_DEPTH + 1)}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_settings_are_refused_by_the_files_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^\.mvc/config is n"):
        Config(text, ".mvc/config")


def test_settings_are_nested_as_deep_as_anybody_needs() -> None:
    deep = "a." * (MAX_DEPTH - 2) + "b"
    assert Config(f"{deep} = 1", "").get(deep) == 1


@pytest.mark.parametrize("text", [BRACKETS, DIGITS, f"-{DIGITS}"], ids=["brackets", "digits", "sign"])
def test_a_value_that_toml_cannot_hold_is_text(text: str) -> None:
    assert parse_value(text) == text
