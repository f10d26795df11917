"""Notes: what was measured of a version afterwards, without changing its id."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mvc
from mvc.errors import CorruptObject, RevisionNotFound, UnsupportedFeature, UsageError, UserError
from mvc.fileio import FileIO
from mvc.history.revisions import resolve_commit
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.objects import Person, Timestamp
from mvc.ops.commit import Request, commit
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as Collection
from mvc.ops.gc import gc
from mvc.ops.init import init
from mvc.ops.notes import Wording, add, annotated, remove
from mvc.ops.undo import undo
from mvc.refs import NOTES
from mvc.registry.notes import Measured, Note, Notes, lay_over
from mvc.registry.notes.note import MAX_BYTES, decode, encode, merge
from mvc.repo import Repository
from tests.test_cli import fails, ok, run  # noqa: F401  run is a fixture

WHO = Person("Eva", "eva@example.org")


def at(seconds):
    return Timestamp(seconds * 1_000_000, 60)


@pytest.fixture
def repository(tmp_path):
    repository = init(FileIO(), tmp_path, Monitor())
    for number in range(2):
        (tmp_path / "model").write_text(str(number))
        commit(repository, Request(f"version {number}", WHO, at(number), metrics={"loss": 2.0 - number}))
    return repository


def notes_of(repository, revision="HEAD"):
    with repository.reading() as view:
        return Notes(view.objects, view).of(resolve_commit(revision, view.objects, view))


# --- the file ----------------------------------------------------------------------------------------------
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(1 << 63), (1 << 63) - 1) | st.floats()
notes = st.builds(
    Note,
    author=st.builds(Person, texts, texts),
    time=st.builds(Timestamp, st.integers(-(1 << 61), 1 << 61), st.integers(-1440, 1440)),
    metrics=st.dictionaries(texts, numbers, max_size=3),
    params=st.dictionaries(texts, numbers | texts | st.booleans() | st.none(), max_size=3),
    message=texts,
    extra=st.dictionaries(st.sampled_from(("later", "more")), st.none() | st.lists(texts, max_size=2)),
)


def plain(note):
    """As text, where NaN equals itself."""
    maps = [sorted(map(repr, part.items())) for part in (note.metrics, note.params, note.extra)]
    return repr((note.author, note.time, note.message, maps))


@settings(deadline=None)
@given(st.lists(notes, max_size=4))
def test_every_note_comes_back_and_has_one_form(several):
    data = encode(several)
    found = decode(data)
    assert {plain(note) for note in found.values()} == {plain(note) for note in several}
    assert encode(reversed(list(found.values()))) == data
    assert all(note.id == key for key, note in found.items())
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


GOOD = encode([Note(WHO, at(5), {"acc": 0.5}, {"k": 1})])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        GOOD[:-1],
        GOOD + b" ",
        GOOD.replace(b'"', b"'"),
        GOOD.replace(b"0.5", b"0.50"),
        GOOD.replace(b"0.5", b"NaN"),
        GOOD.replace(b"0.5", b"1e999"),
        GOOD.replace(b"0.5", b"true"),
        GOOD.replace(b"0.5", b"9" * 5000),
        GOOD.replace(b"0.5", b"9" * 30),
        GOOD.replace(b"0.5", b'"five"'),
        GOOD.replace(b'"Eva"', b"7"),
        GOOD.replace(b"5000000", b"5e6"),
        GOOD.replace(b"5000000", b"9" * 25),
        GOOD.replace(b'"k": 1', b'"k": {}'),
        GOOD.replace(b'"k": 1', b'"k": 1,\n   "k": 1'),
        GOOD.replace(b'"metrics"', b'"metrics": {}, "metrics"'),
        b" " * (MAX_BYTES + 1),
    ],
)
def test_any_other_form_is_damage(data):
    assert data != GOOD
    with pytest.raises(CorruptObject):
        decode(data)


def test_another_id_than_the_hash_is_damage():
    note = Note(WHO, at(5), {"acc": 0.5})
    with pytest.raises(CorruptObject, match="canonical"):
        decode(encode([note]).replace(note.id.encode(), b"0" * 16))


def test_what_a_newer_mvc_requires_is_not_ignored():
    with pytest.raises(UnsupportedFeature, match="seal"):
        decode(encode([Note(WHO, at(5), extra={"!seal": "x"})]))


def test_a_text_without_a_form_and_too_many_notes_are_refused():
    with pytest.raises(UsageError, match="Unicode"):
        encode([Note(WHO, at(5), message="\ud800")])
    with pytest.raises(UserError, match="not more"):
        encode([Note(WHO, at(5), message="x" * MAX_BYTES)])


@settings(deadline=None)
@given(*[st.sets(st.integers(0, 7))] * 3)
def test_merging_keeps_what_was_added_and_drops_what_was_removed(base, ours, theirs):
    known = {note.id: note for note in (Note(WHO, at(number)) for number in range(8))}
    keys = list(known)
    sides = [{keys[number]: known[keys[number]] for number in side} for side in (base, ours, theirs)]
    added, removed = (ours | theirs) - base, base - (ours & theirs)
    assert merge(*sides).keys() == {keys[number] for number in (base | added) - removed}


# --- in a repository ---------------------------------------------------------------------------------------
def test_a_note_changes_no_version(repository):
    with repository.reading() as view:
        head = view.head_commit()
    target, note = add(repository, "HEAD", Wording({"acc": 0.91}, {"set": "may"}, "late"), WHO, at(9))
    assert target == head
    assert notes_of(repository) == (note,)
    assert notes_of(repository, "HEAD~1") == ()
    with repository.reading() as view:
        assert view.head_commit() == head
        assert [name for name, _ in view.refs.values("refs/") if not name.startswith("refs/heads/")] == [
            NOTES
        ]
    assert fsck(repository, full=True).damage == []


def test_a_misspelt_revision_is_not_answered_with_where_notes_are_kept(repository):
    add(repository, "HEAD", Wording({"acc": 2.0}, {}), WHO, at(20))
    with repository.reading() as view, pytest.raises(RevisionNotFound) as caught:
        resolve_commit("note", view.objects, view)
    assert "notes" not in caught.value.hint


def test_notes_are_listed_oldest_first_and_removed_by_id(repository):
    later = add(repository, "HEAD", Wording({"acc": 2.0}, {}), WHO, at(20))[1]
    earlier = add(repository, "HEAD", Wording({"acc": 1.0}, {}), WHO, at(10))[1]
    other = add(repository, "HEAD~1", Wording({}, {}, "words"), WHO, at(30))[1]
    assert notes_of(repository) == (earlier, later)
    with repository.reading() as view:
        assert sorted(len(item.notes) for item in annotated(view)) == [1, 2]
    assert remove(repository, "HEAD", WHO, at(40), note=later.id[:6])[1] == (later,)
    assert notes_of(repository) == (earlier,)
    with pytest.raises(RevisionNotFound, match="no note"):
        remove(repository, "HEAD", WHO, at(40), note=later.id)
    assert remove(repository, "HEAD", WHO, at(41))[1] == (earlier,)
    with pytest.raises(RevisionNotFound, match="no notes"):
        remove(repository, "HEAD", WHO, at(42))
    with repository.reading() as view:
        assert [item.notes for item in annotated(view)] == [(other,)]


def test_the_same_note_twice_is_one_and_no_operation(repository):
    for _ in range(2):
        add(repository, "HEAD", Wording({"acc": 1.0}, {}), WHO, at(10))
    assert len(notes_of(repository)) == 1
    assert undo(repository, WHO, at(11)).command == "notes add HEAD"
    assert undo(repository, WHO, at(12)).command.startswith("commit")


def test_undo_takes_back_each(repository):
    first = add(repository, "HEAD", Wording({"acc": 1.0}, {}), WHO, at(10))[1]
    add(repository, "HEAD", Wording({"acc": 2.0}, {}), WHO, at(20))
    undo(repository, WHO, at(30))
    assert notes_of(repository) == (first,)
    remove(repository, "HEAD", WHO, at(40))
    undo(repository, WHO, at(50))
    assert notes_of(repository) == (first,)
    undo(repository, WHO, at(60))
    with repository.reading() as view:
        assert view.get(NOTES) is None


def test_a_note_that_says_nothing_is_refused(repository):
    with pytest.raises(UsageError, match="nothing"):
        add(repository, "HEAD", Wording({}, {}, "  \n"), WHO, at(10))


def test_secrets_are_masked(repository):
    note = add(repository, "HEAD", Wording({"acc": 1.0}, {"hf_token": "abcdef", "k": 5}), WHO, at(10))[1]
    assert note.params == {"hf_token": "***", "k": 5}
    stored = [path.read_bytes() for path in (repository.store / "packs").rglob("*.pack")]
    assert not any(b"abcdef" in data for data in stored)


def test_those_who_add_at_once_all_succeed(tmp_path, repository):
    def work(number):
        own = Repository.open(FileIO(), tmp_path, Monitor())
        for step in range(4):
            add(own, f"HEAD~{step % 2}", Wording({f"m{number}": step}, {}), WHO, at(100 + step))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [*notes_of(repository), *notes_of(repository, "HEAD~1")]
    assert sorted((name, value) for note in found for name, value in note.metrics.items()) == [
        (f"m{number}", step) for number in range(4) for step in range(4)
    ]


@pytest.mark.parametrize("repack", [False, True])
def test_gc_keeps_notes_also_of_versions_that_are_gone(tmp_path, repository, repack):
    kept = add(repository, "HEAD~1", Wording({"acc": 0.5}, {}), WHO, at(10))[1]
    gone, _ = add(repository, "HEAD", Wording({}, {}, "x" * 5000), WHO, at(11))
    (tmp_path / "model").write_text("amended")
    commit(repository, Request("amended", WHO, at(12), amend=True))
    gc(repository, Collection(at(10**9), undo_days=0, repack=repack))
    assert notes_of(repository, "HEAD~1") == (kept,)
    with repository.reading() as view:
        assert gone not in view.objects
        assert len(list(annotated(view))) == 2
    assert fsck(repository, full=True).damage == []


def test_notes_lie_as_git_would_have_them(repository):
    target, _note = add(repository, "HEAD", Wording({"acc": 0.5}, {}), WHO, at(10))
    with repository.reading() as view:
        lies = resolve_commit("refs/notes/commits", view.objects, view)
        assert list(flatten(view.objects, view.commit(lies).tree)) == [
            f"{target.hex()[:2]}/{target.hex()[2:]}.json"
        ]
        assert view.commit(lies).parents == ()


# --- laid over ---------------------------------------------------------------------------------------------
def test_the_latest_value_counts_and_says_where_it_is_from():
    one, two = Note(WHO, at(1), {"acc": 1.0, "f1": 0.5}), Note(WHO, at(2), {"acc": 2.0})
    assert lay_over({"loss": 3.0, "acc": 0.0}, [one, two]) == {
        "loss": Measured(3.0, None),
        "acc": Measured(2.0, two),
        "f1": Measured(0.5, one),
    }


# --- on the command line, and in Python --------------------------------------------------------------------
def test_log_and_show_tell_of_later_additions(run):  # noqa: F811
    ok(run("init"))
    Path("model").write_text("1")
    ok(run("commit", "-m", "first", "--metric", "loss=2"))
    ok(run("notes", "add", "HEAD", "--metric", "acc=nan", "--param", "k=5", "-m", "held-out"))
    for command in ("log", "show"):
        text = ok(run(command)).out
        assert text.index("loss=2") < text.index("added later") < text.index("acc=")
    (row,) = run("log", "--json").data
    assert row["metrics"] == {"loss": 2}
    assert [(note["metrics"], note["params"], note["message"]) for note in row["notes"]] == [
        ({"acc": None}, {"k": 5}, "held-out")
    ]
    assert run("show", "--json").data["notes"] == row["notes"]
    assert run("notes", "--json").data == [{"commit": row["id"], "notes": row["notes"]}]
    assert row["notes"][0]["id"] in ok(run("notes")).out
    assert "held-out" in ok(run("notes", "show")).out
    ok(run("notes", "add", "HEAD", "--metric", "loss=3"))
    assert len(run("log", "--metric", "loss>2.5", "--json").data) == 1
    assert run("log", "--metric", "loss<2.5", "--json").data == []
    ok(run("notes", "remove", "HEAD"))
    assert len(run("log", "--metric", "loss<2.5", "--json").data) == 1
    assert "added later" not in ok(run("log")).out


def test_what_makes_no_sense_is_refused(run):  # noqa: F811
    ok(run("init"))
    fails(run("notes", "show"), 3, "no commits yet")
    Path("model").write_text("1")
    ok(run("commit", "-m", "first"))
    fails(run("notes", "add"), 2, "says nothing")
    fails(run("notes", "remove"), 2, "which version")
    fails(run("notes", "frobnicate"), 2, "frobnicate")
    fails(run("notes", "show", "HEAD", "abc"), 2)
    fails(run("notes", "list", "--metric", "a=1"), 2)
    fails(run("notes", "add", "HEAD", "--metric", "acc"), 2, "name and a value")
    fails(run("notes", "remove", "HEAD"), 3, "no notes")
    assert run("notes", "--json").data == []


def test_python_adds_and_reads_notes(tmp_path):
    with mvc.Repo.init(tmp_path) as repo:
        (tmp_path / "model").write_text("1")
        repo.commit(message="first", metrics={"loss": 2})
        note = repo.add_note("HEAD", metrics={"acc": 0.5}, params={"eval": {"k": 5}}, message="late")
        version = repo["HEAD"]
        assert version.notes == (note,)
        assert (note.metrics, note.params, note.message) == ({"acc": 0.5}, {"eval.k": 5}, "late")
        assert version.metrics == {"loss": 2}
        repo.remove_notes("HEAD", note.id)
        assert version.notes == ()


def test_damaged_notes_do_not_hide_history(run, monkeypatch):  # noqa: F811
    ok(run("init"))
    Path("model").write_text("1")
    ok(run("commit", "-m", "first"))
    with monkeypatch.context() as broken:
        broken.setattr("mvc.registry.notes.shelf.encode", lambda notes: b"broken")
        ok(run("notes", "add", "--metric", "acc=1"))
    done = run("log")
    assert "first" in done.out
    assert "damaged" in done.err
    assert "notes" in done.err
