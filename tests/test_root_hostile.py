"""A root, a log or a piece that somebody made up is damage (or too new), never a crash and never obeyed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc import canonical
from mvc.backends.memory import MemoryBackend
from mvc.cli.main import main
from mvc.errors import CorruptFile, UnsupportedFeature
from mvc.objectid import CommitId, OperationId, TagId, TreeId
from mvc.objects import Person, Timestamp
from mvc.odb.index import SegmentRow
from mvc.oplog import MAX_RECENT, Operation, OpLog, RefChange, write_piece
from mvc.refs import RefPieces, RefTable, encode_target
from mvc.root import MAGIC, Fossil, Retired, Root

COMMIT = CommitId.of(b"commit")
VALUE = encode_target(COMMIT)
PIECE = bytes(range(32))
SEGMENT = bytes(range(1, 33))


def operation(n: int, parent: OperationId | None, **more: Any) -> Operation:
    changes = (RefChange("refs/heads/main", None, VALUE), RefChange("HEAD", "refs/heads/old", bytes(COMMIT)))
    trees = (TreeId.of(b"a"), TreeId.of(b"b"))
    return Operation(
        parent, f"commit {n}", Person("Ada", ""), Timestamp(n, 60), changes, bytes(16), trees, **more
    )


def log_of(count: int, backend: MemoryBackend) -> OpLog:
    log = OpLog()
    for n in range(count):
        log = log.append(operation(n, log.head), backend)
    return log


def sound() -> dict[str, Any]:
    """A root that uses everything there is."""
    backend = MemoryBackend()
    root = Root(
        head="refs/heads/main",
        refs=RefPieces(
            {
                "refs/heads/main": VALUE,
                "refs/tags/t": encode_target(TagId.of(b"t"), COMMIT),
                "refs/heads/gone": None,
            },
            (("refs/heads/a", PIECE), ("refs/tags/a", PIECE[::-1])),
        ),
        segments=(SegmentRow(SEGMENT, 1, 5, bytes(8), b"\xff" * 8),),
        oplog=log_of(3, backend),
        epoch=9,
        fossils=(Fossil(PIECE, 4, True),),
        retired=(Retired(f"segments/{'0' * 64}.seg", 9), Retired(f"pieces/{'a' * 64}.piece", 8)),
        extra={"later": {"a": [1]}},
    )
    return canonical.unpack(root.to_bytes()[len(MAGIC) : -32], "root")


def sealed(value: Any) -> bytes:
    body = MAGIC + canonical.pack(value)
    return body + blake3(body).digest()


def with_part(path: tuple[Any, ...], part: Any) -> bytes:
    value = sound()
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = part
    return sealed(value)


def test_what_we_write_is_accepted_whole():
    root = Root.from_bytes(sealed(sound()))
    assert root.extra == {"later": {"a": [1]}}
    again = Root.from_bytes(root.to_bytes())
    assert again == root and len(root.retired) == 2 and root.fossils == (Fossil(PIECE, 4, True),)
    assert Root.from_bytes(Root(head=COMMIT).to_bytes()).head == COMMIT
    assert Root.from_bytes(Root().to_bytes()).head is None


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (("retired",), [["root", 0]]),
        (("retired",), [["config", 0]]),
        (("retired",), [[f"segments/../{'0' * 64}.seg", 0]]),
        (("retired",), [[f"segments/{'0' * 64}.seg\n", 0]]),
        (("retired",), [[f"segments/{SEGMENT.hex()}.seg", 0]]),  # it is in use
        (("retired",), [[f"pieces/{PIECE.hex()}.piece", 0]]),
        (("retired", 0, 1), 10),  # later than root's own epoch
        (("retired", 0), ["only one"]),
        (("fossils", 0, 0), b"short"),
        (("fossils", 0, 2), 1),
        (("fossils", 0, 1), -1),
        (("epoch",), "x"),
        (("epoch",), -1),
        (("epoch",), True),
        (("epoch",), 1 << 63),
        (("head",), 5),
        (("head",), ""),
        (("head",), b"short"),
        (("head",), "refs/tags/t"),
        (("head",), "refs/heads/../../config"),
        (("head",), "refs/heads/\x1b[2J"),
        (("head",), "refs/heads/" + "a" * 600),
        (("nonce",), b""),
        (("nonce",), None),
        (("tombstones",), []),
        (("segments",), {}),
        (("segments", 0), [SEGMENT, 1, 5, bytes(8)]),
        (("segments", 0, 0), SEGMENT.hex()),
        (("segments", 0, 1), 1.0),
        (("segments", 0, 2), 0),
        (("segments", 0, 3), b""),
        (("segments", 0, 4), None),
        (("segments",), [[SEGMENT, 1, 5, b"\xff" * 8, bytes(8)]]),
        (("segments",), [[SEGMENT, 1, 5, bytes(8), bytes(8)], [SEGMENT, 2, 5, bytes(8), bytes(8)]]),
        (("refs",), []),
        (("refs", "more"), 1),
        (("refs", "recent"), [1]),
        (("refs", "recent"), []),
        (("refs", "recent", "refs/heads/main"), bytes(33)),
        (("refs", "recent", "refs/heads/main"), 5),
        (("refs", "recent", "refs/heads/main"), b""),
        (("refs", "recent", "main"), VALUE),
        (("refs", "recent"), {f"refs/tags/{n}": VALUE for n in range(65)}),
        (("refs", "pieces", 0, 1), b"short"),
        (("refs", "pieces", 0, 0), 5),
        (("refs", "pieces", 0, 0), "refs/tags/b"),  # out of order
        (("oplog",), []),
        (("oplog", "more"), 1),
        (("oplog", "head"), None),
        (("oplog", "head"), bytes(32)),
        (("oplog", "recent"), []),  # then nothing is the head
        (("oplog", "recent", 0), None),
        (("oplog", "piece"), "name"),
        (("oplog", "recent", 2, "who"), ["Ada"]),
        (("oplog", "recent", 2, "who"), ["Ada", 5]),
        (("oplog", "recent", 2, "time"), [1, 60.0]),
        (("oplog", "recent", 2, "time"), [1, 1441]),
        (("oplog", "recent", 2, "token"), 5),  # bytes(5) would have been taken
        (("oplog", "recent", 2, "command"), b"commit"),
        (("oplog", "recent", 2, "parent"), b""),
        (("oplog", "recent", 2, "undoes"), 0),
        (("oplog", "recent", 2, "worktree"), [bytes(32)]),
        (("oplog", "recent", 2, "changes", 0, 1), "refs/heads/x"),  # only HEAD has a name for a value
        (("oplog", "recent", 2, "changes", 0, 1), bytes(33)),
        (("oplog", "recent", 2, "changes", 1, 1), VALUE),  # HEAD has a bare id
        (("oplog", "recent", 2, "changes", 0, 0), "main"),
        (("oplog", "recent", 2, "changes"), {}),
    ],
)
def test_every_field_is_checked(path, part):
    with pytest.raises(CorruptFile):
        Root.from_bytes(with_part(path, part))


@pytest.mark.parametrize(
    "key", ["epoch", "fossils", "nonce", "oplog", "refs", "retired", "segments", "tombstones"]
)
def test_every_field_is_needed(key):
    value = sound()
    del value[key]
    with pytest.raises(CorruptFile, match=key):
        Root.from_bytes(sealed(value))


@pytest.mark.parametrize("value", [[], [1], 5, None, "root"])
def test_a_root_that_is_no_map_is_damage(value):
    with pytest.raises(CorruptFile):
        Root.from_bytes(sealed(value))


def test_too_many_recent_operations_are_damage():
    log = log_of(MAX_RECENT, MemoryBackend())
    more = operation(99, log.head)
    root = Root(oplog=OpLog(more.id, (*log.recent, more), None))
    with pytest.raises(CorruptFile):
        Root.from_bytes(root.to_bytes())


@pytest.mark.parametrize("path", [(), ("refs",), ("oplog",), ("oplog", "recent", 2)])
def test_a_part_that_must_be_understood_is_refused_everywhere(path):
    with pytest.raises(UnsupportedFeature, match="sharded"):
        Root.from_bytes(with_part((*path, "!sharded"), 1))


PARTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["refs/heads/x", "refs/", "HEAD", "root", "!x", "refs/heads/x.lock", "segments/0.seg"])
    | st.binary(max_size=5)
    | st.sampled_from([bytes(32), bytes(33), VALUE, bytes(8), bytes(16)]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value, with each key in it."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        inner = stack.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        found += [(inner, key) for key in keys]
        stack += [inner[key] for key in keys if isinstance(inner[key], dict | list)]
    return found


@given(st.data())
@settings(deadline=None, max_examples=400)
def test_any_mutation_is_a_root_or_a_refusal(data):
    value = copy.deepcopy(sound())
    for _ in range(data.draw(st.integers(1, 2))):
        inner, key = data.draw(st.sampled_from(places(value)))
        how = data.draw(st.sampled_from(["replace", "delete", "add"]))
        if how == "delete":
            del inner[key]
        elif how == "add" and isinstance(inner, dict):
            inner[data.draw(st.text(max_size=6))] = data.draw(PARTS)
        elif how == "add":
            inner.append(data.draw(PARTS))
        else:
            inner[key] = data.draw(PARTS)
    try:
        root = Root.from_bytes(sealed(value))
    except (CorruptFile, UnsupportedFeature):
        return
    assert Root.from_bytes(root.to_bytes()) == root


@given(PARTS)
@settings(deadline=None, max_examples=150)
def test_any_piece_is_read_or_refused(value):
    backend = MemoryBackend()
    name = write_piece(backend, value)
    for wrapped in (name, write_piece(backend, {"operations": value, "previous": None})):
        with pytest.raises((CorruptFile, UnsupportedFeature)):
            list(OpLog(OperationId(bytes(32)), (), wrapped).newest_first(backend))
    for wrapped in (name, write_piece(backend, {"nonce": bytes(16), "refs": value})):
        try:
            found = list(RefTable(RefPieces({}, (("refs/heads/a", wrapped),)), backend).values())
        except (CorruptFile, UnsupportedFeature):
            continue
        assert found == [] and value == {}


# --- the log ----------------------------------------------------------------------------------------------
def test_the_log_is_followed_from_id_to_id():
    backend = MemoryBackend()
    log = log_of(MAX_RECENT + 3, backend)
    assert len(list(log.newest_first(backend))) == MAX_RECENT + 3
    one, two, three = log.recent
    for forged in ((three,), (two, one, three), (one, operation(7, one.id), three)):
        with pytest.raises(CorruptFile, match="operation log"):
            list(OpLog(log.head, forged, log.piece).newest_first(backend))
    with pytest.raises(CorruptFile, match="ends without"):
        list(OpLog(log.head, log.recent, None).newest_first(backend))


def test_pieces_of_the_log_must_follow_each_other():
    backend = MemoryBackend()
    log = log_of(3 * MAX_RECENT + 1, backend)
    oldest = log_of(MAX_RECENT + 1, backend).piece
    with pytest.raises(CorruptFile, match="operation log"):
        list(OpLog(log.head, log.recent, oldest).newest_first(backend))


def test_a_missing_piece_is_damage_and_not_the_users_fault():
    backend = MemoryBackend()
    log = log_of(MAX_RECENT + 1, backend)
    backend.delete(f"pieces/{log.piece.hex()}.piece")
    with pytest.raises(CorruptFile, match="is missing"):
        list(log.newest_first(backend))
    with pytest.raises(CorruptFile, match="is missing"):
        RefTable(RefPieces({}, (("refs/heads/a", PIECE),)), backend).value("refs/heads/b")


def test_names_outside_of_a_pieces_range_are_damage():
    backend = MemoryBackend()
    name = write_piece(backend, {"nonce": bytes(16), "refs": {"refs/heads/a": VALUE, "refs/tags/z": VALUE}})
    assert RefTable(RefPieces({}, (("refs/heads/a", name),)), backend).value("refs/tags/z") == VALUE
    for pieces in ((("refs/heads/b", name),), (("refs/heads/a", name), ("refs/tags/a", PIECE))):
        with pytest.raises(CorruptFile, match="range"):
            RefTable(RefPieces({}, pieces), backend).value("refs/heads/c")


def test_unknown_parts_of_an_operation_are_kept_and_belong_to_its_id():
    plain, later = operation(1, None), operation(1, None, extra={"remote": "origin"})
    assert plain.id != later.id
    again = Operation.from_value(canonical.unpack(canonical.pack(later.to_value()), "operation"))
    assert again == later and again.id == later.id
    log = OpLog(later.id, (later,))
    assert OpLog.from_value(log.to_value()).recent[0].extra == {"remote": "origin"}


# --- what a command does with it --------------------------------------------------------------------------
def test_a_made_up_root_deletes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    (tmp_path / "a.txt").write_text("a\n")
    assert main(["commit", "-m", "one", "--author", "Ada <a@b.c>"]) == 0
    path = tmp_path / ".mvc" / "root"
    good = path.read_bytes()
    for part, made_up in (("retired", [["root", 0]]), ("head", 5), ("refs", {"pieces": [], "recent": [1]})):
        value = canonical.unpack(good[len(MAGIC) : -32], "root")
        value[part] = made_up
        path.write_bytes(sealed(value))
        for words in (["tag", "v1"], ["log"], ["status"], ["commit", "--allow-empty", "-m", "x"]):
            assert main(words) == 5, words
        assert path.read_bytes() == sealed(value)
    path.write_bytes(good)
    assert main(["fsck", "--full"]) == 0
    capsys.readouterr()
