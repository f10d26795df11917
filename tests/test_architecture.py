"""The page that says what lives where names every room."""

from __future__ import annotations

import re
from pathlib import Path

import mvc

PACKAGE = Path(mvc.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "ARCHITECTURE.md").read_text()


def test_every_module_and_package_has_its_place_in_the_table() -> None:
    named = set(re.findall(r"`([a-z0-9_]+)(?:\.py|/)?`", PAGE))
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" and not path.stem.startswith("__")
    }
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms - named == set()
