"""Random sequences of commands do to mvc what they do to Git (see ``git_pair.py``)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.git_pair import Different, Pair

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

PATHS = ("a", "b.txt", "d/x", "d/y", "e/f/z", "d", "c.bin")
NAMES = ("p", "q", "r", "main")
TAGS = ("t", "u")

TEXT = "".join(f"line {number}\n" for number in range(12))
CONTENTS = (
    b"",
    b"one\n",
    TEXT.encode(),
    b"no end",
    bytes(range(256)),
    b"\0binary" * 30,
    b"crlf\r\nlines\r\n",
)


class Step(NamedTuple):
    """What to do, and three numbers that say with what: each picks among what there is then."""

    name: str
    a: int
    b: int
    c: int


def pick(items: Sequence, number: int):
    return items[number % len(items)]


class Player:
    """Plays steps on a pair. A step that cannot be (a file to delete, where there is none) does nothing."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.fresh = 0

    def play(self, step: Step) -> None:
        getattr(self, step.name)(step.a, step.b, step.c)

    # --- files -------------------------------------------------------------------------------------------
    def write(self, a: int, b: int, c: int) -> None:
        if c % 3 == 0:
            self.fresh += 1
            content = b"\0%d" % self.fresh if b % 2 else b"own %d\n" % self.fresh
        else:
            content = pick(CONTENTS, b)
        self.pair.write(pick(PATHS, a), content)

    def edit(self, a: int, b: int, c: int) -> None:
        """A line of a text is changed, added or goes."""
        texts = [path for path, (data, _x) in sorted(self.pair.files.items()) if data and b"\0" not in data]
        if not texts:
            return
        path = pick(texts, a)
        lines = self.pair.files[path][0].decode("latin1").splitlines(keepends=True)
        at = b % len(lines)
        new = pick(("changed\n", "other\n", "line 3\n"), c // 3)
        lines[at : at + 1] = ([new], [lines[at], new], [])[c % 3]
        self.pair.write(path, "".join(lines).encode("latin1"))

    def delete(self, a: int, b: int, c: int) -> None:
        if self.pair.files:
            self.pair.delete(pick(sorted(self.pair.files), a))

    def chmod(self, a: int, b: int, c: int) -> None:
        if self.pair.files:
            path = pick(sorted(self.pair.files), a)
            data, executable = self.pair.files[path]
            self.pair.write(path, data, executable=not executable)

    def move(self, a: int, b: int, c: int) -> None:
        if self.pair.files:
            old, new = pick(sorted(self.pair.files), a), pick((*PATHS, "moved", "d/moved"), b)
            if new in self.pair.files or any(path.startswith(f"{new}/") for path in self.pair.files):
                return
            if any(new.startswith(f"{path}/") for path in self.pair.files if path != old):
                return
            data, executable = self.pair.files[old]
            self.pair.delete(old)
            self.pair.write(new, data, executable=executable)

    # --- commits and names -------------------------------------------------------------------------------
    def commit(self, a: int, b: int, c: int) -> None:
        self.pair.commit(f"message {a}")

    def amend(self, a: int, b: int, c: int) -> None:
        self.pair.commit(f"amended {a}", "--amend")

    def commit_path(self, a: int, b: int, c: int) -> None:
        self.pair.commit_paths("by path", pick(PATHS, a))

    def branch(self, a: int, b: int, c: int) -> None:
        self.pair.tick()
        self.pair.both("branch", pick(NAMES, a), revision=self.revision(b))

    def branch_force(self, a: int, b: int, c: int) -> None:
        self.pair.tick()
        self.pair.both("branch", "--force", pick(NAMES, a), revision=self.revision(b))

    def branch_delete(self, a: int, b: int, c: int) -> None:
        self.pair.tick()
        force = ("--force",) if c % 2 else ()
        self.pair.both("branch", "--delete", *force, pick(NAMES, a))

    def branch_move(self, a: int, b: int, c: int) -> None:
        old, new = pick(NAMES, a), pick(NAMES, b)
        if old != new:
            self.pair.tick()
            self.pair.both("branch", "--move", old, new)

    def tag(self, a: int, b: int, c: int) -> None:
        self.pair.tick()
        self.pair.both("tag", pick(TAGS, a), revision=self.revision(b))

    def tag_delete(self, a: int, b: int, c: int) -> None:
        self.pair.tick()
        self.pair.both("tag", "--delete", pick(TAGS, a))

    def revision(self, number: int) -> str:
        """HEAD, a branch, a tag or a commit."""
        git = self.pair.git
        named = ["HEAD", *sorted(git.refs("heads")), *sorted(git.refs("tags"))]
        return pick([*named, *self.pair.commits[-4:]], number)

    # --- going to versions -------------------------------------------------------------------------------
    def checkout(self, a: int, b: int, c: int) -> None:
        self.pair.checkout(self.revision(a), *(["--force"] if c % 5 == 0 else []))

    def checkout_new(self, a: int, b: int, c: int) -> None:
        if self.pair.git.head_commit() is None:
            return  # Git would make the branch's name HEAD only where no revision is given
        self.pair.checkout(self.revision(a), "-b", pick(NAMES, b))

    def checkout_path(self, a: int, b: int, c: int) -> None:
        if self.pair.git.head_commit() is not None:
            self.pair.checkout_path(self.revision(a), pick((*PATHS, "."), b))


WEIGHTS: dict[str, int] = {
    "write": 6,
    "edit": 4,
    "delete": 2,
    "chmod": 1,
    "move": 2,
    "commit": 8,
    "amend": 1,
    "commit_path": 1,
    "branch": 2,
    "branch_force": 1,
    "branch_delete": 1,
    "branch_move": 1,
    "tag": 1,
    "tag_delete": 1,
    "checkout": 5,
    "checkout_new": 2,
    "checkout_path": 1,
}

NUMBER = st.integers(0, 23)
STEP = st.builds(
    Step,
    st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(weight)]),
    NUMBER,
    NUMBER,
    NUMBER,
)


def play(steps: Sequence[Step]) -> None:
    """Both do the same at each step.

    Raises:
        Different: they do not; with all that was done until then.
    """
    pair = Pair()
    try:
        player = Player(pair)
        for number, step in enumerate(steps):
            player.play(step)
            pair.compare(deep=number % 4 == 3 or number == len(steps) - 1)
        pair.compare_with_git_status()
    except Different as difference:
        done = "\n".join(f"  {line}" for line in pair.steps)
        raise Different(f"after\n{done}\n{difference}") from None
    finally:
        pair.close()


def machine(examples: int, length: int) -> Callable[[Callable], Callable]:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
        print_blob=True,
    )


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=4, max_size=20))
def test_mvc_does_what_git_does(steps):
    play(steps)


@pytest.mark.slow
@settings(max_examples=1900, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=4, max_size=40))
def test_mvc_does_what_git_does_for_long(steps):
    play(steps)
