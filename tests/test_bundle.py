"""Bundles of versions: what goes in, what is asked of who takes one in, and what comes out of it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from mvc.backends.bundling import BundleWriter
from mvc.errors import (
    AnswerIsNo,
    CorruptFile,
    DamageError,
    MvcError,
    RepositoryNotFound,
    RevisionNotFound,
    StorageError,
    UserError,
)
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId
from mvc.objects import Commit
from mvc.odb.header import read_headers
from mvc.odb.index import Index, Merge, merge
from mvc.odb.pack import read_record
from mvc.ops import branch, bundle, notes, tag
from mvc.ops.cat import cat
from mvc.refs import decode_target, encode_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.negotiate import missing
from mvc.remotes.planning import plan
from mvc.remotes.transfer import transfer
from mvc.repo import Repository
from mvc.root import RootStore
from mvc.sharing.bundle import BundleStore, check_needs
from mvc.transaction import Update, begin
from mvc.upkeep.check import Checker
from mvc.view import segment_key
from tests.engine import (
    ME,
    assert_sound,
    make_repository,
    now,
    snapshot,
    switch_to,
    tree,
    weights_versions,
)
from tests.faults import FaultIO

NAME = "model.safetensors"


def versions(folder: Path, count: int) -> tuple[Repository, list[CommitId]]:
    """A model as it trains, on main."""
    repository = make_repository(folder)
    made = []
    for number, data in enumerate(weights_versions(count, elements=40_000)):
        (folder / NAME).write_bytes(data)
        (folder / "step.txt").write_text(f"{number}\n")
        made.append(snapshot(repository, f"step {number}").id)
    return repository, made


def make(repository: Repository, path: Path, *revisions: str, **options):
    with repository.reading() as view:
        return bundle.create(FaultIO(), view, path, revisions, repository.monitor, **options)


def opened(path: Path, **options) -> BundleStore:
    return BundleStore.open_file(FaultIO(), path, Monitor(), **options)


def take_in(repository: Repository, path: Path) -> None:
    """Everything of a bundle, under the names that it has there."""
    store = opened(path)
    with store.reading() as theirs, begin(repository, "take a bundle in", ME, now()) as tx:
        check_needs(store, tx.view.objects)
        refs = dict(theirs.refs.values())
        sink = DirectSink(repository.backend)
        wanted = missing(
            theirs.objects,
            tx.view.objects,
            (decode_target(value) for value in refs.values()),
            monitor=Monitor(),
        )
        planned = plan(theirs.objects, tx.view.objects, wanted, sink, monitor=Monitor())
        tx.adopt(transfer(theirs.objects, tx.view.objects, planned, sink, Monitor()))
        tx.publish(lambda _view: Update(refs=refs))
    store.close()


def ids_in(store: BundleStore) -> set[ObjectId]:
    with store.reading() as view:
        return {entry.id for entry in view.index.entries()}


# --- what goes in, and comes out -------------------------------------------------------------------------


def test_a_bundle_is_the_history_and_nothing_else(tmp_path):
    repository, made = versions(tmp_path / "work", 3)
    branch.create(repository, "secret", "HEAD~1", ME, now())
    switch_to(repository, "secret")
    (tmp_path / "work" / "secret.txt").write_text("not for you\n")
    hidden = snapshot(repository, "secret work").id
    switch_to(repository, "main")
    done = make(repository, tmp_path / "it.bundle", "main")
    assert (done.refs, done.commits, done.needs) == ({"refs/heads/main": made[-1]}, 3, ())
    assert done.bytes == (tmp_path / "it.bundle").stat().st_size
    store = opened(tmp_path / "it.bundle")
    assert hidden not in ids_in(store)
    with store.reading() as view:
        assert dict(view.refs.values()).keys() == {"refs/heads/main"}
        assert view.root.head is None
        assert view.root.extra == {"default_branch": "main"}
        assert list(view.operations()) == []
        assert view.commit(made[0]).message == "step 0"
    data = (tmp_path / "it.bundle").read_bytes()
    for local in (b"secret", b"user.name", str(tmp_path).encode()):
        assert local not in data

    other = make_repository(tmp_path / "other")
    take_in(other, tmp_path / "it.bundle")
    switch_to(other, made[-1].hex(), force=True)
    assert tree(tmp_path / "other") == tree(tmp_path / "work")
    assert_sound(tmp_path / "other")


def test_records_go_as_they_are(tmp_path):
    repository, _made = versions(tmp_path / "work", 4)
    make(repository, tmp_path / "it.bundle")
    with repository.reading() as ours, opened(tmp_path / "it.bundle").reading() as theirs:
        of_ours = {(entry.id, entry.length, entry.depth) for entry in ours.index.entries()}
        of_theirs = {(entry.id, entry.length, entry.depth) for entry in theirs.index.entries()}
    assert of_theirs <= of_ours
    assert any(depth for _id, _length, depth in of_theirs)


def test_all_takes_branches_tags_and_notes(tmp_path):
    repository, made = versions(tmp_path / "work", 2)
    tag.create(repository, "v1", made[0].hex(), ME, now(), message="the first")
    branch.create(repository, "side", made[0].hex(), ME, now())
    notes.add(repository, made[0].hex(), notes.Wording({"acc": 0.5}, {}, "held-out"), ME, now())
    done = make(repository, tmp_path / "it.bundle", every=True)
    assert set(done.refs) == {
        "refs/heads/main",
        "refs/heads/side",
        "refs/tags/v1",
        "refs/notes/commits",
    }
    other = make_repository(tmp_path / "other")
    take_in(other, tmp_path / "it.bundle")
    with repository.reading() as ours, other.reading() as theirs:
        for name in done.refs:
            assert theirs.refs.value(name) == ours.refs.value(name)
        assert [item.notes[0].message for item in notes.annotated(theirs, None)] == ["held-out"]
    assert_sound(tmp_path / "other")


def test_only_names_go_in(tmp_path):
    repository, made = versions(tmp_path / "work", 2)
    for revision in (made[0].hex(), "HEAD~1", "HEAD:step.txt"):
        with pytest.raises(UserError, match="no branch or tag"):
            make(repository, tmp_path / "it.bundle", revision)
    with pytest.raises(RevisionNotFound):
        make(repository, tmp_path / "it.bundle", "nothing")
    assert make(repository, tmp_path / "it.bundle", "HEAD").refs == {"refs/heads/main": made[-1]}
    empty = make_repository(tmp_path / "empty")
    with pytest.raises(MvcError):
        make(empty, tmp_path / "none.bundle")
    assert not (tmp_path / "none.bundle").exists()


# --- only what is new ------------------------------------------------------------------------------------


def test_since_leaves_out_what_others_have(tmp_path):
    repository, made = versions(tmp_path / "work", 5)
    whole = make(repository, tmp_path / "whole.bundle")
    done = make(repository, tmp_path / "new.bundle", since=["HEAD~2"])
    assert done.commits == 2
    assert [(need.commit, need.subject) for need in done.needs] == [(made[2], "step 2")]
    assert done.bytes < whole.bytes / 2
    ids = ids_in(opened(tmp_path / "new.bundle"))
    assert set(made[3:]) <= ids
    assert ids.isdisjoint(made[:3])


def test_bundles_after_each_other_are_the_whole(tmp_path):
    """Each version comes in a bundle of its own, leaning on what came before."""
    repository, made = versions(tmp_path / "work", 5)
    other = make_repository(tmp_path / "other")
    leaning = 0
    for number, commit in enumerate(made):
        branch.create(repository, "now", commit.hex(), ME, now(), force=True)
        path = tmp_path / f"{number}.bundle"
        make(repository, path, "now", since=[made[number - 1].hex()] if number else [])
        leaning += lean_outside(path)
        take_in(other, path)
    assert leaning > 0  # else this shows nothing
    switch_to(other, made[-1].hex(), force=True)
    assert tree(tmp_path / "other") == tree(tmp_path / "work")
    assert_sound(tmp_path / "other")
    for commit in made:
        switch_to(other, commit.hex(), force=True)


def lean_outside(path: Path) -> int:
    """How many records of a bundle lean on what is not in it."""
    store = opened(path)
    with store.reading() as view:
        entries = list(view.index.entries())
        ids = {entry.id for entry in entries}
        headers = [header for _entry, header in read_headers(view.backend, entries)]
        return sum(any(base.id not in ids for base in header.bases) for header in headers)


def test_what_leans_on_neither_side_is_complete_all_the_same(tmp_path):
    """The receiver has an old version, the bundle a new one that was stored against one in between, on a
    branch that is not to go along."""
    repository, made = versions(tmp_path / "work", 4)
    with begin(repository, "orphan", ME, now()) as tx:
        newest = tx.view.commit(made[-1])
        orphan = dataclasses.replace(newest, parents=(made[0],), message="squashed")
        identity = tx.writer.put(CommitId, orphan.to_bytes())
        tx.publish(lambda _view: Update(refs={"refs/heads/squashed": encode_target(identity)}))
    branch.create(repository, "old", made[0].hex(), ME, now())
    make(repository, tmp_path / "old.bundle", "old")
    make(repository, tmp_path / "new.bundle", "squashed", since=["old"])
    assert ids_in(opened(tmp_path / "new.bundle")).isdisjoint(made[1:])
    other = make_repository(tmp_path / "other")
    take_in(other, tmp_path / "old.bundle")
    take_in(other, tmp_path / "new.bundle")
    with repository.reading() as ours, other.reading() as theirs:
        assert theirs.refs.value("refs/heads/squashed") == ours.refs.value("refs/heads/squashed")
    assert_sound(tmp_path / "other")
    switch_to(other, "squashed", force=True)
    assert (tmp_path / "other" / NAME).read_bytes() == (tmp_path / "work" / NAME).read_bytes()


def test_without_what_it_builds_on_nothing_is_taken(tmp_path):
    repository, made = versions(tmp_path / "work", 3)
    make(repository, tmp_path / "new.bundle", since=["HEAD~1"])
    other = make_repository(tmp_path / "other")
    before = (tmp_path / "other" / ".mvc" / "root").read_bytes()
    with pytest.raises(UserError, match=rf"{made[1].short} \(step 1\)"):
        take_in(other, tmp_path / "new.bundle")
    assert (tmp_path / "other" / ".mvc" / "root").read_bytes() == before


def test_nothing_new_is_no_bundle(tmp_path):
    repository, _made = versions(tmp_path / "work", 2)
    with pytest.raises(AnswerIsNo, match="nothing to bundle"):
        make(repository, tmp_path / "it.bundle", since=["HEAD"])
    assert not list(tmp_path.glob("*.bundle")) and not list(tmp_path.glob(".*"))


# --- looking at one --------------------------------------------------------------------------------------


def test_what_it_holds_can_be_told(tmp_path):
    repository, made = versions(tmp_path / "work", 3)
    tag.create(repository, "v1", made[1].hex(), ME, now(), message="annotated")
    make(repository, tmp_path / "it.bundle", every=True, since=["HEAD~2"])
    with repository.reading() as view:
        found = bundle.verify(FaultIO(), tmp_path / "it.bundle", Monitor(), view.objects)
    assert found.refs == {"refs/heads/main": made[2], "refs/tags/v1": made[1]}
    assert (found.branch, found.commits, found.lacking) == ("main", 2, ())
    assert [need.commit for need in found.needs] == [made[0]]
    with make_repository(tmp_path / "other").reading() as view:
        elsewhere = bundle.contents(FaultIO(), tmp_path / "it.bundle", Monitor(), view.objects)
        assert elsewhere.lacking == found.needs
    assert bundle.contents(FaultIO(), tmp_path / "it.bundle", Monitor(), None).lacking is None
    with pytest.raises(RepositoryNotFound, match="no bundle"):
        bundle.verify(FaultIO(), tmp_path / "work" / NAME, Monitor(), None)
    with pytest.raises(RepositoryNotFound, match="no file"):
        bundle.verify(FaultIO(), tmp_path / "missing", Monitor(), None)


def test_a_damaged_one_is_refused_before_anything_is_taken(tmp_path):
    repository, _made = versions(tmp_path / "work", 2)
    make(repository, tmp_path / "it.bundle")
    whole = (tmp_path / "it.bundle").read_bytes()
    other = make_repository(tmp_path / "other")
    before = sorted((tmp_path / "other" / ".mvc").rglob("*"))
    for place in range(8, len(whole), len(whole) // 40):
        torn = bytearray(whole)
        torn[place] ^= 4
        (tmp_path / "it.bundle").write_bytes(torn)
        with pytest.raises(CorruptFile, match=r"it\.bundle"):
            take_in(other, tmp_path / "it.bundle")
    for length in (len(whole) - 1, len(whole) // 2, 100):
        (tmp_path / "it.bundle").write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match=r"it\.bundle"):
            take_in(other, tmp_path / "it.bundle")
    assert sorted((tmp_path / "other" / ".mvc").rglob("*")) == before


def test_one_whose_hashes_lie_with_it_is_found_out_by_its_ids(tmp_path):
    """Who makes a bundle can make all its hashes fit; ids of objects still say what they are of."""
    repository, made = versions(tmp_path / "work", 1)
    make(repository, tmp_path / "it.bundle")
    good = opened(tmp_path / "it.bundle")
    with good.reading() as view:
        entry = next(e for e in view.index.entries() if e.id == made[0])
    forge(good, tmp_path / "forged.bundle", entry)
    other = make_repository(tmp_path / "other")
    with pytest.raises(DamageError):
        take_in(other, tmp_path / "forged.bundle")
    with other.reading() as view:
        assert view.refs.get("refs/heads/main") is None


def forge(good: BundleStore, path: Path, victim) -> None:
    """The same bundle, whole by every hash of the file, with other bytes in a commit's record."""
    with good.reading() as view, BundleWriter(FaultIO(), path) as writer:
        sink = DirectSink(writer)
        for entry in view.index.entries():
            record = read_record(view.backend, entry)
            if entry == victim:
                commit = Commit.from_bytes(view.objects.decode(record))
                plain = dataclasses.replace(commit, message="another").to_bytes()
                record = dataclasses.replace(
                    record, plain_length=len(plain), chain=(), recipe=None, bases=(), depth=0, stored=plain
                )
            sink.add(record)
        rows = merge(
            Merge(()), sink.finish(), Index((), lambda _n: None), lambda n, d: writer.put(segment_key(n), [d])
        ).apply(())
        RootStore(writer).swap(None, view.root.with_changes(segments=rows))
        writer.finish(())


def test_a_disk_that_fails_at_any_step_leaves_no_bundle(tmp_path):
    repository, _made = versions(tmp_path / "work", 2)
    counting = FaultIO()
    with repository.reading() as view:
        bundle.create(counting, view, tmp_path / "whole.bundle", [], Monitor())
        refused = 0
        for number in range(1, counting.steps + 1):
            path = tmp_path / "it.bundle"
            try:
                bundle.create(FaultIO(fail_at=number), view, path, [], Monitor())
            except StorageError:
                refused += 1
            if path.exists():
                opened(path).close()
                path.unlink()
            assert not list(tmp_path.glob(".*"))
    assert refused > 4


# --- a store like any other ------------------------------------------------------------------------------


def test_it_can_be_read_and_checked_without_taking_it_in(tmp_path):
    repository, made = versions(tmp_path / "work", 3)
    make(repository, tmp_path / "it.bundle")
    shutil.rmtree(tmp_path / "work" / ".mvc")
    store = opened(tmp_path / "it.bundle", verify=False)
    with store.reading() as view:
        starts = {view.refs.get(name): name for name in view.refs.names("refs/")}
        report = Checker(view.backend, view.index, view.objects, starts, lambda _count: None).full()
        assert report.damage == []
        assert view.commit(made[-1]).message == "step 2"
        data = (tmp_path / "work" / NAME).read_bytes()
        assert b"".join(cat(view, f"main:{NAME}")) == data
    store.close()
