"""Three-way merge of trees: against Git on random trees, and what Git does not have."""

from __future__ import annotations

from collections import Counter

import pytest
from git_oracle import Git, blob_id, needs_git, tree_id
from history_memory import MemoryReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvc.history.merge3 import Content, merge_trees
from mvc.history.reader import read_manifest
from mvc.history.treediff import build_tree
from mvc.objects import EXECUTABLE, FILE, TreeEntry

LABELS = ("ours", "theirs")
NO_FOLDER_RENAMES = "merge.directoryRenames=false"


def keep_ours(path, base, ours, theirs):
    """As Git merges binary files: not at all."""
    return Content(ours, False)


class Store(MemoryReader):
    """Makes trees of plain dictionaries, and dictionaries of trees."""

    def tree_of(self, files):
        return build_tree(
            {
                path: TreeEntry("", EXECUTABLE if executable else FILE, self.file_of(data))
                for path, (data, executable) in files.items()
            },
            self.put,
        )

    def file_of(self, data):
        return self.file(data.decode("latin-1").encode("latin-1").decode("utf-8"))

    def data(self, entry):
        return b"".join(part.inline for part in read_manifest(self, entry.id).parts)

    def plain(self, entry):
        return None if entry is None else (self.data(entry), entry.mode == EXECUTABLE)


def outcome(store, merged):
    """A merge as Git tells of one."""

    def stage(entry):
        return None if entry is None else (blob_id(store.data(entry)), entry.mode == EXECUTABLE)

    tree = tree_id({path: store.plain(entry) for path, entry in merged.files.items()})
    conflicts = {c.path: [stage(c.base), stage(c.ours), stage(c.theirs)] for c in merged.conflicts}
    return tree, conflicts


# --- random trees ------------------------------------------------------------------------------------------
PATHS = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "f/a", "f/c", "a/x", "ab", "d-b"]
CONTENTS = [b"", *(bytes([n]) * 40 + b"\0" for n in range(1, 9))]

entries = st.tuples(st.sampled_from(CONTENTS), st.booleans())
trees = st.dictionaries(st.sampled_from(PATHS), entries, max_size=8)
paths = st.sampled_from(PATHS)
steps = st.one_of(
    st.tuples(st.just("set"), paths, entries),
    st.tuples(st.just("delete"), paths, st.none()),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("mode"), paths, st.none()),
)
edits = st.lists(steps, max_size=6)


def put(files, path, entry):
    """Set a file, which takes away what cannot be beside it."""
    for other in list(files):
        if other.startswith(path + "/") or path.startswith(other + "/"):
            del files[other]
    files[path] = entry


def valid(files):
    made = {}
    for path, entry in files.items():
        put(made, path, entry)
    return made


def edited(files, edits):
    files = dict(files)
    for kind, path, what in edits:
        if kind == "set":
            put(files, path, what)
        elif path in files:
            data, executable = entry = files[path]
            if kind == "mode":
                files[path] = (data, not executable)
            else:
                del files[path]
                if kind == "move":
                    put(files, what, entry)
    return files


cases = st.builds(
    lambda base, ours, theirs: (base, edited(base, ours), edited(base, theirs)),
    trees.map(valid),
    edits,
    edits,
)


def ambiguous(case):
    """Whether a side may have moved one of several equal files, or one file to several places: which one
    Git picks there hangs on the order of its hash tables. Or it moved one to where the other side made an
    equal one while it changed the old one: Git loses that change, which is a conflict here."""
    base, *sides = case
    for side in sides:
        gone = Counter(data for path, (data, _) in base.items() if path not in side)
        come = Counter(data for path, (data, _) in side.items() if path not in base)
        if any(data and gone[data] + come[data] > 2 for data in gone.keys() & come.keys()):
            return True
        if any(
            side[path] == entry
            for other in sides
            if other is not side
            for path, entry in other.items()
            if path in side and path not in base and entry[0] in gone
        ):
            return True
    return False


def compare_with_git(git, cases, **options):
    rows = []
    for base, ours, theirs in cases:
        rows += [(1, [], base), (2, [0], ours), (3, [0], theirs)]
    rows = [
        (time, [number - 1 - number % 3 + 1 for _ in parents], files)
        for number, (time, parents, files) in enumerate(rows)
    ]
    ids = git.commits(rows)
    pairs = list(zip(ids[1::3], ids[2::3], strict=True))
    for case, expected, pair in zip(cases, git.merges(pairs, NO_FOLDER_RENAMES), pairs, strict=True):
        store = Store()
        base, ours, theirs = map(store.tree_of, case)
        labels = (pair[0], pair[1])
        found = outcome(store, merge_trees(store, base, ours, theirs, keep_ours, labels=labels))
        assert found == tuple(expected), (case, git.run("ls-tree", "-r", expected.tree).decode())


@pytest.fixture(scope="module")
def git(tmp_path_factory):
    return Git(tmp_path_factory.mktemp("git"))


@needs_git
@settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))
@given(st.lists(cases, min_size=20, max_size=40))
def test_random_trees_merge_as_in_git(git, cases):
    compare_with_git(git, cases)
