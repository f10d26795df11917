"""Each promise of docs/reliability.md and docs/security.md is held by a test, or a target, that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [page for page in (ROOT / "docs" / "reliability.md", ROOT / "docs" / "security.md") if page.exists()]


def names_in(path: Path) -> set[str]:
    """What pytest would collect from a file, and classes and names that it binds at its top."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return {name for name in found if name.lower().startswith("test")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_holds_a_promise_exists(page: Path) -> None:
    text = page.read_text()
    cited = re.findall(r"`(?:tests/)?([a-z0-9_/]+\.py)::(\w+)", text)
    assert cited
    missing = [
        f"{file}::{name}"
        for file, name in cited
        if not (ROOT / "tests" / file).exists() or name not in names_in(ROOT / "tests" / file)
    ]
    assert missing == []
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([\w-]+)`", text)) - {"NAME"}
    assert {name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)} == set()


def test_every_promise_names_a_test() -> None:
    """A paragraph that begins in bold is a promise; those of what is not promised are a list."""
    text = (ROOT / "docs" / "reliability.md").read_text().partition("## What is not promised")[0]
    promises = [paragraph for paragraph in text.split("\n\n") if paragraph.startswith("**")]
    assert len(promises) > 10
    assert [one for one in promises if not re.search(r"\w+\.py::\w+|`make [\w-]+`", one)] == []
