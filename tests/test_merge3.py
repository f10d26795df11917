"""Three-way merge of trees: against Git on random trees, and what Git does not have."""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random
from time import perf_counter

import pytest
from git_oracle import Git, blob_id, needs_git, tree_id
from history_memory import MemoryReader
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.history.ancestry import merge_bases
from mvc.history.merge3 import VIRTUAL_LABELS, Content, merge_commits, merge_trees
from mvc.history.reader import read_manifest
from mvc.history.text_merge import merge_text
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

    def base(entry):
        return None if entry is None or not store.data(entry) else stage(entry)

    tree = tree_id({path: store.plain(entry) for path, entry in merged.files.items()})
    conflicts = {c.path: [base(c.base), stage(c.ours), stage(c.theirs)] for c in merged.conflicts}
    return tree, conflicts


# --- random trees ------------------------------------------------------------------------------------------
PATHS = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "f/a", "f/c", "a/x", "ab", "d-b"]
CONTENTS = [b"", *(bytes([n]) * 40 + b"\0" for n in range(1, 9))]


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


def random_case(random):
    """A base and what two sides made of it."""
    contents = CONTENTS[: random.choice((3, 9))]

    def entry():
        return random.choice(contents), random.random() < 0.2

    def edits():
        for _ in range(random.randint(0, 4)):
            kind = random.choice(("set", "delete", "move", "move", "mode"))
            path = random.choice(list(base) or PATHS) if random.random() < 0.6 else random.choice(PATHS)
            yield kind, path, entry() if kind == "set" else random.choice(PATHS)

    base = valid({random.choice(PATHS): entry() for _ in range(random.randint(0, 8))})
    return base, edited(base, edits()), edited(base, edits())


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


@pytest.fixture(scope="module")
def git(tmp_path_factory):
    return Git(tmp_path_factory.mktemp("git"))


def compare_trees(git, cases):
    """Merge each case (base, ours, theirs) here and there; how many had conflicts."""
    rows = []
    for number, (base, ours, theirs) in enumerate(cases):
        rows += [(1, [], base), (2, [3 * number], ours), (3, [3 * number], theirs)]
    ids = git.commits(rows)
    pairs = list(zip(ids[1::3], ids[2::3], strict=True))
    for case, expected, pair in zip(cases, git.merges(pairs, NO_FOLDER_RENAMES), pairs, strict=True):
        store = Store()
        base, ours, theirs = map(store.tree_of, case)
        merged = merge_trees(store, base, ours, theirs, keep_ours, labels=pair)
        assert outcome(store, merged) == tuple(expected), case
        yield bool(expected.conflicts)


@needs_git
@settings(deadline=None, max_examples=3)
@given(st.integers(0, 1 << 32))
def test_random_trees_merge_as_in_git(git, seed):
    random = Random(seed)
    cases = [case for case in (random_case(random) for _ in range(150)) if not ambiguous(case)]
    assert len(list(compare_trees(git, cases))) > 100


@needs_git
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_random_trees_merge_as_in_git(git, seed):
    random = Random(seed)
    cases = [case for case in (random_case(random) for _ in range(1_000)) if not ambiguous(case)]
    assert sum(compare_trees(git, cases)) > 100


# --- histories that cross ----------------------------------------------------------------------------------
def random_history(random, numbers):
    """Commits (time, parents, tree) of two lanes that keep merging each other in part; no file is moved."""

    def fresh():
        return b"%d\0" % next(numbers), random.random() < 0.1

    rows = [(1, [], valid({random.choice(PATHS): fresh() for _ in range(6)}))]
    for number in range(1, random.randint(4, 14)):
        parents = [number - 1] if number < 3 else [number - 2]
        if number >= 3 and random.random() < 0.7:
            parents.append(number - 1 if random.random() < 0.15 else number - 3)
        files = dict(rows[parents[0]][2])
        for path, entry in rows[parents[-1]][2].items():
            if random.random() < 0.5:
                put(files, path, entry)
        for _ in range(random.randint(0, 3)):
            path = random.choice(list(files) or PATHS) if random.random() < 0.7 else random.choice(PATHS)
            if random.random() < 0.6:
                put(files, path, fresh())
            else:
                files.pop(path, None)
        rows.append((random.randint(1, 6) if random.random() < 0.3 else number + 1, parents, files))
    return rows


def git_merges(git, histories):
    """Each history, what Git makes of its last two commits, and their ids."""
    rows, starts = [], []
    for history in histories:
        starts.append(len(rows))
        rows += [(time, [starts[-1] + p for p in parents], files) for time, parents, files in history]
    ids = git.commits(rows)
    ends = [start + len(history) for start, history in zip(starts, histories, strict=True)]
    pairs = [(ids[end - 1], ids[end - 2]) for end in ends]
    return zip(histories, git.merges(pairs, NO_FOLDER_RENAMES), pairs, strict=True)


def grown(history):
    """A store with a history's commits, and their ids."""
    store, made = Store(), []
    for time, parents, files in history:
        above = [made[p] for p in parents]
        made.append(store.commit(*above, time=time, tree=store.tree_of(files), message=str(len(made))))
    return store, made


def compare_histories(git, histories):
    """Merge the last two commits of each here and there; how many had several bases."""
    found = 0
    for history, expected, pair in git_merges(git, histories):
        store, made = grown(history)
        merged = merge_commits(store, *made[:-3:-1], keep_ours, labels=pair, put_tree=store.put)
        assert outcome(store, merged) == tuple(expected), history
        found += len(merge_bases(store, *made[:-3:-1])) > 1
    return found


@needs_git
@settings(deadline=None, max_examples=2)
@given(st.integers(0, 1 << 32))
def test_histories_that_cross_merge_as_in_git(git, seed):
    random, numbers = Random(seed), count()
    compare_histories(git, [random_history(random, numbers) for _ in range(60)])


@needs_git
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_histories_that_cross_merge_as_in_git(git, seed):
    random, numbers = Random(seed), count()
    assert compare_histories(git, [random_history(random, numbers) for _ in range(500)]) > 100


def random_text_history(random, numbers):
    """As :func:`random_history`, of one text whose lines all differ."""

    def lines(count):
        return [b"%d line\n" % next(numbers) for _ in range(count)]

    texts, rows = [lines(12)], [(1, [])]
    for number in range(1, random.randint(5, 12)):
        parents = [number - 1] if number < 3 else [number - 2, number - 3][: random.choice((1, 2, 2))]
        text = list(texts[parents[0]])
        if len(parents) > 1 and random.random() < 0.6:
            stages = (b"".join(texts[n]) for n in (0, *parents))
            text = merge_text(*stages, favour=random.choice(("ours", "theirs"))).data.splitlines(
                keepends=True
            )
        for _ in range(random.randint(0, 2)):
            start = random.randint(0, len(text))
            text[start : start + random.randint(0, 2)] = lines(random.randint(0, 2))
        texts.append(text)
        rows.append((number + 1, parents))
    return [
        (time, parents, {"f": (b"".join(text), False)})
        for (time, parents), text in zip(rows, texts, strict=True)
    ]


@needs_git
def test_texts_of_histories_that_cross_are_marked_as_in_git(git):
    """The same text with the same markers; in virtual bases Git's markers are longer, which shows nowhere."""
    random, numbers = Random(7), count()
    histories = [random_text_history(random, numbers) for _ in range(100)]

    def by_lines(store, labels):
        def content(path, base, ours, theirs):
            entries = (TreeEntry(path, FILE, identity) for identity in (base, ours, theirs))
            stages = (b"" if entry.id is None else store.data(entry) for entry in entries)
            found = merge_text(*stages, labels=labels)
            return Content(store.file_of(found.data), not found.conflicts)

        return content

    marked = several = 0
    for history, expected, pair in git_merges(git, histories):
        store, made = grown(history)
        merged = merge_commits(
            store,
            *made[:-3:-1],
            by_lines(store, pair),
            labels=pair,
            put_tree=store.put,
            virtual=by_lines(store, VIRTUAL_LABELS),
        )
        tree, conflicts = outcome(store, merged)
        assert (tree, conflicts.keys()) == (expected.tree, expected.conflicts.keys()), history
        marked += bool(conflicts)
        several += len(merge_bases(store, *made[:-3:-1])) > 1
    assert marked > 20
    assert several > 20


def test_a_deep_criss_cross_ends_and_does_not_overflow_the_stack():
    """Two lanes of 600 commits each, merged with each other at every step and in conflict all the way."""
    store = Store()
    left = right = store.commit(time=0, tree=store.tree_of({"f": (b"0", False)}))
    for number in range(1, 600):
        files = ({"f": (b"%d %d" % (number, side), False), "g": (b"g", False)} for side in (0, 1))
        trees = [store.tree_of(side) for side in files]
        left, right = (
            store.commit(left, right, time=number, message="l", tree=trees[0]),
            store.commit(right, left, time=number, message="r", tree=trees[1]),
        )
    merged = merge_commits(store, left, right, keep_ours, labels=LABELS, put_tree=store.put)
    assert [(c.path, c.kind) for c in merged.conflicts] == [("f", "content")]
    assert store.data(merged.files["f"]) == b"599 0"


# --- what is said of a conflict, and what is read ----------------------------------------------------------
def merged(base, ours, theirs, content=keep_ours, **options):
    store = Store()
    trees = [
        None if files is None else store.tree_of({p: (d, False) for p, d in files.items()})
        for files in (base, ours, theirs)
    ]
    return store, merge_trees(store, *trees, content, labels=LABELS, **options)


KINDS = {
    "content": ({"a": b"1"}, {"a": b"2"}, {"a": b"3"}, {"a"}, {"a": b"2"}),
    "add/add": ({}, {"a": b"2"}, {"a": b"3"}, {"a"}, {"a": b"2"}),
    "modify/delete": ({"a": b"1"}, {}, {"a": b"3"}, {"a"}, {"a": b"3"}),
    "rename/delete": ({"a": b"1"}, {"b": b"1"}, {}, {"b"}, {"b": b"1"}),
    "rename/rename": ({"a": b"1"}, {"b": b"1"}, {"c": b"1"}, {"a", "b", "c"}, {"b": b"1", "c": b"1"}),
    "file/folder": ({}, {"a": b"1"}, {"a/b": b"2"}, {"a~ours"}, {"a~ours": b"1", "a/b": b"2"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_conflict(kind):
    base, ours, theirs, where, left = KINDS[kind]
    store, found = merged(base, ours, theirs)
    assert {c.path for c in found.conflicts} == where
    assert {c.kind for c in found.conflicts} == {kind}
    assert {path: store.data(entry) for path, entry in found.files.items()} == left


def test_both_set_a_mode():
    store = Store()
    base, ours, theirs = (
        store.tree_of({"a": entry, "b": (b"", False)})
        for entry in ((b"1", False), (b"1", True), (b"2", False))
    )
    found = merge_trees(store, base, ours, theirs, keep_ours, labels=LABELS)
    assert not found.conflicts
    assert store.plain(found.files["a"]) == (b"2", True)
    found = merge_trees(store, None, ours, base, keep_ours, labels=LABELS)
    assert [(c.path, c.kind) for c in found.conflicts] == [("a", "add/add")]


def test_a_moved_file_takes_the_other_sides_change_along():
    store, found = merged({"a": b"1"}, {"d/b": b"1"}, {"a": b"2"})
    assert not found.conflicts
    assert {path: store.data(entry) for path, entry in found.files.items()} == {"d/b": b"2"}
    store, found = merged({"a": b"1"}, {"d/b": b"1"}, {"a": b"2"}, renames=False)
    assert [(c.path, c.kind) for c in found.conflicts] == [("a", "modify/delete")]


def test_many_equal_files_are_moved_in_no_time():
    """Each to where its name is found, or else to the first place that is left."""
    files = {f"d/{n:05}": b"same" for n in range(4_000)}
    ours = {f"e/{n:05}": b"same" for n in range(2_000, 6_000)}
    began = perf_counter()
    _, found = merged(files, ours, {**files, "d/03000": b"changed"})
    assert perf_counter() - began < 20
    assert not found.conflicts
    assert found.files.keys() == ours.keys()
    ids = {path: entry.id for path, entry in found.files.items()}
    assert [path for path in ids if ids[path] != ids["e/02000"]] == ["e/03000"]


def test_a_change_is_not_lost_where_both_have_the_same_new_file():
    """Ours moved ``a`` to ``b``; theirs copied it there and changed it. Git 2.39 forgets the change."""
    store, found = merged({"a": b"1"}, {"b": b"1"}, {"a": b"2", "b": b"1"})
    assert [(c.path, c.kind) for c in found.conflicts] == [("a", "modify/delete")]
    assert {path: store.data(entry) for path, entry in found.files.items()} == {"a": b"2", "b": b"1"}


def test_what_moves_aside_finds_a_free_name_that_may_be_used():
    _, found = merged({}, {"a": b"1", "a~ours": b"x"}, {"a/b": b"2"})
    assert set(found.files) == {"a~ours_0", "a~ours", "a/b"}
    store = Store()
    ours, theirs = (store.tree_of({p: (b"1", False)}) for p in ("a", "a/b"))
    for label, expected in (("feature/x", "a~feature_x"), ("no:colon", "a~ours"), ("x" * 254, "a~ours")):
        found = merge_trees(store, None, ours, theirs, keep_ours, labels=(label, "theirs"))
        assert set(found.files) == {expected, "a/b"}


def test_details_and_merged_content_come_from_the_content_merger():
    asked = []

    def content(path, base, ours, theirs):
        asked.append((path, base is None))
        return Content(theirs, path != "b", ("t1", "t2") if path == "b" else ())

    store, found = merged(
        {"a": b"1", "b": b"1", "e": b""},
        {"a": b"2", "b": b"2", "e": b"2"},
        {"a": b"3", "b": b"3", "e": b"3"},
        content,
    )
    assert asked == [("a", False), ("b", False), ("e", True)]
    assert [(c.path, c.details) for c in found.conflicts] == [("b", ("t1", "t2"))]
    assert store.data(found.files["a"]) == b"3"


def test_manifests_of_files_that_one_side_left_alone_are_not_read():
    files = {f"d{n}/f{m}": b"%d %d\0" % (n, m) for n in range(20) for m in range(20)}
    store = Store()
    trees = [
        store.tree_of({p: (d, False) for p, d in side.items()})
        for side in (files, {**files, "d1/f1": b"ours"}, {**files, "d2/f2": b"theirs"})
    ]
    store.reads.clear()
    found = merge_trees(store, *trees, keep_ours, labels=LABELS)
    assert not found.conflicts
    assert store.reads["manifest"] == 0
    assert store.reads["tree"] <= 21 + 2 * 4  # ours is listed; of the others, what differs


def test_what_differs_by_its_scanner_only_is_no_change():
    """Base and ours describe the same bytes with different manifests: theirs is taken."""
    store = Store()
    files = [store.file("x"), store.file("x", format="torch"), store.file("y")]
    trees = [store.tree(a=file) for file in files]
    found = merge_trees(store, *trees, keep_ours, labels=LABELS)
    assert not found.conflicts
    assert found.files["a"].id == files[2]
