"""Differences of trees: complete, in order, lazy; renames; flat and nested forms of one thing."""

import pytest
from history_memory import MemoryReader, small_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import CorruptObject, InvalidPath, UsageError
from mvc.history import treediff
from mvc.history.treediff import build_tree, diff_trees, flatten, pair_renames
from mvc.objectid import TreeId
from mvc.objects import EXECUTABLE, FILE, FOLDER, Tree, TreeEntry
from mvc.paths import MAX_DEPTH


@pytest.fixture
def reader():
    return MemoryReader()


def entry(reader, text, mode=FILE):
    return TreeEntry("", mode, reader.file(text))


def tree_of(reader, files):
    """A tree from paths to texts, or to entries."""
    entries = {
        path: value if isinstance(value, TreeEntry) else entry(reader, value) for path, value in files.items()
    }
    return build_tree(entries, reader.put)


def diff(reader, old, new):
    trees = (None if files is None else tree_of(reader, files) for files in (old, new))
    return list(diff_trees(reader, *trees))


def summary(changes):
    return [(change.path, change.kind) for change in changes]


def test_added_removed_and_modified(reader):
    old = {"a": "1", "dir/b": "2", "dir/c": "3", "gone/deep/x": "4"}
    new = {"a": "1", "dir/b": "two", "dir/d": "5", "new/y": "6"}
    assert summary(diff(reader, old, new)) == [
        ("dir/b", "modified"),
        ("dir/c", "removed"),
        ("dir/d", "added"),
        ("gone/deep/x", "removed"),
        ("new/y", "added"),
    ]


def test_entries_are_those_of_the_trees(reader):
    (change,) = diff(reader, {"dir/b": "1"}, {"dir/b": "2"})
    assert change.old == TreeEntry("b", FILE, reader.file("1"))
    assert change.new == TreeEntry("b", FILE, reader.file("2"))
    assert not change.same_content
    assert change.old_path is None


def test_nothing_and_everything(reader):
    files = {"a": "1", "b/c": "2"}
    assert diff(reader, files, files) == []
    assert diff(reader, None, None) == []
    assert summary(diff(reader, None, files)) == [("a", "added"), ("b/c", "added")]
    assert summary(diff(reader, files, None)) == [("a", "removed"), ("b/c", "removed")]
    assert summary(diff(reader, {}, files)) == [("a", "added"), ("b/c", "added")]


def test_order_is_that_of_whole_paths(reader):
    """``a-b`` and ``a.c`` come before what is in folder ``a``, because ``-`` and ``.`` come before ``/``."""
    files = dict.fromkeys(["a/z", "a-b", "a.c", "a0", "b", "é", "Z"], "1")
    paths = [change.path for change in diff(reader, None, files)]
    assert paths == ["Z", "a-b", "a.c", "a/z", "a0", "b", "é"]
    assert list(flatten(reader, tree_of(reader, files))) == paths


def test_a_folder_in_a_files_place_and_back(reader):
    one, other = {"x": "1", "x.y": "3"}, {"x/inside": "1", "x.y": "4"}
    assert summary(diff(reader, one, other)) == [("x", "removed"), ("x.y", "modified"), ("x/inside", "added")]
    assert summary(diff(reader, other, one)) == [("x", "added"), ("x.y", "modified"), ("x/inside", "removed")]


def test_a_change_of_mode_alone_is_seen(reader):
    (change,) = diff(reader, {"run": "1"}, {"run": entry(reader, "1", EXECUTABLE)})
    assert (change.kind, change.same_content) == ("mode", True)
    (change,) = diff(reader, {"run": "1"}, {"run": entry(reader, "2", EXECUTABLE)})
    assert (change.kind, change.same_content) == ("modified", False)


class TestSameFileByAnotherScanner:
    @pytest.fixture
    def pair(self, reader):
        plain = TreeEntry("", FILE, reader.put(small_manifest(b"bytes", format="opaque")))
        scanned = TreeEntry("", FILE, reader.put(small_manifest(b"bytes", format="npy")))
        assert plain.id != scanned.id
        return plain, scanned

    def test_is_no_change(self, reader, pair):
        assert diff(reader, {"f": pair[0]}, {"f": pair[1]}) == []

    def test_with_another_mode_is_a_change_of_mode(self, reader, pair):
        executable = pair[1]._replace(mode=EXECUTABLE)
        (change,) = diff(reader, {"f": pair[0]}, {"f": executable})
        assert change.kind == "mode"

    def test_is_found_as_a_rename(self, reader, pair):
        (change,) = pair_renames(reader, diff(reader, {"f": pair[0]}, {"g": pair[1]}))
        assert (change.kind, change.old_path, change.path) == ("renamed", "f", "g")


def test_equal_folders_and_equal_manifests_are_not_read(reader):
    same = {f"same/{number}/file": "1" for number in range(50)}
    old, new = (tree_of(reader, same | {"changed/file": text, "b": "b"}) for text in ("1", "2"))
    reader.reads.clear()
    assert summary(diff_trees(reader, old, new)) == [("changed/file", "modified")]
    assert reader.reads == {"tree": 4, "manifest": 2}
    reader.reads.clear()
    assert list(diff_trees(reader, old, old)) == []
    assert reader.reads["manifest"] == 0


def test_the_first_change_comes_before_the_rest_is_read(reader):
    new = tree_of(reader, {f"{number:03}/file": "1" for number in range(500)})
    reader.reads.clear()
    assert next(diff_trees(reader, None, new)).path == "000/file"
    assert reader.reads["tree"] == 2


class TestRenames:
    def test_exact_ones_are_joined_in_place(self, reader):
        old = {"a/model": "weights", "kept": "k", "gone": "g"}
        new = {"b/model": "weights", "kept": "K", "fresh": "f"}
        changes = pair_renames(reader, diff(reader, old, new))
        assert summary(changes) == [
            ("b/model", "renamed"),
            ("fresh", "added"),
            ("gone", "removed"),
            ("kept", "modified"),
        ]
        assert changes[0].old_path == "a/model"
        assert changes[0].old.id == changes[0].new.id
        assert changes[0].same_content

    def test_another_mode_does_not_hide_one(self, reader):
        (change,) = pair_renames(reader, diff(reader, {"a": "1"}, {"b": entry(reader, "1", EXECUTABLE)}))
        assert (change.kind, change.old.mode, change.new.mode) == ("renamed", FILE, EXECUTABLE)

    def test_equal_files_keep_their_names_first_and_each_moves_once(self, reader):
        old = {"old/x": "same", "old/y": "same", "old/z": "same"}
        new = {"new/a": "same", "new/y": "same", "new/x": "same", "new/b": "same"}
        changes = pair_renames(reader, diff(reader, old, new))
        assert {change.path: change.old_path for change in changes} == {
            "new/a": "old/z",
            "new/b": None,
            "new/x": "old/x",
            "new/y": "old/y",
        }
        assert [change.kind for change in changes] == ["renamed", "added", "renamed", "renamed"]

    def test_a_copy_is_no_rename(self, reader):
        assert summary(pair_renames(reader, diff(reader, {"a": "1"}, {"a": "1", "b": "1"}))) == [
            ("b", "added")
        ]

    def test_a_file_that_moves_into_a_folder_of_its_name(self, reader):
        (change,) = pair_renames(reader, diff(reader, {"x": "1"}, {"x/x": "1"}))
        assert (change.kind, change.old_path, change.path) == ("renamed", "x", "x/x")

    def test_nothing_is_read_unless_both_sides_are_left(self, reader):
        for old, new in (({"a": "1"}, {}), ({}, {"a": "1"}), ({"a": "1"}, {"b": "1"})):
            changes = diff(reader, old, new)
            reader.reads.clear()
            pair_renames(reader, changes)
            assert reader.reads["manifest"] == 0
        changes = diff(reader, {"a": "1"}, {"b": "2"})
        reader.reads.clear()
        assert summary(pair_renames(reader, changes)) == [("a", "removed"), ("b", "added")]
        assert reader.reads["manifest"] == 2


# Few names, so that folders and files take each other's places often.
names = st.sampled_from(["a", "a-", "a.b", "b", "é"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@st.composite
def versions(draw):
    """Paths to (text, mode), no path both file and folder."""
    files = {}
    for path in draw(st.lists(paths, max_size=8)):
        if any(
            path == other or path.startswith(other + "/") or other.startswith(path + "/") for other in files
        ):
            continue
        files[path] = (draw(st.sampled_from("123")), draw(st.sampled_from([FILE, EXECUTABLE])))
    return files


def expected_kind(old, new):
    """In one word, from (text, mode) before and after."""
    if old is None or new is None:
        return "added" if old is None else "removed"
    return "mode" if old[0] == new[0] else "modified"


@settings(deadline=None, max_examples=150)
@given(versions(), versions())
def test_any_two_versions(old, new):
    reader = MemoryReader()
    before, after = (
        {path: entry(reader, text, mode) for path, (text, mode) in files.items()} for files in (old, new)
    )
    trees = [build_tree(files, reader.put) for files in (before, after)]
    for tree, files in zip(trees, (before, after), strict=True):
        flat = flatten(reader, tree)
        assert {path: item[1:] for path, item in flat.items()} == {
            path: item[1:] for path, item in files.items()
        }
        assert build_tree(flat, reader.put) == tree
    changes = list(diff_trees(reader, *trees))
    differing = sorted(
        (path for path in old.keys() | new.keys() if old.get(path) != new.get(path)), key=str.encode
    )
    assert [change.path for change in changes] == differing
    for change in changes:
        assert change.kind == expected_kind(old.get(change.path), new.get(change.path))

    # Applying what pair_renames says to the old version gives the new one.
    result = dict(before)
    joined = pair_renames(reader, changes)
    for change in joined:
        if change.kind == "renamed":
            assert result.pop(change.old_path).id == change.new.id
        elif change.new is None:
            del result[change.path]
    result |= {change.path: change.new for change in joined if change.new is not None}
    assert {path: item[1:] for path, item in result.items()} == {
        path: item[1:] for path, item in after.items()
    }
    removed = {change.old.id for change in joined if change.kind == "removed"}
    added = {change.new.id for change in joined if change.kind == "added"}
    assert not removed & added, "a rename was missed"


class TestBuildTree:
    def test_order_of_paths_does_not_matter(self, reader):
        files = {"b/c/d": "1", "a": "2", "b/a": "3"}
        trees = {tree_of(reader, files), tree_of(reader, dict(reversed(files.items())))}
        assert len(trees) == 1

    def test_inner_folders_are_put_before_those_that_name_them(self, reader):
        known = set()

        def put(tree):
            assert all(item.id in known for item in tree.entries if item.mode == FOLDER)
            identity = reader.put(tree)
            known.add(identity)
            return identity

        root = build_tree({path: entry(reader, "1") for path in ("x/y/z/1", "a", "x/2", "x/y/3", "y/4")}, put)
        assert list(flatten(reader, root)) == ["a", "x/2", "x/y/3", "x/y/z/1", "y/4"]
        assert len(known) == 5

    def test_no_files_make_the_empty_tree(self, reader):
        assert build_tree({}, reader.put) == TreeId.of(Tree(()).to_bytes())

    @pytest.mark.parametrize(
        "path", ["", "/a", "a/", "a//b", "..", "a/../b", ".git/config", "x" * 256, "\udc80"]
    )
    def test_bad_paths_are_refused(self, reader, path):
        with pytest.raises(InvalidPath):
            tree_of(reader, {"fine": "1", path: "2"})

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_path_cannot_be_file_and_folder(self, reader, order):
        files = dict([("a", "1"), ("a/b", "2"), ("c", "3")][::order])
        with pytest.raises(InvalidPath, match="'a' is a file and a folder"):
            tree_of(reader, files)

    def test_only_files_are_taken(self, reader):
        for bad in (TreeEntry("", FOLDER, reader.tree()), TreeEntry("", FOLDER, reader.file("1"))):
            with pytest.raises(UsageError):
                build_tree({"a": bad}, reader.put)

    def test_depth_is_what_paths_allow_both_ways(self, reader):
        deepest = "/".join("d" * MAX_DEPTH)
        root = tree_of(reader, {deepest: "1"})
        assert list(flatten(reader, root)) == [deepest]
        deeper = reader.tree(d=root)
        with pytest.raises(CorruptObject, match="nested deeper"):
            flatten(reader, deeper)
        with pytest.raises(CorruptObject, match="nested deeper"):
            list(diff_trees(reader, deeper, None))


def test_folders_that_claim_billions_of_files_are_refused(reader, monkeypatch):
    monkeypatch.setattr(treediff, "MAX_FILES", 5_000)
    tree = reader.tree(**{f"f{number}": reader.file("1") for number in range(10)})
    for _ in range(9):
        tree = reader.tree(**{f"d{number}": tree for number in range(10)})
    with pytest.raises(CorruptObject, match="more than 5,000 files"):
        flatten(reader, tree)
    with pytest.raises(InvalidPath, match="5,000 files"):
        tree_of(reader, {f"f{number}": "1" for number in range(5_001)})


def test_a_damaged_folder_is_reported(reader):
    damaged = reader.put_blob(TreeId, b"\x80")
    with pytest.raises(CorruptObject, match=r"tree .* is damaged"):
        flatten(reader, reader.tree(fine=reader.file("1"), inside=damaged))
