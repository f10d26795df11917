"""Protocol faults put into the product on purpose, each of which the tests must catch.

A *fault* is a small change of the source text, as a tired programmer might make it: a sync forgotten, a hash
not looked at, a lock not taken. ``python -m tests.seeded`` (``make seeded``) puts them in one by one, into a
copy, and runs for each the tests of ``make test`` that must fail then. A test that a mistake cannot fail
proves nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parents[2]
PATIENCE = 300
"""Seconds after which a run of tests counts as hanging, which no fault may be caught by."""

PASSED = "all tests passed"

_REASON = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*?\])?(?: - (.*))?$", re.MULTILINE)
_NOT_CAUGHT = (
    "ImportError",
    "ModuleNotFoundError",
    "SyntaxError",
    "IndentationError",
    "NameError",
    "fixture ",
)
"""A test that fails so says that the fault is badly made, not that it harms."""


class Edit(NamedTuple):
    """Text of a file of the package that stands there exactly once, and what stands there instead."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """``breaks`` is what goes wrong with it; ``tests`` (as pytest names them) must fail."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


class Outcome(NamedTuple):
    """Whether the tests caught a fault; the first that did, and what it said."""

    caught: bool
    by: str
    why: str


def fault(name: str, breaks: str, file: str, old: str, new: str, *tests: str) -> Fault:
    """A fault of one edit."""
    return Fault(name, breaks, (Edit(file, old, new),), tests)


def seeded(text: str, edit: Edit) -> str:
    """A file's text with the edit made.

    Raises:
        ValueError: what it replaces does not stand there exactly once: the product has changed.
    """
    count = text.count(edit.old)
    if count != 1:
        raise ValueError(f"{edit.file}: {edit.old!r} stands there {count} times")
    return text.replace(edit.old, edit.new)


def copy_of_all(place: Path) -> Path:
    """The package and its tests, to put faults into."""
    for name in ("mvc", "tests", "benchmarks", "docs"):
        if (HERE / name).is_dir():
            shutil.copytree(HERE / name, place / name, ignore=shutil.ignore_patterns(".*", "golden"))
    if (HERE / "tests" / "golden").is_dir():
        os.symlink(HERE / "tests" / "golden", place / "tests" / "golden")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(HERE / name, place / name)
    return place


@contextmanager
def put_in(place: Path, item: Fault) -> Iterator[None]:
    """Have the copy at a place contain the fault meanwhile."""
    before: dict[Path, bytes] = {}
    try:
        for edit in item.edits:
            path = place / edit.file
            before.setdefault(path, path.read_bytes())
            path.write_text(seeded(path.read_text(), edit))
        yield
    finally:
        for path, data in before.items():
            path.write_bytes(data)


def run_tests(place: Path, tests: tuple[str, ...], patience: float = PATIENCE) -> Outcome:
    """Run tests in the copy until one fails; ``patience`` in seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "--tb=line", "-rfE"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", f"--basetemp={place / 'temporary'}", *tests]
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))
    }
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(place), "COLUMNS": "400"}
    try:
        ran = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, "", f"the tests did not end within {patience} s")
    if ran.returncode == 0:
        return Outcome(False, "", PASSED)
    found = _REASON.findall(ran.stdout)
    if ran.returncode != 1 or not found:
        return Outcome(
            False, "", f"pytest ended with {ran.returncode}: {ran.stdout[-300:]}{ran.stderr[-300:]}"
        )
    by, why = found[0]
    return Outcome(not why.startswith(_NOT_CAUGHT), by, why)


def attempt(place: Path, item: Fault) -> Outcome:
    """Put a fault into the copy, and run what must catch it."""
    with put_in(place, item):
        return run_tests(place, item.tests)


def listed(faults: tuple[Fault, ...]) -> str:
    """The faults as the Markdown table of docs/reliability.md."""
    rows = ["| fault | what it breaks | caught by |", "|---|---|---|"]
    for item in faults:
        tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in item.tests)
        rows.append(f"| {item.name} | {item.breaks} | {tests} |")
    return "\n".join(rows)
