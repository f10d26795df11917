"""What a listing holds, in which order, and how it is drawn; ``git log`` on random graphs is the oracle."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from history_memory import MemoryReader, MemoryRefs
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mvc.cli.graphlines import Drawing
from mvc.errors import RevisionNotFound
from mvc.history.listing import Listing, list_commits
from mvc.history.pathlog import Place
from mvc.history.selection import select
from mvc.objectid import CommitId

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
PATHS = ("a", "d/b", "d/c")
BEGAN = 1_700_000_000
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: every try starts Git a dozen times."""
ASYMMETRIC = ("b", "b", "^", "..")
"""For paths: which parent of a merge Git drops depends on what it happens to have read by then, and looking
for the merge bases of A...B reads more."""


@dataclass
class Graph:
    """Commits by number: seconds since the beginning, parents, and what each file holds (0: not there)."""

    times: list[int] = field(default_factory=list)
    parents: list[list[int]] = field(default_factory=list)
    files: list[tuple[int, ...]] = field(default_factory=list)


@st.composite
def graphs(draw: st.DrawFn, most: int = 24, octopus: int = 3) -> Graph:
    """Clocks run forwards along every line; where they do not, Git may show a parent before its child."""
    graph = Graph()
    for number in range(draw(st.integers(1, most))):
        back = draw(st.lists(st.integers(1, 8), max_size=octopus, unique=True))
        parents = [number - distance for distance in back if distance <= number]
        latest = max((graph.times[parent] for parent in parents), default=0)
        graph.times.append(latest + draw(st.integers(1, 4)))
        graph.parents.append(parents)
        inherited = graph.files[draw(st.sampled_from(parents))] if parents else (0,) * len(PATHS)
        changed = draw(st.integers(-3, len(PATHS) - 1))
        graph.files.append(
            tuple(
                draw(st.integers(0, 2)) if place == changed else content
                for place, content in enumerate(inherited)
            )
        )
    return graph


class Both:
    """The same graph in a repository of Git's and in memory; the branch ``bN`` is commit N."""

    def __init__(self, graph: Graph, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")
        self.reader, self.refs = MemoryReader(), MemoryRefs()
        self.ids: list[CommitId] = []
        stream = ""
        for number, parents in enumerate(graph.parents):
            stream += f"commit refs/heads/b{number}\nmark :{number + 1}\n"
            stream += f"committer A <a@b> {BEGAN + graph.times[number]} +0000\n"
            stream += f"data {len(str(number))}\n{number}\n"
            for place, parent in enumerate(parents):
                stream += f"{'merge' if place else 'from'} :{parent + 1}\n"
            stream += "deleteall\n"
            for path, content in zip(PATHS, graph.files[number], strict=True):
                if content:
                    stream += f"M 644 inline {path}\ndata 1\n{content}\n"
            a, b, c = (self.reader.file(str(content)) if content else None for content in graph.files[number])
            inner = {name: item for name, item in (("b", b), ("c", c)) if item}
            outer = {"a": a} if a else {}
            if inner:
                outer["d"] = self.reader.tree(**inner)
            tree = self.reader.tree(**outer)
            at = BEGAN + graph.times[number]
            above = [self.ids[parent] for parent in parents]
            self.ids.append(self.reader.commit(*above, time=at, message=str(number), tree=tree))
            self.refs.set(f"refs/heads/b{number}", self.ids[-1])
        self.git("fast-import", "--quiet", input=stream)

    def git(self, *words: str, input: str | None = None) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "TZ": "UTC",
        }
        return subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            input=input,
        ).stdout

    def listed(self, words: list[str], **options: object) -> Iterator[str]:
        wanted = options.pop("wanted", lambda _identity, _commit: True)
        listing = Listing(select(words, self.reader, self.refs), **options)
        return (item.commit.message for item in list_commits(self.reader, listing, wanted))

    def drawn(self, words: list[str], **options: object) -> list[str]:
        listing = Listing(select(words, self.reader, self.refs), order="topo", connected=True, **options)
        drawing, lines = Drawing(), []
        for item in list_commits(self.reader, listing, lambda _identity, _commit: True):
            drawing.add(item.id, item.parents)
            on_it = False
            while not on_it:
                line, on_it = drawing.next_line()
                lines.append(line + item.commit.message if on_it else line)
            lines += drawing.rest()
        return [line.rstrip() for line in lines]


def both(graph: Graph, folder: str) -> Both:
    return Both(graph, Path(folder))


@st.composite
def questions(
    draw: st.DrawFn, graph: Graph, kinds: tuple[str, ...] = ("b", "b", "^", "..", "...")
) -> list[str]:
    """Revisions and ranges."""
    number = st.integers(0, len(graph.times) - 1)
    words = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        one, two = draw(number), draw(number)
        words.append({"b": f"b{one}", "^": f"^b{one}"}.get(kind, f"b{one}{kind}b{two}"))
    if all(word.startswith("^") for word in words):
        words.append(f"b{len(graph.times) - 1}")
    return words


@needs_git
@settings(deadline=None, max_examples=15, phases=PHASES)
@given(st.data())
def test_lists_what_git_lists_in_its_order(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    with tempfile.TemporaryDirectory() as folder:
        repository = both(graph, folder)
        for _ in range(2):
            words = data.draw(questions(graph))
            for flags, options in (
                ([], {}),
                (["--first-parent"], {"first_parent": True}),
                (["--topo-order"], {"order": "topo"}),
                (["--date-order"], {"order": "date"}),
                (["--merges"], {"wanted": lambda _id, commit: len(commit.parents) > 1}),
                (["--no-merges"], {"wanted": lambda _id, commit: len(commit.parents) < 2}),
                ([f"--since=@{BEGAN + 9}"], {"since": BEGAN + 9}),
            ):
                theirs = repository.git("log", "--format=%s", *flags, *words, "--").split()
                assert list(repository.listed(words, **options)) == theirs, (words, flags)


@needs_git
@settings(deadline=None, max_examples=15, phases=PHASES)
@given(st.data())
def test_simplifies_to_paths_as_git_does(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    with tempfile.TemporaryDirectory() as folder:
        repository = both(graph, folder)
        for _ in range(3):
            words = data.draw(questions(graph, ASYMMETRIC))
            paths = data.draw(st.lists(st.sampled_from([*PATHS, "d", "x"]), min_size=1, max_size=2))
            places = tuple(map(Place, paths))
            for flags, options in (
                ([], {}),
                (["--topo-order"], {"order": "topo"}),
                (["--first-parent"], {"first_parent": True}),
            ):
                if "--first-parent" in flags:
                    # Git lets a second parent that is named behind a ^ decide whether anything changed
                    words = [f"b{len(graph.times) - 1}", "b0"]
                theirs = repository.git("log", "--format=%s", *flags, *words, "--", *paths).split()
                assert list(repository.listed(words, places=places, **options)) == theirs, (
                    words,
                    flags,
                    paths,
                    graph,
                )


@needs_git
@settings(deadline=None, max_examples=15, phases=PHASES)
@given(st.data())
def test_draws_what_git_draws(data: st.DataObject) -> None:
    graph = data.draw(graphs(most=30, octopus=5))
    last = f"b{len(graph.times) - 1}"
    branches = [f"b{number}" for number in range(len(graph.times))]
    with tempfile.TemporaryDirectory() as folder:
        repository = both(graph, folder)
        for words in ([last], branches[-5:], data.draw(questions(graph, ASYMMETRIC))):
            for flags, paths, options in (
                ([], [], {}),
                (["--first-parent"], [], {"first_parent": True}),
                ([], ["d"], {"places": (Place("d"),)}),
            ):
                theirs = repository.git("log", "--graph", "--format=%s", *flags, *words, "--", *paths)
                expected = [line.rstrip() for line in theirs.splitlines()]
                assert repository.drawn(words, **options) == expected, (words, flags, paths)


@needs_git
@pytest.mark.parametrize("parents", [2, 3, 4, 9, 64])
def test_draws_an_octopus(parents: int, tmp_path: Path) -> None:
    graph = Graph()
    graph.times, graph.parents, graph.files = [0], [[]], [(1, 0, 0)]
    for number in range(1, parents + 1):
        graph.times.append(number)
        graph.parents.append([0])
        graph.files.append((1, 0, 0))
    graph.times += [parents + 1, parents + 2, parents + 3]
    graph.parents += [list(range(1, parents + 1)), [0], [parents + 1, parents + 2]]
    graph.files += [(1, 0, 0)] * 3
    repository = Both(graph, tmp_path)
    for words in ([f"b{parents + 3}"], [f"b{parents + 2}", f"b{parents + 1}"]):
        theirs = repository.git("log", "--graph", "--format=%s", *words)
        assert repository.drawn(words) == [line.rstrip() for line in theirs.splitlines()]


@needs_git
def test_draws_a_criss_cross(tmp_path: Path) -> None:
    graph = Graph([0, 1, 2], [[], [0], [0]], [(1, 0, 0)] * 3)
    for step in range(6):
        one, two = 1 + 2 * step, 2 + 2 * step
        graph.times += [one + 2, two + 2]
        graph.parents += [[one, two], [two, one]]
        graph.files += [(1, 0, 0)] * 2
    repository = Both(graph, tmp_path)
    theirs = repository.git("log", "--graph", "--format=%s", "b13", "b14")
    assert repository.drawn(["b13", "b14"]) == [line.rstrip() for line in theirs.splitlines()]


# --- without Git -------------------------------------------------------------------------------------------
@pytest.fixture
def line() -> tuple[MemoryReader, MemoryRefs, list[CommitId]]:
    """Five commits in a line, HEAD at the last."""
    reader, refs, ids = MemoryReader(), MemoryRefs(), []
    for number in range(5):
        ids.append(reader.commit(*ids[-1:], time=number, message=str(number)))
    refs.set("refs/heads/main", ids[-1])
    refs.set("refs/heads/old", ids[1])
    return reader, refs, ids


def texts(line: tuple[MemoryReader, MemoryRefs, list[CommitId]], *words: str) -> str:
    reader, refs, _ = line
    listing = Listing(select(words, reader, refs))
    return "".join(item.commit.message for item in list_commits(reader, listing, lambda _i, _c: True))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "43210"),
        (["^old"], "432"),
        (["old.."], "432"),
        (["..old"], ""),
        (["old..main"], "432"),
        (["main", "^main~2", "^old"], "43"),
        (["main^!"], "4"),
        (["main^@"], "3210"),
        (["old...main"], "432"),
        (["main", "old"], "43210"),
    ],
)
def test_words(
    line: tuple[MemoryReader, MemoryRefs, list[CommitId]], words: list[str], expected: str
) -> None:
    assert texts(line, *words) == expected


@pytest.mark.parametrize("word", ["nosuch", "old..nosuch", "^nosuch", "nosuch...", "..", "nosuch^!"])
def test_unknown_names_are_refused(line: tuple[MemoryReader, MemoryRefs, list[CommitId]], word: str) -> None:
    with pytest.raises(RevisionNotFound):
        texts(line, word)


def test_clocks_that_ran_wrong_put_no_parent_before_its_child() -> None:
    reader, refs = MemoryReader(), MemoryRefs()
    root = reader.commit(time=5, message="root")
    late = reader.commit(root, time=100, message="late")
    early = reader.commit(late, time=1, message="early")
    refs.set("refs/heads/main", early)
    refs.set("refs/heads/late", late)
    refs.set("refs/heads/root", root)
    found = list_commits(
        reader, Listing(select(["main", "late", "^root"], reader, refs)), lambda _i, _c: True
    )
    assert [item.commit.message for item in found] == ["early", "late"]


def test_a_short_range_reads_little_of_a_long_history() -> None:
    reader, refs, tip = MemoryReader(), MemoryRefs(), None
    for number in range(2000):
        tip = reader.commit(*([tip] if tip else []), time=number, message=str(number))
    refs.set("refs/heads/main", tip)
    selection = select(["main~5..main"], reader, refs)
    reader.reads.clear()
    found = list_commits(reader, Listing(selection), lambda _i, _c: True)
    assert [item.commit.message for item in found] == ["1999", "1998", "1997", "1996", "1995"]
    assert reader.reads["commit"] < 200
