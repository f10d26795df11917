"""How a bisection tests a version, and how it is told."""

from collections.abc import Callable
from pathlib import Path

from mvc.bisecting.state import Word
from mvc.cli.call import Call
from mvc.cli.programs import run_program
from mvc.cli.versions import Names, entry_lines
from mvc.history.decorations import Decorations
from mvc.objectid import CommitId
from mvc.text import one_line
from mvc.view import View

VARIABLE = "MVC_BISECT_REV"
"""What tells a program which version it tests."""

NOT_FOUND = 1
"""Exit code where the first bad version cannot be told."""

ADJECTIVES: dict[Word, str] = {"good": "good", "bad": "bad", "skip": "skipped"}


def tester(call: Call, program: tuple[str, ...], folder: Path, *, json: bool) -> Callable[[CommitId], int]:
    """Runs a program in a folder for each version; gives its exit code."""

    def test(commit: CommitId) -> int:
        call.detail(f"running {' '.join(map(one_line, program))}")
        return run_program(program, folder, {VARIABLE: commit.hex()}, output_to_stderr=json)

    return test


def tell_found(call: Call, view: View, commit: CommitId) -> None:
    """The first bad version, at length."""
    call.print(f"{commit.hex()} is the first bad version")
    for line in entry_lines(
        call, Decorations(view.refs).entry(commit, view.commit(commit)), Names(call, view)
    ):
        call.print(line)


def tell_candidates(call: Call, view: View, candidates: tuple[CommitId, ...]) -> None:
    """The versions one of which is the first bad one."""
    call.print("only skipped versions are left; the first bad one is one of")
    for candidate in candidates:
        call.print(version_line(call, view, candidate))


def version_line(call: Call, view: View, commit: CommitId) -> str:
    """A version in a line."""
    return f"{call.paint(commit.short, 'yellow')} {one_line(view.commit(commit).subject)}"
