"""Which version last changed each tensor and each line: against a simple definition, and against Git."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from random import Random

import msgpack
import pytest
from history_memory import MemoryReader
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_tensordiff import store, vector

from mvc.errors import CorruptObject
from mvc.fileio import FileIO
from mvc.history.blame import blame
from mvc.history.lines import LineComparison
from mvc.history.reader import read_commit
from mvc.history.revisions import lookup_path
from mvc.history.rows import REST, Row, RowComparison
from mvc.history.treediff import build_tree, diff_trees, pair_renames
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.objects import FILE, Person, Timestamp, TreeEntry
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.spans import Span
from tests.make_files import safetensors_bytes
from tests.test_cli import fails, ok, run  # noqa: F401  run is a fixture


@pytest.fixture
def reader():
    return MemoryReader()


def file_of(reader, tensors, rest="", *, reverse=False, cut=True):
    """A file of tensors by name, of 4 bytes each, behind a header that names them."""
    names = sorted(tensors, reverse=reverse)
    header = json.dumps([rest, names]).encode()
    spans = [vector(name, len(header) + 4 * number, 4) for number, name in enumerate(names)]
    cuts = [(0, True), *([(span.offset, False) for span in spans] if cut else [])]
    data = header + b"".join(tensors[name].encode().ljust(4) for name in names)
    return reader.put(store(reader, data, cuts, spans))


def commit_of(reader, parents, files, time):
    entries = {path: TreeEntry("", FILE, file) for path, file in files.items()}
    tree = build_tree(entries, reader.put)
    return reader.commit(*parents, time=time, message=str(time), tree=tree)


def blamed(reader, start, path, *, rows=None, **options):
    """Message of the blamed version by tensor name (None: the rest)."""
    entry = lookup_path(reader, read_commit(reader, start).tree, path)
    comparison = RowComparison(reader)
    rows = comparison.rows(entry.id) if rows is None else rows
    found = list(blame(reader, start, path, entry.id, rows, comparison, **options))
    assert sorted(item.row for item in found if item.row != REST) == sorted(
        row for row in rows if row != REST
    )
    return {item.row.tensor: item.commit.message for item in found}


# --- against the definition --------------------------------------------------------------------------------
class Oracle:
    """Blame by its definition, one row at a time, on versions held as plain values."""

    def __init__(self, reader, ids, parents, files):
        self.reader, self.ids, self.parents, self.files = reader, ids, parents, files

    def blame(self, number, path, row):
        here = self.files[number][path]
        origins = [(p, path) for p in self.parents[number]]
        for attempt in range(2):
            for parent, name in origins:
                if self.files[parent].get(name) == here:
                    return self.blame(parent, name, row)
            if not attempt:
                origins = [self.origin(p, number, path) for p in self.parents[number]]
        for parent, name in origins:
            before = self.files[parent].get(name)
            if before is not None and self.value(before, row) == self.value(here, row):
                return self.blame(parent, name, row)
        return str(number)

    def value(self, file, row):
        tensors, rest = file
        return (sorted(tensors), rest) if row is None else tensors.get(row)

    def origin(self, parent, number, path):
        if path in self.files[parent]:
            return parent, path
        trees = [read_commit(self.reader, self.ids[n]).tree for n in (parent, number)]
        changes = pair_renames(self.reader, diff_trees(self.reader, *trees))
        moved = {change.old_path for change in changes}
        for change in changes:
            if change.path == path and change.old_path is not None:
                return parent, change.old_path
        tensors = self.files[number][path][0]
        best = (0.5, None)
        for name in sorted(self.files[parent].keys() - self.files[number].keys() - moved):
            old = self.files[parent][name][0]
            share = sum(old.get(key) == value for key, value in tensors.items()) / max(len(tensors), 1)
            if share > best[0] or (share == best[0] and best[1] is None):
                best = (share, name)
        return parent, best[1]


content = st.tuples(
    st.dictionaries(st.sampled_from("tuvw"), st.sampled_from(("1", "2")), max_size=4),
    st.sampled_from(("", "x")),
)
version = st.tuples(
    st.lists(st.integers(1, 3), max_size=2, unique=True),
    st.dictionaries(st.sampled_from(("a", "b", "d/c")), content, max_size=2),
    st.booleans(),
)


@example([([], {"a": ({"t": "1"}, "")}, False), ([], {"d/c": ({"t": "1"}, "")}, True)])
@settings(deadline=None, max_examples=150)
@given(st.lists(version, min_size=1, max_size=10))
def test_any_history_with_merges_and_renames(versions):
    reader, ids, parents, files = MemoryReader(), [], [], []
    for number, (back, changes, move) in enumerate(versions):
        parents.append(
            [number - distance for distance in back if distance <= number] or [number - 1] * (number > 0)
        )
        known = dict(files[parents[-1][0]]) if parents[-1] else {}
        if move and "a" in known:
            known["b"] = known.pop("a")
        known.update(changes)
        files.append(known)
        stored = {path: file_of(reader, *file) for path, file in known.items()}
        ids.append(commit_of(reader, [ids[p] for p in parents[-1]], stored, number))
    oracle = Oracle(reader, ids, parents, files)
    for path, (tensors, _rest) in files[-1].items():
        found = blamed(reader, ids[-1], path)
        assert found == {row: oracle.blame(len(ids) - 1, path, row) for row in [*tensors, None]}


# --- rows --------------------------------------------------------------------------------------------------
cuts = st.lists(st.tuples(st.integers(1, 39), st.booleans()), max_size=5, unique_by=lambda cut: cut[0]).map(
    sorted
)
stored = st.tuples(st.lists(st.integers(0, 1), min_size=40, max_size=40), st.booleans(), cuts, st.booleans())
SPANS = {
    False: (vector("t", 4, 10), vector("u", 14, 6), vector("u", 22, 2), vector("v", 22, 12)),
    True: (vector("u", 0, 6), vector("t", 8, 10), vector("u", 22, 2), vector("w", 24, 12)),
}
STRIDED = Span(34, 5, "s", "U8", (3,), (2,))


@settings(deadline=None, max_examples=300)
@given(stored, stored, st.booleans(), st.booleans())
def test_kept_rows_are_those_with_equal_bytes(one, two, alike, same_table):
    """Whatever the cut, inline or not, overlapping or strided."""
    reader, files, values = MemoryReader(), [], []
    if alike:
        two = (two[0], *one[1:])
    if same_table:
        two = (*two[:3], one[3])
    # Half of the bytes are equal at least, so that there are rows to keep.
    two = ([a if at % 20 < 10 else b for at, (a, b) in enumerate(zip(one[0], two[0], strict=True))], *two[1:])
    for data, inline, cut, table in (one, two):
        spans = sorted([*SPANS[table], STRIDED], key=lambda span: (span.offset, span.name))
        files.append(reader.put(store(reader, bytes(data), [(0, inline), *cut], spans)))
        rows, seen, covered = {}, {}, set()
        for span in spans:
            step = 1 if span.strides is None else span.strides[0]
            row = Row(span.name, seen.get(span.name, 0))
            seen[span.name] = row.occurrence + 1
            rows[row] = data[span.offset : span.offset + span.length : step]
            covered |= set(range(span.offset, span.offset + span.length))
        rows[REST] = [value for at, value in enumerate(data) if at not in covered]
        values.append(rows)
    comparison = RowComparison(reader)
    asked = {row: row for row in comparison.rows(files[1])}
    assert asked.keys() == values[1].keys()
    assert comparison.kept(*files, asked).keys() == {
        row for row, value in values[1].items() if values[0].get(row) == value
    }


# --- cases that users meet ---------------------------------------------------------------------------------
def line(reader, *versions):
    """Versions one after the other, each a mapping of paths to files; the last one's id."""
    tips = []
    for number, files in enumerate(versions):
        tips.append(commit_of(reader, tips[-1:], files, number))
    return tips[-1]


def test_each_tensor_has_its_own_version(reader):
    tip = line(
        reader,
        {"m": file_of(reader, {"a": "1", "b": "1", "c": "1"})},
        {"m": file_of(reader, {"a": "1", "b": "2", "c": "1"})},
        {"m": file_of(reader, {"a": "1", "b": "2", "c": "2"})},
    )
    assert blamed(reader, tip, "m") == {"a": "0", "b": "1", "c": "2", None: "0"}
    assert blamed(reader, tip, "m", rows=[Row("b")]) == {"b": "1"}


def test_a_value_that_came_back_is_a_change(reader):
    first, other = file_of(reader, {"a": "1"}), file_of(reader, {"a": "2"})
    assert blamed(reader, line(reader, {"m": first}, {"m": other}, {"m": first}), "m")["a"] == "2"


def test_order_cut_and_place_do_not_matter(reader):
    tensors = {"a": "1", "b": "1", "c": "1"}
    tip = line(
        reader,
        {"m": file_of(reader, tensors)},
        {"m": file_of(reader, tensors, "metadata that moves everything", reverse=True)},
        {"m": file_of(reader, tensors, "metadata that moves everything", reverse=True, cut=False)},
    )
    assert blamed(reader, tip, "m") == {"a": "0", "b": "0", "c": "0", None: "1"}


def test_the_same_weights_in_another_container_are_followed(reader):
    tip = line(
        reader,
        {"m.bin": file_of(reader, {"a": "1", "b": "1", "c": "1"})},
        {"m.bin": file_of(reader, {"a": "1", "b": "2", "c": "1"})},
        {"m.safetensors": file_of(reader, {"a": "1", "b": "2", "c": "3"}, "other", reverse=True)},
    )
    assert blamed(reader, tip, "m.safetensors") == {"a": "0", "b": "1", "c": "2", None: "2"}


def test_less_than_half_of_the_tensors_is_another_file(reader):
    tip = line(
        reader,
        {"old": file_of(reader, {"a": "1", "b": "1", "c": "1"})},
        {"new": file_of(reader, {"a": "1", "b": "2", "c": "2"})},
    )
    assert set(blamed(reader, tip, "new").values()) == {"1"}


def test_a_copy_is_not_followed(reader):
    file = file_of(reader, {"a": "1"})
    assert blamed(reader, line(reader, {"m": file}, {"m": file, "n": file}), "n")["a"] == "1"


def test_the_same_bytes_by_another_scanner_are_followed_both_ways(reader):
    data, span = b"head" + b"tens", vector("t", 4, 4)
    known = reader.put(store(reader, data, [(0, False)], [span]))
    opaque = reader.put(store(reader, data, [(0, True)]))
    other = reader.put(store(reader, b"HEADtens", [(0, False)], [span]))
    tip = line(reader, {"m": other}, {"m": known}, {"m": opaque}, {"m": known})
    assert blamed(reader, tip, "m") == {"t": "0", None: "1"}


def test_a_merge_goes_to_the_parent_with_the_same_bytes(reader):
    base = commit_of(reader, [], {"m": file_of(reader, {"a": "1", "b": "1"})}, 0)
    ours = commit_of(reader, [base], {"m": file_of(reader, {"a": "2", "b": "1"})}, 1)
    theirs = commit_of(reader, [base], {"m": file_of(reader, {"a": "1", "b": "2"})}, 2)
    both = commit_of(reader, [ours, theirs], {"m": file_of(reader, {"a": "2", "b": "2"})}, 3)
    mixed = commit_of(reader, [ours, theirs], {"m": file_of(reader, {"a": "3", "b": "2"})}, 4)
    assert blamed(reader, both, "m") == {"a": "1", "b": "2", None: "0"}
    assert blamed(reader, mixed, "m") == {"a": "4", "b": "2", None: "0"}


def test_since_ends_the_search(reader):
    tip = line(reader, *[{"m": file_of(reader, {"a": "1", "b": str(number)})} for number in range(5)])
    entry = lookup_path(reader, read_commit(reader, tip).tree, "m")
    found = {
        item.row.tensor: (item.commit.message, item.boundary)
        for item in blame(
            reader, tip, "m", entry.id, [Row("a"), Row("b")], RowComparison(reader), since=3_000_000
        )
    }
    assert found == {"a": ("2", True), "b": ("4", False)}


def test_what_is_found_is_not_looked_for_any_more(reader):
    versions = [{"m": file_of(reader, {"a": "1" if number < 90 else str(number)})} for number in range(100)]
    tip = line(reader, *versions)
    reader.reads.clear()
    assert blamed(reader, tip, "m", rows=[Row("a")]) == {"a": "99"}
    assert reader.reads["commit"] <= 3


# --- lines -------------------------------------------------------------------------------------------------
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("seed", range(4))
def test_lines_as_git_blame(tmp_path, seed):
    """Lines that occur once, edited at random on two branches that are merged by taking lines of either."""
    random = Random(seed)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments, **options):
        return subprocess.run(
            ["git", *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True, **options
        ).stdout.decode()

    reader, ids, texts, stream = MemoryReader(), [], [], []
    for number in range(25):
        parents = [number - 1] if number else []
        if number > 3 and number % 4 == 0:
            parents.append(number - 3)
        lines = list(texts[parents[-1]]) if parents else [f"first {at}" for at in range(12)]
        for edit in range(random.randint(0 if len(parents) > 1 else 1, 3)):
            at = random.randrange(len(lines) + 1)
            lines[at : at + random.randint(0, 2)] = [
                f"{number} {edit} {n}" for n in range(random.randint(0, 2))
            ]
        texts.append(lines)
        data = "".join(f"{text}\n" for text in lines).encode()
        ids.append(
            commit_of(reader, [ids[p] for p in parents], {"t": reader.file(data.decode())}, 1000 + number)
        )
        stream += [f"commit refs/heads/main\nmark :{number + 1}\ncommitter A <a@b> {1000 + number} +0000"]
        stream += [f"data {len(str(1000 + number))}\n{1000 + number}"]
        stream += [f"{'merge' if at else 'from'} :{p + 1}" for at, p in enumerate(parents)]
        stream += [f"M 100644 inline t\ndata {len(data)}\n{data.decode()}"]
    git("init", "-q", "-b", "main")
    git("fast-import", "--quiet", "--force", input=("\n".join(stream) + "\n").encode())
    expected = [
        row.removeprefix("summary ")
        for row in git("blame", "--line-porcelain", "main", "--", "t").splitlines()
        if row.startswith("summary ")
    ]
    comparison = LineComparison(reader)
    entry = lookup_path(reader, read_commit(reader, ids[-1]).tree, "t")
    rows = range(len(comparison.lines(entry.id)))
    found = {
        item.row: item.commit.message for item in blame(reader, ids[-1], "t", entry.id, rows, comparison)
    }
    assert [found[row] for row in rows] == expected


def test_lines_tell_where_they_stood(reader):
    tip = line(
        reader, {"t": reader.file("a\nb\n")}, {"t": reader.file("x\na\nb\n")}, {"u": reader.file("x\na\nb\n")}
    )
    comparison = LineComparison(reader)
    entry = lookup_path(reader, read_commit(reader, tip).tree, "u")
    found = {
        item.row: (item.commit.message, item.path, item.there)
        for item in blame(reader, tip, "u", entry.id, range(3), comparison)
    }
    assert found == {0: ("1", "t", 0), 1: ("0", "t", 0), 2: ("0", "t", 1)}


def test_what_is_no_text_has_no_lines(reader):
    assert LineComparison(reader).lines(reader.file("a\0b")) is None
    assert LineComparison(reader).lines(reader.file("a\nb")) == [b"a\n", b"b"]
    assert LineComparison(reader).lines(reader.file("")) == []


# --- damaged descriptions ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff" * 4,
        msgpack.packb({"parts": 1, "sha256": b"", "size": 0, "tensors": []}),
        msgpack.packb({"parts": [1], "sha256": b"x", "size": 1, "tensors": []}),
        msgpack.packb({"parts": [[b"", -1]], "sha256": b"x", "size": 1, "tensors": [1]}),
        msgpack.packb({"parts": [], "sha256": b"x", "size": 1, "tensors": [1]}),
        b"\x81" + b"\x91" * 5000,
    ],
)
def test_what_is_no_manifest_is_damage(reader, data):
    known = file_of(reader, {"a": "1"})
    broken = ManifestId.of(data)
    reader.objects[broken] = data
    first = reader.commit(tree=reader.tree(m=broken))
    second = reader.commit(first, time=1, tree=reader.tree(m=known))
    with pytest.raises(CorruptObject, match="damaged"):
        blamed(reader, second, "m")


# --- on the command line -----------------------------------------------------------------------------------
@pytest.fixture
def history(run):  # noqa: F811
    """A model of two tensors and a text, each changed once; then the model is renamed."""
    ok(run("init"))
    for number, name in enumerate(("first", "second", "third")):
        data = {"w": ("F32", (100,), bytes(400)), "b": ("F32", (100,), bytes([number > 0]) * 400)}
        Path("model.safetensors").write_bytes(safetensors_bytes(data))
        Path("config.json").write_text("{\n" + '"more": 1\n' * (number > 0) + "}\n")
        if number == 2:
            Path("sub").mkdir()
            Path("model.safetensors").rename("sub/weights.safetensors")
        ok(run("commit", "-m", name, "--author", "Ada <a@b.c>"))
    return run


def test_blame_of_tensors(history):
    found = history("blame", "sub/weights.safetensors", "--json").data
    assert (found["path"], found["kind"]) == ("sub/weights.safetensors", "tensors")
    rows = [(row["tensor"], row["message"], row["path"]) for row in found["rows"]]
    assert rows == [
        ("w", "first", "model.safetensors"),
        ("b", "second", "model.safetensors"),
        (None, "first", "model.safetensors"),
    ]
    lines = ok(history("blame", "sub/weights.safetensors")).out.splitlines()
    assert [line.split()[-1] for line in lines] == ["first", "second", "first"]
    assert all("model.safetensors" in line and "Ada" in line for line in lines)


def test_blame_of_one_tensor_of_an_older_version_from_a_folder(history, monkeypatch):
    (row,) = history("blame", "model.safetensors#b", "HEAD~1", "--json").data["rows"]
    assert (row["tensor"], row["dtype"], row["shape"], row["bytes"]) == ("b", "F32", [100], 400)
    (row,) = history("blame", "model.safetensors#b", "HEAD~2", "--json").data["rows"]
    assert row["message"] == "first"
    monkeypatch.chdir("sub")
    assert len(ok(history("blame", "weights.safetensors#w")).out.splitlines()) == 1


def test_blame_since(run):  # noqa: F811
    repository = init(FileIO(), Path.cwd(), Monitor())
    for number, name in enumerate(("first", "second", "third")):
        data = {"w": ("F32", (100,), bytes(400)), "b": ("F32", (100,), bytes([number > 0]) * 400)}
        Path("model.safetensors").write_bytes(safetensors_bytes(data))
        Path("count").write_text(f"{number}\n")
        moment = Timestamp((1_700_000_000 + number) * 1_000_000, 0)
        commit(repository, Request(name, Person("Ada", "a@b.c"), moment))
    rows = run("blame", "model.safetensors", "--since", "@1700000001", "--json").data["rows"]
    assert [(row["tensor"], row["message"], row["boundary"]) for row in rows] == [
        ("w", "first", True),
        ("b", "second", False),
        (None, "first", True),
    ]
    (line,) = ok(run("blame", "count", "--since", "@1800000000")).out.splitlines()
    assert line.startswith("^")
    fails(run("blame", "count", "--since", "soon"), 2, "soon")


def test_blame_of_lines(history):
    rows = history("blame", "config.json", "--json").data["rows"]
    assert [(row["line"], row["text"], row["line_there"], row["message"]) for row in rows] == [
        (1, "{", 1, "first"),
        (2, '"more": 1', 2, "second"),
        (3, "}", 2, "first"),
    ]
    assert ok(history("blame", "config.json")).out.splitlines()[1].endswith('2  "more": 1')


def test_blame_of_what_has_neither(history):
    Path("data.bin").write_bytes(b"\0" * 100)
    Path("empty").write_text("")
    ok(history("commit", "-m", "more"))
    (row,) = history("blame", "data.bin", "--json").data["rows"]
    assert (row["tensor"], row["message"]) == (None, "more")
    assert "whole file" in ok(history("blame", "data.bin")).out
    found = history("blame", "empty", "--json").data
    assert (found["kind"], found["rows"]) == ("lines", [])


def test_blame_refuses_what_is_no_file(history):
    fails(history("blame", "nowhere"), 3, "nowhere")
    fails(history("blame", "sub"), 2, "folder")
    fails(history("blame", "."), 2)
    fails(history("blame", "config.json", "nowhere"), 3, "nowhere")
    fails(history("blame", "sub/weights.safetensors#x"), 3, "no tensor")
    fails(history("blame", "config.json", "HEAD:config.json"), 2)
