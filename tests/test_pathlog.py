"""Which versions touched a path or a tensor: against Git, by tensors, and what is read to tell."""

import os
import shutil
import subprocess

import pytest
from history_memory import MemoryReader
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tensordiff import store, vector

from mvc.errors import ObjectMissing
from mvc.history.listing import Listing, Place, list_commits
from mvc.history.selection import Selection
from mvc.history.treediff import FileEntry, build_tree
from mvc.objectid import CommitId, ManifestId
from mvc.objects import EXECUTABLE, FILE, TreeEntry

PATHS = ("a", "d/b", "d/e/c")
QUERIES = ("a", "d", "d/b", "d/e", "d/e/c", "nowhere", "d/b/nowhere", "")


@pytest.fixture
def reader():
    return MemoryReader()


def tree_of(reader, files):
    """A tree of files by path: texts, executable where the text ends in ``!``."""
    entries: dict[str, FileEntry] = {
        path: TreeEntry("", EXECUTABLE if text.endswith("!") else FILE, reader.file(text))
        for path, text in files.items()
    }
    return build_tree(entries, reader.put)


def listed(reader, starts, *places, first_parent=False):
    listing = Listing(Selection(tuple(starts)), places=places, first_parent=first_parent)
    return (one.commit.message for one in list_commits(reader, listing, lambda _id, _commit: True))


def touching(reader, starts, *place):
    return list(listed(reader, starts, Place(*place)))


# A version: how far back its parents lie, and the text at each path ("" is no file).
version = st.tuples(
    st.lists(st.integers(1, 4), max_size=3, unique=True),
    st.tuples(*[st.sampled_from(("", "x", "y", "y!"))] * len(PATHS)),
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@settings(deadline=None, max_examples=25)
@given(st.lists(version, min_size=1, max_size=14))
def test_as_git_log_of_a_path(tmp_path_factory, versions):
    folder = tmp_path_factory.mktemp("git")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments, **options):
        return subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, **options
        ).stdout.decode()

    reader, ids, lines = MemoryReader(), [], []
    for number, (back, texts) in enumerate(versions):
        parents = [number - distance for distance in back if distance <= number]
        if number and not parents:
            parents = [number - 1]
        files = {path: text for path, text in zip(PATHS, texts, strict=True) if text}
        ids.append(
            reader.commit(
                *(ids[p] for p in parents),
                time=1000 + number,
                message=str(number),
                tree=tree_of(reader, files),
            )
        )
        lines += ["commit refs/heads/main", f"mark :{number + 1}", f"committer A <a@b> {1000 + number} +0000"]
        lines += [f"data {len(str(number))}", str(number)]
        lines += [f"{'merge' if at else 'from'} :{p + 1}" for at, p in enumerate(parents)]
        lines += ["deleteall"]
        for path, text in files.items():
            lines += [f"M {'100755' if text.endswith('!') else '100644'} inline {path}"]
            lines += ["data 1", text[0]]
    git("init", "-q", "-b", "main")
    git("fast-import", "--quiet", "--force", input=("\n".join(lines) + "\n").encode())
    for path in QUERIES:
        # Git takes the empty path as a mistake; the folder itself is asked for as '.'.
        expected = git("log", "--format=%s", "main", "--", path or ".").split()
        assert touching(reader, [ids[-1]], path) == expected, path


def test_several_places_together(reader):
    first = reader.commit(time=1, message="first", tree=tree_of(reader, {"a": "1", "b": "1"}))
    on_a = reader.commit(first, time=2, message="on a", tree=tree_of(reader, {"a": "2", "b": "1"}))
    on_c = reader.commit(on_a, time=3, message="on c", tree=tree_of(reader, {"a": "2", "b": "1", "c": "1"}))
    on_b = reader.commit(on_c, time=4, message="on b", tree=tree_of(reader, {"a": "2", "b": "2", "c": "1"}))
    assert list(listed(reader, [on_b], Place("a"), Place("b"))) == ["on b", "on a", "first"]


def test_a_merge_goes_on_with_the_parent_that_has_the_same(reader):
    base = reader.commit(time=1, message="base", tree=tree_of(reader, {"a": "1"}))
    ours = reader.commit(base, time=2, message="ours", tree=tree_of(reader, {"a": "2"}))
    theirs = reader.commit(base, time=3, message="theirs", tree=tree_of(reader, {"a": "3"}))
    merge = reader.commit(ours, theirs, time=4, message="merge", tree=tree_of(reader, {"a": "3"}))
    assert touching(reader, [merge], "a") == ["theirs", "base"]
    assert list(listed(reader, [merge], Place("a"), first_parent=True)) == ["merge", "ours", "base"]


def test_the_walk_streams(reader):
    tip = reader.commit(time=0, message="0", tree=tree_of(reader, {"a": "0"}))
    for number in range(1, 100):
        tip = reader.commit(tip, time=number, message=str(number), tree=tree_of(reader, {"a": str(number)}))
    reader.reads.clear()
    assert next(listed(reader, [tip], Place("a"))) == "99"
    assert reader.reads["tree"] == 2


def test_only_trees_on_the_path_are_read_each_once(reader):
    other = reader.tree(inner=reader.tree(x=reader.file("x")))
    tips = []
    for number in range(10):
        here = reader.tree(a=reader.file(str(number // 5)))
        tree = reader.tree(d=here, other=other, count=reader.file(str(number)))
        tips.append(reader.commit(*tips[-1:], time=number, message=str(number), tree=tree))
    reader.reads.clear()
    assert touching(reader, tips[-1:], "d/a") == ["5", "0"]
    assert reader.reads["tree"] == 10 + 2
    assert reader.reads["manifest"] == 2


def test_the_same_bytes_by_another_scanner_are_no_change(reader):
    one, two = reader.file("same"), reader.file("same", format="safetensors")
    first = reader.commit(time=1, message="first", tree=reader.tree(a=one))
    second = reader.commit(first, time=2, message="second", tree=reader.tree(a=two))
    assert touching(reader, [second], "a") == ["first"]
    assert touching(reader, [second], "") == ["first"]


def test_what_is_missing_is_reported(reader):
    gone = reader.tree(a=ManifestId(bytes(32)))
    there = reader.tree(a=reader.file("1"))
    first = reader.commit(time=1, message="first", tree=gone)
    second = reader.commit(first, time=2, message="second", tree=there)
    with pytest.raises(ObjectMissing):
        touching(reader, [second], "a")
    with pytest.raises(ObjectMissing):
        touching(reader, [CommitId(bytes(32))], "a")


class TestTensor:
    """Histories of a file with tensors ``t`` (20 bytes) and ``u`` (10 bytes)."""

    def version(self, reader, parents, data, *, cuts=((0, False),), spans=None, mode=FILE):
        spans = spans if spans is not None else (vector("t", 0, 20), vector("u", 20, 10))
        file = reader.put(store(reader, data, list(cuts), spans))
        tree = reader.tree(m=(mode, file))
        number = len([1 for identity in reader.objects if isinstance(identity, CommitId)])
        return reader.commit(*parents, time=number, message=str(number), tree=tree)

    def test_only_the_versions_that_changed_it(self, reader):
        first = self.version(reader, [], bytes(30))
        other = self.version(reader, [first], bytes(20) + b"u" * 10)
        itself = self.version(reader, [other], b"t" * 20 + b"u" * 10)
        assert touching(reader, [itself], "m", "t") == ["2", "0"]
        assert touching(reader, [itself], "m", "u") == ["1", "0"]
        assert touching(reader, [itself], "m") == ["2", "1", "0"]

    def test_mode_order_and_name_of_others_do_not_matter(self, reader):
        first = self.version(reader, [], bytes(range(30)))
        moved = self.version(
            reader,
            [first],
            bytes(range(20, 30)) + bytes(range(20)),
            cuts=((0, False), (10, False)),
            spans=(vector("v", 0, 10), vector("t", 10, 20)),
            mode=EXECUTABLE,
        )
        assert touching(reader, [moved], "m", "t") == ["0"]

    def test_form_counts(self, reader):
        first = self.version(reader, [], bytes(30))
        cast = self.version(reader, [first], bytes(30), spans=(vector("t", 0, 20, "I8"), vector("u", 20, 10)))
        shaped = self.version(
            reader, [cast], bytes(30), spans=(vector("t", 0, 10, "I16", 2), vector("u", 20, 10))
        )
        assert touching(reader, [shaped], "m", "t") == ["2", "1", "0"]

    def test_it_may_come_and_go(self, reader):
        none = self.version(reader, [], bytes(30), spans=())
        there = self.version(reader, [none], bytes(30))
        gone = self.version(reader, [there], bytes(29) + b"1", spans=(vector("u", 20, 10),))
        assert touching(reader, [gone], "m", "t") == ["2", "1"]

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((bytes(30), bytes(29) + b"\1", b"\1" + bytes(29))),
                st.lists(
                    st.tuples(st.integers(1, 29), st.booleans()), max_size=4, unique_by=lambda cut: cut[0]
                ),
                st.booleans(),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_another_cut_of_equal_bytes_is_no_change(self, versions):
        reader, tips, expected = MemoryReader(), [], []
        for number, (data, cuts, inline) in enumerate(versions):
            tips.append(self.version(reader, tips[-1:], data, cuts=[(0, inline), *sorted(cuts)]))
            if not number or versions[number - 1][0][:20] != data[:20]:
                expected.insert(0, str(number))
        assert touching(reader, tips[-1:], "m", "t") == expected

    def test_ids_that_tell_are_enough(self, reader):
        first = self.version(reader, [], bytes(30), cuts=((0, False), (20, False)))
        second = self.version(reader, [first], b"t" * 20 + bytes(10), cuts=((0, False), (20, False)))
        reader.reads.clear()
        assert touching(reader, [second], "m", "t") == ["1", "0"]
        assert reader.reads["blob"] == 0
