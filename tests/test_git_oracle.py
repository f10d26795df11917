"""Random sequences of commands do to mvc what they do to Git (see ``git_pair.py``)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.git_pair import Different, Mvc, Pair, Program

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
        if self.pair.pending is not None and step.name not in WHILE_PENDING:
            self.resolve(step.a, step.b, step.c)
        else:
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

    def plant(self, a: int, b: int, c: int) -> None:
        """A version of several files."""
        for number, path in enumerate(("a", "b.txt", "d/x", "e/f/z")):
            self.pair.write(path, pick((TEXT.encode(), *CONTENTS), a + b * number))
        self.pair.commit("planted")

    def diverge(self, a: int, b: int, c: int) -> None:
        """A branch that may be new goes on by a version of its own."""
        if self.pair.git.head_commit() is None:
            return
        self.pair.commit("before going elsewhere")
        name = pick(NAMES, a)
        if name in self.pair.git.refs("heads"):
            self.pair.switch(name)
        else:
            self.pair.switch("-c", name, revision=self.revision(b))
        for number in range(1 + c % 3):
            change = pick((self.edit, self.write, self.edit, self.delete, self.move, self.chmod), b + number)
            change(a + number, c * 5 + number, b + c + number)
        self.pair.commit(f"on {name}")

    # --- commits and names -------------------------------------------------------------------------------
    def commit(self, a: int, b: int, c: int) -> None:
        self.pair.commit(f"message {a}")

    def amend(self, a: int, b: int, c: int) -> None:
        self.pair.commit(f"amended {a}", "--amend")

    def commit_path(self, a: int, b: int, c: int) -> None:
        self.pair.commit_paths("by path", pick(PATHS, a))

    def branch(self, a: int, b: int, c: int) -> None:
        self.make("branch", pick(NAMES, a), self.revision(b))

    def make(self, kind: str, name: str, revision: str) -> None:
        """A branch or a tag."""
        git = self.pair.git
        target = git.resolve(revision)
        if target is not None and git.refs({"branch": "heads", "tag": "tags"}[kind]).get(name) == target:
            return  # Git refuses, mvc has nothing to do
        self.pair.tick()
        self.pair.both(kind, name, revision=revision)

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
        self.make("tag", pick(TAGS, a), self.revision(b))

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

    def switch(self, a: int, b: int, c: int) -> None:
        if self.pair.git.head_commit() is None:
            return
        match c % 4:
            case 0:
                self.pair.switch(pick(NAMES, a))
            case 1:
                self.pair.switch("-c", pick(NAMES, a), revision=self.revision(b))
            case 2:
                self.pair.switch("--detach", revision=self.revision(b))
            case 3:
                self.pair.switch("--force", pick(NAMES, a))

    def restore(self, a: int, b: int, c: int) -> None:
        if self.pair.head_files:  # Git does not know . in a version without files
            revision = None if c % 3 == 0 else self.revision(b)
            self.pair.restore(pick((*PATHS, "."), a), revision)

    def reset(self, a: int, b: int, c: int) -> None:
        if self.pair.git.head_commit() is not None:
            self.pair.reset(pick(("--soft", "--mixed", "--hard", "--hard"), c), self.revision(a))

    # --- bringing together -------------------------------------------------------------------------------
    def merge(self, a: int, b: int, c: int) -> None:
        if self.pair.git.head_commit() is None:
            return
        git = self.pair.git
        others = [
            name for name in (*sorted(git.refs("heads")), *sorted(git.refs("tags"))) if name != git.head()
        ]
        if others:
            options = pick(((), (), (), ("--no-ff",), ("--ff-only",), ("--no-commit",)), c)
            self.pair.join("merge", *options, revision=pick(others, a))

    def cherry_pick(self, a: int, b: int, c: int) -> None:
        self._pick("cherry-pick", a, c)

    def revert(self, a: int, b: int, c: int) -> None:
        self._pick("revert", a, c)

    def _pick(self, verb: str, a: int, c: int) -> None:
        if not self.pair.commits or self.pair.git.head_commit() is None:
            return
        identity = self.pair.commits[-1 - a % len(self.pair.commits)]
        many = len(self.pair.git.version(identity).parents) > 1
        options = ("-m", "1") if many and c % 3 else ()
        self.pair.join(verb, *options, revision=identity)
        if self.pair.pending is not None and any("~" in path for path in self.pair.files_now()):
            self.pair.give_up()  # names with ids in them

    def resolve(self, a: int, b: int, c: int) -> None:
        """What is under way is taken back, or its conflicts are resolved and it is concluded."""
        pair = self.pair
        conflicts = pair.conflicts
        if b % 5 == 0 or (not conflicts and pair.pending != "merge"):
            pair.give_up()
            return
        for number, path in enumerate(conflicts):
            side = pick(("ours", "theirs", None, None), a + number)
            if side is not None and pair.take(path, side):
                continue
            if path in pair.files and (b + number) % 4 == 0:
                pair.delete(path)
            else:
                self.fresh += 1
                pair.write(path, b"resolved %d\n" % self.fresh)
        if not pair.go_on(conflicts) and pair.pending is not None:
            pair.give_up()


WHILE_PENDING = {"branch", "tag", "tag_delete"}

WEIGHTS: dict[str, int] = {
    "plant": 2,
    "diverge": 8,
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
    "switch": 2,
    "restore": 1,
    "reset": 2,
    "merge": 8,
    "cherry_pick": 3,
    "revert": 2,
}

NUMBER = st.integers(0, 23)
STEP = st.builds(
    Step,
    st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(weight)]),
    NUMBER,
    NUMBER,
    NUMBER,
)


def play(steps: Sequence[Step], mvc: type[Mvc] = Mvc) -> None:
    """Both do the same at each step.

    Raises:
        Different: they do not; with all that was done until then.
    """
    pair = Pair(mvc)
    try:
        player = Player(pair)
        pair.compare()
        for number, step in enumerate(steps):
            player.play(step)
            pair.compare(deep=number % 4 == 3 or number == len(steps) - 1)
        pair.compare_with_git_status()
    except Different as difference:
        done = "\n".join(f"  {line}" for line in pair.steps)
        raise Different(f"after\n{done}\n{difference}") from None
    finally:
        pair.close()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=10, max_size=25))
def test_mvc_does_what_git_does(steps):
    play(steps)


@pytest.mark.slow
@settings(max_examples=1900, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=10, max_size=40))
def test_mvc_does_what_git_does_for_long(steps):
    play(steps)


STORIES = {
    "merges": "plant diverge diverge merge commit diverge merge commit edit commit tag checkout branch_move",
    "picks": "plant commit diverge edit commit diverge cherry_pick commit revert commit reset switch restore",
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_so_does_the_program(story):
    steps = [Step(name, 3 * at + 1, 2 * at + 1, at + 2) for at, name in enumerate(story.split())]
    play(steps, Program)
