"""Refs, operation log and root: small however many there are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.backends.memory import MemoryBackend
from mvc.errors import CorruptFile, CorruptObject, RootMoved, UnsupportedFeature
from mvc.objectid import CommitId, OperationId, TagId, TreeId
from mvc.objects import Person, Timestamp
from mvc.oplog import MAX_RECENT, Operation, OpLog, RefChange
from mvc.ops import branch, tag
from mvc.ops.fsck import fsck
from mvc.ops.undo import undo
from mvc.refs import MAX_PIECE_BYTES, RefPieces, RefTable, decode_target, encode_target, peeled_target
from mvc.root import Root, RootStore
from tests.engine import make_repository, now, open_repository, snapshot, switch_to

ME = Person("Ada", "")
NOW = Timestamp(1, 0)


def commit_id(n: int) -> CommitId:
    return CommitId.of(str(n).encode())


def operation(n: int, parent: OperationId | None) -> Operation:
    change = RefChange("refs/heads/main", encode_target(commit_id(n)), encode_target(commit_id(n + 1)))
    return Operation(parent, f"commit {n}", ME, NOW, (change,), bytes(16), (TreeId.of(b"a"), TreeId.of(b"b")))


def test_targets():
    assert decode_target(encode_target(commit_id(1))) == commit_id(1)
    tag = TagId.of(b"t")
    value = encode_target(tag, commit_id(2))
    assert decode_target(value) == tag
    assert peeled_target(value) == commit_id(2)
    for bad in (b"", b"\x03", value[:-1], b"\x00" + bytes(32), b"\x03" + bytes(64)):
        with pytest.raises(CorruptObject):
            decode_target(bad)


NAMES = st.sampled_from(
    [f"refs/{kind}/{name}" for kind in ("heads", "tags") for name in ("a", "b", "m/x", "z")]
    + [f"refs/tags/n{i}" for i in range(200)]
)


@given(st.lists(st.dictionaries(NAMES, st.none() | st.integers(0, 5), min_size=1, max_size=90), max_size=12))
@settings(deadline=None, max_examples=60)
def test_refs_are_a_dictionary(batches):
    backend = MemoryBackend()
    refs, model = RefPieces(), {}
    for batch in batches:
        changes = {name: None if n is None else encode_target(commit_id(n)) for name, n in batch.items()}
        refs, _replaced = RefTable(refs, backend).changed(changes)
        refs = RefPieces.from_value(refs.to_value())
        model.update(changes)
        model = {name: value for name, value in model.items() if value is not None}
        table = RefTable(refs, backend)
        assert dict(table.values()) == model
        assert [name for name, _ in table.values()] == sorted(model)
        assert dict(table.values("refs/tags/n1")) == {
            k: v for k, v in model.items() if k.startswith("refs/tags/n1")
        }
        for name in ("refs/heads/a", "refs/tags/n7", "refs/tags/zz", "a"):
            assert table.value(name) == model.get(name)


def test_ten_thousand_tags_keep_root_small_and_pieces_bounded():
    backend = MemoryBackend()
    refs = RefPieces()
    for n in range(10_000):
        refs, replaced = RefTable(refs, backend).changed({f"refs/tags/v{n}": encode_target(commit_id(n))})
        for name in replaced:
            backend.delete(f"pieces/{name.hex()}.piece")
    assert sum(1 for _ in RefTable(refs, backend).values("refs/tags/")) == 10_000
    assert len(Root(refs=refs).to_bytes()) < 16_384
    sizes = [size for _key, size in backend.list("pieces/")]
    assert max(sizes) <= MAX_PIECE_BYTES
    assert sum(sizes) < 2 << 20


def test_a_damaged_piece_is_refused():
    backend = MemoryBackend()
    refs, _ = RefTable(RefPieces(), backend).changed(
        {f"refs/tags/{n}": encode_target(commit_id(n)) for n in range(100)}
    )
    ((key, _size),) = backend.list("pieces/")
    data = backend.get(key)
    backend.delete(key)
    backend.put(key, [data[:-1] + bytes([data[-1] ^ 1])])
    with pytest.raises(CorruptFile):
        list(RefTable(refs, backend).values())


def test_the_log_remembers_everything_and_stays_small():
    backend = MemoryBackend()
    log, made = OpLog(), []
    for n in range(MAX_RECENT * 3 + 5):
        made.append(operation(n, log.head))
        log = OpLog.from_value(log.append(made[-1], backend).to_value())
    assert list(log.newest_first(backend)) == made[::-1]
    assert len(log.recent) <= MAX_RECENT
    assert log.head == made[-1].id
    parents = [item.parent for item in made]
    assert parents == [None, *(item.id for item in made[:-1])]


def test_root_round_trip_and_damage():
    root = Root(
        head="refs/heads/main",
        oplog=OpLog().append(operation(1, None), MemoryBackend()),
        extra={"later": [1]},
    )
    data = root.to_bytes()
    assert Root.from_bytes(data) == root
    assert root.to_bytes() != data  # a nonce: the same state never has the same bytes twice
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        with pytest.raises(CorruptFile):
            Root.from_bytes(bytes(damaged))
    with pytest.raises(CorruptFile):
        Root.from_bytes(data[:-1])
    with pytest.raises(UnsupportedFeature):
        Root.from_bytes(Root(extra={"!sharded": 1}).to_bytes())


def test_swap_has_one_winner():
    store = RootStore(MemoryBackend())
    store.swap(None, Root(head="refs/heads/main"))
    _root, raw = store.read()
    store.swap(raw, Root(head="refs/heads/one"))
    with pytest.raises(RootMoved):
        store.swap(raw, Root(head="refs/heads/two"))
    assert store.read()[0].head == "refs/heads/one"


# --- earlier values ---------------------------------------------------------------------------------------
def earlier(repository, name: str) -> list[CommitId]:
    """NAME@{0}, NAME@{1}, … until there is no more."""
    found = []
    with repository.reading() as view:
        while (value := view.previous(name, len(found))) is not None:
            found.append(value)
    return found


def save(repository, text: str) -> CommitId:
    (repository.worktree / "a.txt").write_text(text)
    return snapshot(repository, text).id


def test_head_remembers_switches_as_gits_reflog_does(tmp_path):
    repository = make_repository(tmp_path)
    one, two = save(repository, "one"), save(repository, "two")
    assert earlier(repository, "HEAD") == earlier(repository, "refs/heads/main") == [two, one]
    switch_to(repository, "HEAD", new_branch="side")  # the same commit, and yet an entry
    assert earlier(repository, "HEAD") == [two, two, one]
    three = save(repository, "three")
    switch_to(repository, "main")
    heads = [two, three, two, two, one]
    assert earlier(repository, "HEAD") == heads
    tag.create(repository, "t", "HEAD", ME, now(), message=None)  # moves no HEAD
    branch.create(repository, "other", "side", ME, now())
    branch.create(repository, "side", "main", ME, now(), force=True)  # a branch that is not the current one
    assert earlier(repository, "HEAD") == heads
    assert earlier(repository, "refs/heads/side") == [two, three, two]
    assert earlier(repository, "refs/heads/main") == [two, one]
    four = save(repository, "four")
    assert earlier(repository, "HEAD") == [four, *heads]
    undo(repository, ME, now())
    assert earlier(repository, "HEAD") == [two, four, *heads]
    assert earlier(repository, "refs/heads/main") == [two, four, two, one]
    switch_to(repository, one.hex(), force=True)  # detached
    assert earlier(repository, "HEAD") == [one, two, four, *heads]
    branch.delete(repository, "main", ME, now(), force=True)  # history does not need today's names
    assert earlier(repository, "HEAD") == [one, two, four, *heads]


def test_a_missing_segment_is_damage(tmp_path):
    repository = make_repository(tmp_path)
    save(repository, "one")
    (segment,) = (repository.store / "segments").iterdir()
    segment.unlink()
    again = open_repository(tmp_path)
    with again.reading() as view, pytest.raises(CorruptFile, match=r"segment .* is missing"):
        view.commit(view.head_commit())
    report = fsck(again)
    assert any("is missing" in item.how for item in report.damage)


def test_a_head_that_nobody_could_have_named_is_damage(tmp_path):
    repository = make_repository(tmp_path)
    root, raw = repository.roots.read()
    repository.roots.swap(raw, root.with_changes(head="refs/heads/a.lock"))
    with pytest.raises(CorruptFile, match="HEAD"), repository.reading():
        pass
