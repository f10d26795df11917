"""Repair: what any copy can give comes back, nothing is lost by trying, and what stays lost is named."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mvc.codecs import CODECS
from mvc.collection.collect import alone
from mvc.errors import Busy, MvcError, UnsupportedFeature, UserError
from mvc.fileio import FileIO
from mvc.history.reader import read_manifest, read_tree
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as GcRequest
from mvc.ops.gc import gc
from mvc.ops.repair import Repaired, Request, repair
from mvc.repo import Repository
from mvc.tombstones import Purge
from tests.engine import (
    ME,
    assert_sound,
    history,
    make_repository,
    now,
    open_repository,
    snapshot,
    switch_to,
    tree,
    weights_versions,
)


def build(folder: Path, versions: int = 4) -> Path:
    """A repository of a few versions that lean on each other, each with a small and a changing file; the
    folder has the newest."""
    folder.mkdir(parents=True)
    repository = make_repository(folder)
    (folder / "notes").mkdir()
    for number, data in enumerate(weights_versions(versions)):
        (folder / "model.safetensors").write_bytes(data)
        (folder / "notes" / "log.txt").write_text(f"epoch {number}\n" * 2000)
        snapshot(repository, f"version {number}")
    repository.temporary.close()
    return folder


def mend(folder: Path, *copies: Path, dry_run: bool = False, io: FileIO | None = None) -> Repaired:
    repository = Repository.salvage(io or FileIO(), folder, Monitor())
    done = repair(repository, Request(ME, now(), copies, dry_run))
    repository.temporary.close()
    return done


def contents(folder: Path) -> list[dict[str, tuple[bytes, bool]]]:
    """Every version's files, newest first, checked out beside the folder."""
    place = folder.parent / f"{folder.name}-out"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    repository = open_repository(place)
    found = []
    for identity in history(repository):
        switch_to(repository, identity.hex(), force=True)
        found.append(tree(place))
    return found


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("original") / "repo")


@pytest.fixture(scope="module")
def versions(original) -> list[dict[str, tuple[bytes, bool]]]:
    return contents(original)


@pytest.fixture
def broken(original, tmp_path) -> Path:
    """A copy of the repository, to be broken, without its work tree's files."""
    folder = tmp_path / "repo"
    folder.mkdir()
    shutil.copytree(original / ".mvc", folder / ".mvc")
    return folder


def packs(folder: Path) -> list[Path]:
    return sorted((folder / ".mvc/packs").rglob("*.pack"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.chmod(0o644)
    path.write_bytes(data)


def each_pack(change: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda folder: [change(path) for path in packs(folder)] and None


def half_of_packs(folder: Path) -> None:
    for path in packs(folder)[::2]:
        path.unlink()


def segments(folder: Path) -> list[Path]:
    return sorted((folder / ".mvc/segments").iterdir())


def no_roots(folder: Path) -> None:
    (folder / ".mvc/root").unlink()
    (folder / ".mvc/root.previous").unlink()


WITHIN: dict[str, Callable[[Path], object]] = {
    "a segment deleted": lambda folder: segments(folder)[0].unlink(),
    "all segments deleted": lambda folder: [path.unlink() for path in segments(folder)],
    "a segment's head flipped": lambda folder: flip(segments(folder)[0], 30),
    "a segment's row flipped": lambda folder: flip(
        segments(folder)[0], segments(folder)[0].stat().st_size - 9
    ),
    "a segment truncated": lambda folder: segments(folder)[-1].write_bytes(b"mvcSEG_1"),
    "the nonce of every pack flipped": each_pack(lambda path: flip(path, 12)),
    "the magic of every pack flipped": each_pack(lambda path: flip(path, 1)),
    "something behind every pack": each_pack(lambda path: path.write_bytes(path.read_bytes() + b"mvcR tail")),
    "format deleted": lambda folder: (folder / ".mvc/format").unlink(),
    "format overwritten": lambda folder: (folder / ".mvc/format").write_bytes(b"\0" * 24),
    "the stat cache overwritten": lambda folder: (folder / ".mvc/index").write_bytes(b"\xff" * 99),
    "folders of the store deleted": lambda folder: [
        shutil.rmtree(folder / ".mvc" / name) for name in ("tmp", "intents", "locators")
    ],
}
"""Damage that the store can undo from what is left of it."""


@pytest.mark.parametrize("damage", WITHIN)
def test_what_the_store_itself_still_has(broken, versions, damage):
    WITHIN[damage](broken)
    done = mend(broken)
    assert done.sound, done
    assert_sound(broken)
    assert contents(broken) == versions
    again = mend(broken)
    assert again.sound and not again.did_something


ANYWHERE: dict[str, Callable[[Path], object]] = {
    "half of the packs deleted": half_of_packs,
    "all packs deleted": lambda folder: shutil.rmtree(folder / ".mvc/packs"),
    "every pack truncated": each_pack(
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    ),
    "a byte of every pack flipped": each_pack(lambda path: flip(path, path.stat().st_size * 2 // 3)),
    "every pack zeroed": each_pack(lambda path: path.write_bytes(bytes(path.stat().st_size))),
    "two packs exchanged": lambda folder: (
        lambda one, two: (lambda data: (one.write_bytes(two.read_bytes()), two.write_bytes(data)))(
            one.read_bytes()
        )
    )(*packs(folder)[:2]),
    "packs and segments deleted": lambda folder: [
        shutil.rmtree(folder / ".mvc" / name) for name in ("packs", "segments")
    ],
}
"""Damage that takes a copy."""


@pytest.mark.parametrize("damage", ANYWHERE)
def test_what_a_copy_has(broken, original, versions, damage):
    ANYWHERE[damage](broken)
    assert fsck(open_repository(broken), full=True).damage
    foreseen = mend(broken, original, dry_run=True)
    assert foreseen.dry_run and foreseen.sound
    assert fsck(open_repository(broken), full=True).damage, "a dry run changes nothing"
    assert mend(broken, original).sound
    assert_sound(broken)
    assert contents(broken) == versions


@pytest.mark.parametrize("damage", ANYWHERE)
def test_what_a_copy_with_other_packs_has(broken, original, versions, tmp_path, damage):
    """A copy that was repacked has the same objects in other files."""
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    gc(open_repository(copy), GcRequest(now(), repack=True))
    ANYWHERE[damage](broken)
    done = mend(broken, copy / ".mvc")
    assert done.sound and {item.source for item in done.restored} <= {"", str(copy / ".mvc")}
    assert_sound(broken)
    assert contents(broken) == versions


def test_a_configured_remote_is_asked_too(broken, original, versions):
    half_of_packs(broken)
    repository = open_repository(broken)
    repository.write_config(repository.config().with_value("remote.backup.url", f"file://{original}"))
    done = mend(broken)
    assert done.sound
    assert any("backup" in line for line in done.told)
    assert contents(broken) == versions


@pytest.mark.parametrize("damage", ANYWHERE)
def test_the_work_tree_gives_what_it_has(broken, original, versions, damage):
    """With the newest version's files beside it, that version is whole again unless its commit is lost."""
    for path, (data, _executable) in tree(original).items():
        (broken / path).parent.mkdir(exist_ok=True)
        (broken / path).write_bytes(data)
    ANYWHERE[damage](broken)
    before = fsck(open_repository(broken), full=True)
    done = mend(broken)
    assert len(done.lost) <= sum(not item.readable for item in before.damaged)
    lost = {path.path for item in done.lost for path in item.touched.files}
    newest = history_or_none(broken)
    if newest is not None:
        report = fsck(open_repository(broken), full=True)
        hurt = {version for item in report.damaged for version in item.touched.versions.ids}
        if newest not in hurt:
            switch_to(open_repository(broken), newest, force=True)
            assert tree(broken) == versions[0]
    assert all(not path.startswith("/") for path in lost)
    # what stays lost stays named, with the exit code of damage, and comes back from a copy later
    assert bool(fsck(open_repository(broken), full=True).damage) == (not done.sound)
    assert mend(broken, original).sound
    assert_sound(broken)
    assert contents(broken) == versions


def history_or_none(folder: Path) -> str | None:
    try:
        with open_repository(folder).reading() as view:
            head = view.head_commit()
            if head is not None:
                view.commit(head)
            return None if head is None else head.hex()
    except MvcError:
        return None


def test_a_lost_file_comes_back_when_it_is_put_into_the_folder(tmp_path):
    """Under any name, and without its old versions: the piece is found by what it is."""
    folder = build(tmp_path / "repo", 1)
    data = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder / ".mvc/packs")
    (folder / "model.safetensors").unlink()
    assert not mend(folder).sound
    (folder / "found in an attic").write_bytes(data)
    done = mend(folder)
    blobs = [item for item in done.restored if item.kind == "blob"]
    assert blobs == [] or {item.source for item in blobs} <= {"found in an attic", "notes/log.txt"}
    assert [item.kind for item in done.lost] == ["commit"], "a version itself is in no file of the folder"


def test_a_range_of_a_changed_file_gives_its_piece(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    repository = make_repository(folder)
    (folder / "model.safetensors").write_bytes(weights_versions(1, elements=60_000)[0])
    snapshot(repository)
    with repository.reading() as view:
        blobs = [entry for entry in view.index.entries() if entry.kind == 0]
    entry = max(blobs, key=lambda one: one.length)
    for path in packs(folder):
        if path.stem == entry.pack.hex():
            flip(path, entry.offset + entry.length - 3)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"the file has grown, and is none of its format any more")
    done = mend(folder)
    assert [(item.kind, item.source) for item in done.restored] == [("blob", "model.safetensors")]
    assert done.sound
    assert_sound(folder)


# --- root ------------------------------------------------------------------------------------------------
ROOTS: dict[str, Callable[[Path], object]] = {
    "overwritten": lambda path: path.write_bytes(b"\0" * 500),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": lambda path: flip(path, 40),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", ROOTS)
def test_a_damaged_root_comes_from_the_one_before(broken, versions, damage):
    heads = history(open_repository(broken))
    ROOTS[damage](broken / ".mvc/root")
    with pytest.raises(MvcError):
        open_repository(broken).read()
    done = mend(broken)
    assert done.sound
    # the last commit had not been named yet then
    assert history(open_repository(broken)) == heads[1:]
    assert done.recovered == {"refs/heads/recovered/1": heads[0].hex()}
    assert_sound(broken)
    switch_to(open_repository(broken), "recovered/1")
    assert contents(broken) == versions
    assert not mend(broken).did_something


def test_without_any_root_versions_get_names(broken, versions):
    heads = history(open_repository(broken))
    no_roots(broken)
    done = mend(broken)
    assert done.sound and done.recovered == {"refs/heads/recovered/1": heads[0].hex()}
    assert history(open_repository(broken)) == heads
    assert_sound(broken)
    assert contents(broken) == versions
    (broken / "more").write_text("more")
    snapshot(open_repository(broken))
    assert len(history(open_repository(broken))) == len(heads) + 1


def test_without_any_root_names_come_from_a_copy(broken, original, versions):
    heads = history(open_repository(broken))
    switch_to(open_repository(broken), "HEAD", new_branch="topic", force=True)
    (broken / "more").write_text("more")
    newest = snapshot(open_repository(broken)).id
    (broken / "more").unlink()
    no_roots(broken)
    done = mend(broken, original)
    assert done.sound and done.recovered == {"refs/heads/recovered/1": newest.hex()}
    with open_repository(broken).reading() as view:
        assert view.head_commit() == heads[0] and view.branch() == "main"
    assert contents(broken) == versions


def test_names_and_log_come_from_their_pieces(tmp_path):
    """After so many operations that some left root, a lost root takes few names with it."""
    folder = build(tmp_path / "repo", 1)
    from mvc.ops.branch import create

    for number in range(70):
        create(open_repository(folder), f"topic/{number:02}", "HEAD", ME, now())
    no_roots(folder)
    done = mend(folder)
    assert done.sound
    with open_repository(folder).reading() as view:
        names = {name for name, _value in view.refs.values()}
        assert sum(name.startswith("refs/heads/topic/") for name in names) >= 60
        assert "refs/heads/main" in names
        assert sum(1 for _ in view.operations()) >= 60
    assert_sound(folder)


@pytest.mark.parametrize("how", ["deleted", "flipped"])
def test_a_lost_piece_of_the_log_costs_older_operations(tmp_path, how):
    folder = build(tmp_path / "repo", 1)
    from mvc.ops.branch import create

    for number in range(40):
        create(open_repository(folder), f"b{number}", "HEAD", ME, now())
    for path in (folder / ".mvc/pieces").iterdir():
        path.unlink() if how == "deleted" else flip(path, 20)
    assert fsck(open_repository(folder)).damage
    done = mend(folder)
    assert done.sound and any("operations stay" in line for line in done.told)
    with open_repository(folder).reading() as view:
        assert 0 < sum(1 for _ in view.operations()) < 41
        assert sum(1 for _ in view.names("refs/heads/")) == 41
    assert_sound(folder)


def test_a_lost_piece_of_refs_is_made_again_from_the_log(tmp_path):
    folder = build(tmp_path / "repo", 1)
    from mvc.ops.branch import create

    for number in range(80):
        create(open_repository(folder), f"b{number:02}", "HEAD", ME, now())
    with open_repository(folder).reading() as view:
        values = dict(view.refs.values())
        name = view.root.refs.pieces[0][1]
    (folder / f".mvc/pieces/{name.hex()}.piece").unlink()
    done = mend(folder)
    assert done.sound
    with open_repository(folder).reading() as view:
        assert dict(view.refs.values()) == values
    assert_sound(folder)


def refs_piece(folder: Path) -> None:
    with open_repository(folder).reading() as view:
        name = view.root.refs.pieces[0][1]
    flip(folder / f".mvc/pieces/{name.hex()}.piece", 30)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(segments(folder)[0], 30),
        lambda folder: segments(folder)[0].write_bytes(b"mvcSEG_1"),
        lambda folder: segments(folder)[0].unlink(),
        refs_piece,
    ],
    ids=["flipped", "cut", "deleted", "piece of refs"],
)
def test_what_is_built_anew_may_have_the_name_of_what_was_lost(tmp_path, damage):
    """Names are hashes: what a second repair builds in the place of what the first one built is that file."""
    from mvc.ops.branch import create

    folder = build(tmp_path / "repo", 2)
    for number in range(80):
        create(open_repository(folder), f"b{number:02}", "HEAD", ME, now())
    gc(open_repository(folder), GcRequest(now(), 90))
    with open_repository(folder).reading() as view:
        refs = dict(view.refs.values())
    for _time in range(3):
        assert len(segments(folder)) == 1
        damage(folder)
        done = mend(folder)
        assert done.sound and done.told, done
        assert_sound(folder)
        with open_repository(folder).reading() as view:
            assert dict(view.refs.values()) == refs
            kept = {row.name.hex() for row in view.root.segments}
        for path in segments(folder):
            if path.stem not in kept:
                path.unlink()  # condemned
    assert not mend(folder).did_something


# --- nothing is lost by it -------------------------------------------------------------------------------
def test_damaged_files_stay(broken):
    before = {path.name: path.read_bytes() for path in packs(broken)}
    for path in packs(broken):
        flip(path, path.stat().st_size // 2)
    damaged = {path.name: path.read_bytes() for path in packs(broken)}
    mend(broken)
    kept = {path.name: path.read_bytes() for path in (broken / ".mvc/damaged").iterdir()}
    assert damaged.keys() == before.keys()
    assert {name: kept[name] for name in damaged} == damaged
    assert not {path.name for path in packs(broken)} & damaged.keys()


def test_what_was_put_aside_still_gives_what_it_has(tmp_path):
    """Two damaged halves, one after the other, make a whole."""
    folder = build(tmp_path / "repo", 2)
    versions = contents(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in packs(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for path in tree(folder):
        (folder / path).unlink()
    first = mend(folder)
    assert not first.sound
    for path in packs(copy):
        data = path.read_bytes()
        path.write_bytes(data[:24] + bytes(len(data) // 3) + data[24 + len(data) // 3 :])
    assert mend(folder, copy).sound
    assert contents(folder) == versions


def test_a_good_copy_of_a_pack_in_the_trash_is_found(broken, versions):
    trash = broken / ".mvc/trash/20261121/packs"
    trash.mkdir(parents=True)
    for path in packs(broken):
        path.rename(trash / path.name)
    done = mend(broken)
    assert done.sound
    assert contents(broken) == versions


def test_gc_after_a_repair_loses_nothing(broken, original, versions):
    half_of_packs(broken)
    kept = {path.name for path in packs(broken)}
    assert not mend(broken).sound
    with pytest.raises(MvcError):
        gc(open_repository(broken), GcRequest(now()))
    assert {path.name for path in packs(broken)} >= kept
    assert mend(broken, original).sound
    gc(open_repository(broken), GcRequest(now()))
    assert_sound(broken)
    assert contents(broken) == versions


def test_a_sound_repository_is_left_alone(original):
    before = {path: path.read_bytes() for path in (original / ".mvc").rglob("*") if path.is_file()}
    done = mend(original)
    assert done.sound and not done.did_something
    after = {path: path.read_bytes() for path in (original / ".mvc").rglob("*") if path.is_file()}
    assert {path for path in after if path.name != "gc.lock"} == {
        path for path in before if path.name != "gc.lock"
    }
    assert all(after[path] == data for path, data in before.items())


# --- what is not to come back ----------------------------------------------------------------------------
def test_what_was_purged_stays_away(tmp_path):
    """It lies in a pack, in the folder, and in another copy; all that is passed over."""
    folder = build(tmp_path / "repo", 2)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    gc(open_repository(copy), GcRequest(now(), repack=True))
    repository = open_repository(folder)
    with repository.reading() as view:
        head = view.commit(history(repository)[0])
        entries = {entry.name: entry.id for entry in read_tree(view.objects, head.tree).entries}
        file = read_manifest(view.objects, ManifestId(entries["model.safetensors"]))
        blob = next(part.blob for part in file.parts if part.blob is not None)
        purge = Purge.store(view.backend, [blob], time=now(), who=ME, what="a piece", why="a secret")
        root = view.root.with_changes(tombstones=view.tombstones.added(purge))
        repository.roots.swap(view.raw, root)
    for path in segments(folder):
        path.unlink()
    shutil.rmtree(packs(folder)[0].parent)
    done = mend(folder, copy)
    assert done.restored and blob.hex() not in {item.id for item in done.restored}
    with open_repository(folder).reading() as view:
        assert blob not in view.index
        assert file.parts and all(
            part.blob in view.index for part in file.parts if part.blob not in (None, blob)
        )


def test_what_a_newer_mvc_wrote_is_not_taken_for_damage(broken, monkeypatch):
    before = {path: path.read_bytes() for path in packs(broken)}
    known = CODECS.get
    monkeypatch.setattr(CODECS, "get", lambda key: None if key[0] == "zstd" else known(key), raising=False)
    with pytest.raises(UnsupportedFeature):
        mend(broken)
    assert {path: path.read_bytes() for path in packs(broken)} == before


def test_a_copy_that_is_none_is_refused(broken, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere", broken):
        with pytest.raises(UserError):
            mend(broken, folder)


def test_a_collection_keeps_a_repair_out(broken):
    repository = open_repository(broken)
    with alone(repository), pytest.raises(Busy):
        mend(broken)


# --- any damage ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(n, marks=pytest.mark.slow) for n in range(12, 500))]
)
def test_any_damage_with_a_copy(broken, original, versions, seed):
    """Files of the store flipped, cut, zeroed, deleted, exchanged, with bytes put in between: everything is
    there again, but for the names that the last change gave where root itself is hurt."""
    rng = random.Random(seed)
    files = sorted(
        path
        for path in (broken / ".mvc").rglob("*")
        if path.is_file() and path.stat().st_size and path.name != "format"
    )
    others = [path.read_bytes() for path in files]
    hurt = rng.sample(files, rng.choice([1, 2, 4]))
    for path in hurt:
        data = bytearray(path.read_bytes())
        at = rng.randrange(len(data))
        match rng.choice(["flip", "cut", "zero", "delete", "repeat", "exchange", "insert"]):
            case "flip":
                data[at] ^= 1 << rng.randrange(8)
            case "cut":
                del data[at:]
            case "zero":
                data[at : at + 64] = bytes(len(data[at : at + 64]))
            case "delete":
                path.unlink()
                continue
            case "repeat":
                data[at:at] = data[:at][-100:]
            case "exchange":
                data = bytearray(rng.choice(others))
            case "insert":
                data[at:at] = rng.randbytes(5)
        path.write_bytes(data)
    done = mend(broken, original)
    assert done.sound
    assert_sound(broken)
    rootless = broken / ".mvc/root" in hurt
    if rootless and history(open_repository(broken)) != history(open_repository(original)):
        assert contents(broken) == versions[1:]
        assert done.recovered == {"refs/heads/recovered/1": history(open_repository(original))[0].hex()}
    else:
        assert contents(broken) == versions
    assert not mend(broken).did_something
