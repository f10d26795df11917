"""Files come into the work tree all or nothing, whatever goes wrong in between."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from contextlib import suppress

import pytest
from faults import (
    CHANGING,
    NEEDS_SPACE,
    READING,
    WRITING,
    FaultIO,
    PowerCut,
    Recorder,
    fork,
    lay_out,
    snapshot,
    was_killed,
)
from faults import run_killed as run_killed_at
from hypothesis import given, settings
from hypothesis import strategies as st

from mvc.errors import Busy, CorruptFile, InvalidPath, MvcError, StorageError, WouldOverwrite
from mvc.fileio import FileIO, TemporaryNames, write_durable
from mvc.odb.intents import sweep_temporary
from mvc.worktree.apply import Placement, apply, recover
from mvc.worktree.journal import Journal, Move, Seen

TOKEN = b"sixteen bytes ok"

OLD = {
    "same.bin": b"same",
    "changed.bin": b"old weights",
    "run.sh": b"echo old",
    "folder/stays.bin": b"stays",
    "folder/goes.bin": b"goes",
    "emptied/one.bin": b"1",
    "emptied/deep/two.bin": b"2",
    "file-to-folder": b"a file",
    "folder-to-file/a": b"a",
    "folder-to-file/deep/b": b"b",
}
NEW = {
    "same.bin": b"same",
    "changed.bin": b"new weights, longer",
    "run.sh": b"echo new",
    "folder/stays.bin": b"stays",
    "folder/comes.bin": b"comes",
    "brand/new/file.bin": b"new file",
    "file-to-folder/inner/file": b"inside",
    "folder-to-file": b"now a file",
}
EXECUTABLE = {"run.sh"}


def make_tree(root, files):
    (root / ".mvc" / "tmp").mkdir(parents=True)
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def tree(root):
    """The work tree: path → bytes and whether executable; None for a folder."""
    return {
        path: item if item is None else (item[0], bool(item[1] & 0o111))
        for path, item in snapshot(root).items()
        if path != ".mvc" and not path.startswith(".mvc/")
    }


def expected(files, executable=()):
    folders = {os.path.dirname(path) for path in files}
    while new := {os.path.dirname(folder) for folder in folders} - folders:
        folders |= new
    content = {path: (data, path in executable) for path, data in files.items()}
    return content | dict.fromkeys(folders - {""})


OLD_TREE, NEW_TREE = expected(OLD), expected(NEW, EXECUTABLE)


def seen(root, path):
    """The file that is at a path now."""
    try:
        status = (root / path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stat.S_ISDIR(status.st_mode) else Seen.of(status)


def prepare(root, names, old=OLD, new=NEW):
    """Write the new files under temporary names; returns what leads from ``old`` to ``new``."""
    placements = []
    for path in sorted({*old, *new}):
        if path not in new:
            placements.append(Placement(path, None, False, seen(root, path)))
        elif old.get(path) != new[path]:
            temporary = names.new()
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o777 if path in EXECUTABLE else 0o666)
            os.write(handle, new[path])
            os.close(handle)
            placements.append(Placement(path, temporary, path in EXECUTABLE, seen(root, path)))
    return placements


def commit(root, io):
    """In the place of root's swap."""
    write_durable(io, root / ".mvc" / "head.new", root / ".mvc" / "head", [TOKEN], replace=True)


def is_committed(root):
    head = root / ".mvc" / "head"
    return lambda token: head.exists() and head.read_bytes() == token


def check_out(root, io, then="finish"):
    """A whole checkout, as a command does it."""
    names = TemporaryNames(FileIO(), root / ".mvc" / "tmp")
    applied = apply(io, root, root / ".mvc", prepare(root, names), TOKEN)
    if then == "finish":
        try:
            commit(root, io)
        except OSError:
            # it may have taken place all the same
            if is_committed(root)(TOKEN):
                applied.finish()
            else:
                applied.rollback()
            raise
        applied.finish()
    else:
        applied.rollback()
    names.close()


def recover_all(root, io=None):
    """What the next command does first."""
    io = io or FaultIO()
    found = recover(io, root, root / ".mvc", is_committed(root))
    sweep_temporary(io, root / ".mvc" / "tmp")
    return found


def left_in_store(root):
    return {item.name for item in (root / ".mvc").iterdir()} | {
        f"tmp/{item.name}" for item in (root / ".mvc" / "tmp").iterdir()
    }


@pytest.fixture
def root(tmp_path):
    return make_tree(tmp_path / "work", OLD)


# --- when all goes well ------------------------------------------------------------------------------------


def test_a_checkout(root):
    check_out(root, FileIO())
    assert tree(root) == NEW_TREE
    assert left_in_store(root) == {"tmp", "head"}
    assert not recover_all(root)


def test_a_rollback(root):
    modes = {path: item[1] for path, item in snapshot(root).items() if item}
    (root / "emptied").chmod(0o750)
    check_out(root, FileIO(), then="rollback")
    assert tree(root) == OLD_TREE
    assert {path: item[1] for path, item in snapshot(root).items() if item and path in modes} == modes
    assert stat.S_IMODE((root / "emptied").stat().st_mode) == 0o750
    sweep_temporary(FileIO(), root / ".mvc" / "tmp")
    assert left_in_store(root) == {"tmp"}


def test_after_a_rollback_the_same_files_can_be_applied_again(root):
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        placements = prepare(root, names)
        apply(FileIO(), root, root / ".mvc", placements, TOKEN).rollback()
        apply(FileIO(), root, root / ".mvc", placements, TOKEN).finish()
    assert tree(root) == NEW_TREE


def test_files_that_are_not_placed_keep_their_identity(root):
    before = (root / "same.bin").stat()
    check_out(root, FileIO())
    after = (root / "same.bin").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_removing_what_is_gone_already_is_fine(root):
    (root / "folder" / "goes.bin").unlink()
    shutil.rmtree(root / "emptied")
    check_out(root, FileIO())
    assert tree(root) == NEW_TREE


def test_a_folder_with_other_files_stays(root):
    (root / "emptied" / "mine.txt").write_bytes(b"untracked")
    check_out(root, FileIO())
    assert tree(root) == NEW_TREE | {"emptied": None, "emptied/mine.txt": (b"untracked", False)}


def test_the_root_may_be_reached_by_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    check_out(tmp_path / "link", FileIO())
    assert tree(root) == NEW_TREE


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_decides_permissions(root, umask):
    def work():
        os.umask(umask)
        names = TemporaryNames(FileIO(), root / ".mvc" / "tmp")
        plain, marked, wrong = names.new(), names.new(), names.new()
        for path, mode in ((plain, 0o666), (marked, 0o777), (wrong, 0o666)):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
        placements = [
            Placement("plain", plain, False),
            Placement("marked", marked, True),
            Placement("made executable", wrong, True),
        ]
        apply(FileIO(), root, root / ".mvc", placements, TOKEN).finish()

    assert not was_killed(fork(work))
    modes = {name: item[1] for name, item in snapshot(root).items() if item}
    assert {name: modes[name] for name in ("plain", "marked", "made executable")} == {
        "plain": 0o666 & ~umask,
        "marked": 0o777 & ~umask,
        "made executable": 0o666 & ~umask | (0o444 & ~umask) >> 2,
    }


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/b/c", "a/b/d", "b/a/c", "c-", "a-/x"])


@st.composite
def trees(draw):
    files = {}
    for path in draw(st.permutations(draw(st.lists(NAMES, unique=True)))):
        if not any(
            f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/") for other in files
        ):
            files[path] = draw(st.binary(min_size=1, max_size=2))
    return files


@given(old=trees(), new=trees(), fail_at=st.integers(0, 120), late=st.booleans(), back=st.booleans())
@settings(deadline=None, max_examples=150)
def test_any_tree_becomes_any_other_or_stays(tmp_path_factory, old, new, fail_at, late, back):
    root = make_tree(tmp_path_factory.mktemp("work"), old)
    io = FaultIO(fail_at=fail_at, late=late)
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        placements = prepare(root, names, old, new)
        try:
            applied = apply(io, root, root / ".mvc", placements, TOKEN)
        except StorageError:
            assert tree(root) == expected(old)
            assert not (root / ".mvc" / "journal").exists()
            return
        assert tree(root) == expected(new)
        try:
            if back:
                applied.rollback()
            else:
                commit(root, FaultIO())
                applied.finish()
        except StorageError:
            recover_all(root)
        assert tree(root) == expected(old if back else new)
    shutil.rmtree(root)


# --- refusals: nothing moves -------------------------------------------------------------------------------


def refused(root, error, placements=None, match=None, **keywords):
    """Apply must refuse, and leave the tree and the new files as they were."""
    before = tree(root)
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        if placements is None:
            placements = prepare(root, names)
        elif callable(placements):
            placements = placements(names)
        with pytest.raises(error, match=match):
            apply(FileIO(), root, root / ".mvc", placements, TOKEN, **keywords)
        assert all(item.temporary is None or item.temporary.exists() for item in placements)
    assert tree(root) == before
    assert not (root / ".mvc" / "journal").exists()


def new_file(path):
    def make(names):
        temporary = names.new()
        temporary.write_bytes(b"new")
        return [Placement(path, temporary, False)]

    return make


@pytest.mark.parametrize("where", ["folder", "emptied/deep", "brand"])
def test_links_in_the_place_of_folders_are_not_followed(root, tmp_path, where):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "goes.bin").write_bytes(b"not ours")
    (outside / "two.bin").write_bytes(b"not ours")
    if (root / where).exists():
        shutil.rmtree(root / where)
    (root / where).symlink_to(outside)
    refused(root, WouldOverwrite, match="symbolic link")
    assert sorted(item.name for item in outside.iterdir()) == ["goes.bin", "two.bin"]


def test_a_link_put_in_the_way_at_the_last_moment_leads_nowhere(root, tmp_path):
    """The way is walked anew, by handles, for every move."""
    (tmp_path / "outside").mkdir()

    class Attacker(FileIO):
        def link(self, source, target):
            super().link(source, target)  # the journal: from here on the plan is not looked at any more
            (root / "folder").rename(root / "moved")
            (root / "folder").symlink_to(tmp_path / "outside")

    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        placements = [*prepare(root, names), *new_file("folder/new.bin")(names)]
        with pytest.raises(StorageError):
            apply(Attacker(), root, root / ".mvc", placements, TOKEN)
    assert list((tmp_path / "outside").iterdir()) == []
    assert (root / "moved" / "goes.bin").read_bytes() == b"goes"
    assert not (root / ".mvc" / "journal").exists()


def test_a_link_in_a_files_place_is_replaced_and_not_followed(root, tmp_path):
    (tmp_path / "outside").write_bytes(b"not ours")
    (root / "changed.bin").unlink()
    (root / "changed.bin").symlink_to(tmp_path / "outside")
    check_out(root, FileIO(), then="rollback")
    assert os.readlink(root / "changed.bin") == str(tmp_path / "outside")
    check_out(root, FileIO())
    assert tree(root) == NEW_TREE
    assert (tmp_path / "outside").read_bytes() == b"not ours"


def test_a_file_where_a_folder_is_needed(root):
    refused(root, WouldOverwrite, new_file("same.bin/inside"), match=r"same\.bin is a file")


def test_a_folder_with_other_files_where_a_file_is_needed(root):
    (root / "folder-to-file" / "deep" / "mine.txt").write_bytes(b"untracked")
    refused(root, WouldOverwrite, match="folder-to-file is a folder with other files")


def test_a_pipe_in_a_files_place(root):
    os.mkfifo(root / "pipe")
    refused(root, WouldOverwrite, new_file("pipe"), match="pipe")
    refused(root, WouldOverwrite, [Placement("pipe", None, False)], match="pipe")


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../b", ".mvc/root", "a//b", "", ".git/hooks/x"])
def test_paths_that_lead_elsewhere(root, path):
    refused(root, InvalidPath, new_file(path))
    refused(root, InvalidPath, [Placement(path, None, False)])


def test_placements_that_contradict_each_other(root):
    make = new_file("x")
    refused(root, InvalidPath, lambda names: make(names) + make(names), match="twice")
    refused(root, InvalidPath, lambda names: [*make(names), Placement("x", None, False)], match="twice")
    refused(
        root, InvalidPath, lambda names: make(names) + new_file("x/y")(names), match="a file and a folder"
    )


def test_new_files_from_elsewhere(root, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"x")
    refused(root, StorageError, [Placement("x", tmp_path / "elsewhere", False)], match="not among")


def test_a_folder_on_another_file_system(root):
    class Mounted(FileIO):
        """``folder`` is a mount point."""

        def stat(self, path, *, folder=None):
            status = super().stat(path, folder=folder)
            if path != "folder":
                return status
            values = list(status)
            values[stat.ST_DEV] += 1
            return os.stat_result(values)

    with (
        TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names,
        pytest.raises(StorageError, match="folder is on another file system"),
    ):
        apply(Mounted(), root, root / ".mvc", prepare(root, names), TOKEN)
    assert tree(root) == OLD_TREE


def test_a_rename_that_the_file_system_refuses_in_the_middle(root):
    """A bind mount has the same device number, and renames across it fail all the same."""
    for step in (1, 3, 8, 12):
        io = FaultIO(fail_at=step, error=errno.EXDEV, counted={"replace"})
        with pytest.raises(StorageError) as caught:
            check_out(root, io)
        assert "file system" in caught.value.hint
        assert io.failed
        assert tree(root) == OLD_TREE


class Folding(FileIO):
    """A file system that takes names for one that differ only by case, or by Unicode form."""

    def __init__(self, case, form):
        self.case, self.form = case, form

    def stat(self, path, *, folder=None):
        try:
            return super().stat(path, folder=folder)
        except FileNotFoundError:
            text = str(path)
            other = text[:-1] + "k" if self.case and text.endswith("K") else text
            other = text[:-2] + "\u00e9" if self.form and text.endswith("e\u0301") else other
            return super().stat(other, folder=folder)


CASE, FORM = ["Model.bin", "model.bin"], ["caf\u00e9", "cafe\u0301"]


@pytest.mark.parametrize(
    ("case", "form", "groups", "refuses"),
    [
        (False, False, [CASE, FORM], False),
        (True, False, [CASE], True),
        (True, False, [FORM], False),
        (False, True, [FORM], True),
        (False, True, [CASE], False),
        (True, True, [["Caf\u00e9", "cafe\u0301"]], True),
        (True, False, [["Caf\u00e9", "cafe\u0301"]], False),
        (True, True, [], False),
    ],
)
def test_names_that_the_file_system_cannot_tell_apart(root, case, form, groups, refuses):
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        placements = prepare(root, names)
        if refuses:
            with pytest.raises(InvalidPath, match="cannot hold both"):
                apply(Folding(case, form), root, root / ".mvc", placements, TOKEN, groups)
            assert tree(root) == OLD_TREE
        else:
            apply(Folding(case, form), root, root / ".mvc", placements, TOKEN, groups).finish()
            assert tree(root) == NEW_TREE


def test_two_at_once(root):
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        applied = apply(FileIO(), root, root / ".mvc", prepare(root, names), TOKEN)
        with pytest.raises(Busy):
            apply(FileIO(), root, root / ".mvc", new_file("x")(names), TOKEN)
        with pytest.raises(Busy):
            recover_all(root)
        assert sweep_temporary(FileIO(), root / ".mvc" / "tmp") == 0
        assert tree(root) == NEW_TREE
        applied.rollback()
    assert tree(root) == OLD_TREE


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "late"), [(errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, False)])
def test_an_error_at_any_step_leaves_the_old_tree(tmp_path, error, late):
    root = make_tree(tmp_path / "work", OLD)
    step = 0
    while True:
        step += 1
        io = FaultIO(fail_at=step, error=error, late=late)
        with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
            placements = prepare(root, names)
            try:
                applied = apply(io, root, root / ".mvc", placements, TOKEN)
            except StorageError:
                assert io.failed
                assert tree(root) == OLD_TREE
                assert not (root / ".mvc" / "journal").exists()
                assert all(item.temporary is None or item.temporary.exists() for item in placements)
            else:
                with suppress(StorageError):
                    applied.rollback()
                recover_all(root)
        if not io.failed:
            break
        sweep_temporary(FileIO(), root / ".mvc" / "tmp")
        assert left_in_store(root) == {"tmp"}
        assert tree(root) == OLD_TREE
    assert step > 200


@pytest.mark.parametrize("failing", [NEEDS_SPACE, READING + WRITING])
def test_a_disk_that_stays_full_or_dead_is_mended_by_recovery(tmp_path, failing):
    root = make_tree(tmp_path / "work", OLD)
    step, recovered = 0, 0
    while True:
        step += 3
        io = FaultIO(fail_at=step, error=errno.ENOSPC, for_ever=True, failing=failing)
        with suppress(StorageError, OSError):
            check_out(root, io)
        if not io.failed:
            break
        recovered += recover_all(root)
        if is_committed(root)(TOKEN):
            assert tree(root) == NEW_TREE
            shutil.rmtree(root)
            make_tree(root, OLD)
        assert tree(root) == OLD_TREE
        sweep_temporary(FileIO(), root / ".mvc" / "tmp")
        assert not (root / ".mvc" / "journal").exists()
    assert step > 200
    assert recovered > 0, "some errors were past what the rollback itself could mend"


@pytest.mark.parametrize("then", ["finish", "rollback"])
def test_an_error_in_finish_or_rollback_is_mended_by_recovery(tmp_path, then):
    step, recovered = 0, 0
    while True:
        step += 1
        root = make_tree(tmp_path / str(step), OLD)
        io = FaultIO(fail_at=step, counted=WRITING)
        with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
            applied = apply(FaultIO(), root, root / ".mvc", prepare(root, names), TOKEN)
            if then == "finish":
                commit(root, FaultIO())
            applied._io = applied._mover._io = applied._mover._tree.io = io
            try:
                applied.finish() if then == "finish" else applied.rollback()
            except StorageError:
                recovered += recover_all(root)
        assert tree(root) == (NEW_TREE if then == "finish" else OLD_TREE)
        recover_all(root)
        assert left_in_store(root) == ({"tmp", "head"} if then == "finish" else {"tmp"})
        if not io.failed:
            break
    assert step > 5
    assert recovered > 0


def test_what_comes_in_the_way_meanwhile_is_not_overwritten(root):
    class Meddler(FaultIO):
        """Somebody writes a file where one was just moved away."""

        def replace(self, source, target, **folders):
            FileIO.replace(self, source, target, **folders)
            if source == "changed.bin":
                (root / "changed.bin").write_bytes(b"just written")

    with pytest.raises(WouldOverwrite, match=r"changed\.bin"):
        check_out(root, Meddler())
    [saved] = root.glob("changed.bin.mvc-saved-*")
    assert saved.read_bytes() == b"just written"
    saved.unlink()
    assert tree(root) == OLD_TREE


SAVE = b"a trainer's save"


def save_in_place(root, path):
    (root / path).write_bytes(SAVE)


def save_by_rename(root, path):
    """As one does it who wants no half files; size and time are those of the file before."""
    before = (root / path).stat()
    temporary = root / f"{path}.part"
    temporary.write_bytes(SAVE[: before.st_size])
    os.utime(temporary, ns=(before.st_atime_ns, before.st_mtime_ns))
    temporary.rename(root / path)


@pytest.mark.parametrize("save", [save_in_place, save_by_rename])
@pytest.mark.parametrize("path", ["changed.bin", "folder/goes.bin"])
@pytest.mark.parametrize("when", ["planned", "journal", "look"])
def test_what_is_saved_after_the_plan_is_not_removed(root, path, save, when):
    saved = []

    class Trainer(FileIO):
        """Saves at a certain step of the checkout."""

        def save(self):
            if not saved:
                save(root, path)
                saved.append((root / path).read_bytes())

        def link(self, source, target):
            super().link(source, target)
            if when == "journal":
                self.save()

        def replace(self, source, target, **folders):
            # the last moment: the file has been looked at and is about to be moved
            if when == "look" and source == os.path.basename(path):
                self.save()
            super().replace(source, target, **folders)

    io = Trainer()
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        placements = prepare(root, names)
        if when == "planned":
            io.save()
        with pytest.raises(WouldOverwrite, match=path):
            apply(io, root, root / ".mvc", placements, TOKEN)
        assert all(item.temporary is None or item.temporary.exists() for item in placements)
    assert saved == [(root / path).read_bytes()]
    assert tree(root) == OLD_TREE | {path: (saved[0], False)}
    assert not (root / ".mvc" / "journal").exists()


def test_a_file_where_the_plan_saw_none_is_not_removed(root):
    refused(root, WouldOverwrite, new_file("same.bin"), match=r"same\.bin was written")


@pytest.mark.parametrize("path", ["changed.bin", "folder/goes.bin"])
def test_what_is_written_to_a_file_that_was_moved_away_is_set_aside(root, path):
    with open(root / path, "r+b") as handle, TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        applied = apply(FileIO(), root, root / ".mvc", prepare(root, names), TOKEN)
        handle.write(SAVE)
        handle.flush()
        applied.finish()
    [kept] = root.glob(f"{path}.mvc-saved-*")
    assert kept.read_bytes() == SAVE
    kept.unlink()
    assert tree(root) == NEW_TREE


def test_what_was_still_written_to_a_folder_that_went_is_set_aside_above_it(root):
    with (
        open(root / "folder-to-file" / "deep" / "b", "r+b") as handle,
        TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names,
    ):
        applied = apply(FileIO(), root, root / ".mvc", prepare(root, names), TOKEN)
        handle.write(SAVE)
        handle.flush()
        applied.finish()
    [kept] = root.glob("b.mvc-saved-*")
    assert kept.read_bytes() == SAVE
    kept.unlink()
    assert tree(root) == NEW_TREE


# --- kills -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["finish", "rollback"])
def test_a_kill_at_any_step_leaves_old_or_new(tmp_path, then):
    step, seen = 0, []
    while True:
        step += 1
        root = make_tree(tmp_path / str(step), OLD)
        if not run_killed_at(lambda io, root=root: check_out(root, io, then), step, CHANGING):
            break
        recovered = recover_all(root)
        committed = is_committed(root)(TOKEN)
        assert tree(root) == (NEW_TREE if committed else OLD_TREE)
        assert left_in_store(root) - {"head.new"} == ({"tmp", "head"} if committed else {"tmp"})
        assert not recover_all(root)
        seen.append((committed, recovered))
    assert step > 30
    assert {(False, False), (False, True)} <= set(seen)
    assert then == "rollback" or {(True, True), (True, False)} <= set(seen)


@pytest.mark.parametrize("then", ["finish", "rollback"])
def test_a_recovery_that_is_killed_at_any_step_is_finished_by_the_next(tmp_path, then):
    kills, first = 0, 5
    while True:
        wreck = make_tree(tmp_path / f"wreck{first}", OLD)
        if not run_killed_at(lambda io, wreck=wreck: check_out(wreck, io, then), first, CHANGING):
            break
        step = 0
        while True:
            step += 1
            root = tmp_path / f"{first}-{step}"
            shutil.copytree(wreck, root)
            killed = run_killed_at(lambda io, root=root: recover_all(root, io), step, CHANGING)
            kills += killed
            recover_all(root)
            assert tree(root) == (NEW_TREE if is_committed(root)(TOKEN) else OLD_TREE)
            assert not (root / ".mvc" / "journal").exists()
            shutil.rmtree(root)
            if not killed:
                break
        first += 9
    assert kills > 50


def killed_half_way(root, then="finish"):
    """A checkout that was killed right after all new files had come."""
    for step in range(1, 200):
        assert run_killed_at(lambda io: check_out(root, io, then), step, CHANGING)
        if tree(root) == NEW_TREE:
            return
        recover_all(root)
    raise AssertionError("no step left the new tree behind")


def test_work_done_after_a_kill_is_not_lost_by_the_recovery(root):
    killed_half_way(root)
    (root / "changed.bin").write_bytes(b"edited since")
    (root / "brand" / "new" / "file.bin").write_bytes(b"edited too")
    (root / "brand" / "mine").write_bytes(b"mine")
    (root / "emptied").write_bytes(b"a file where a folder was")
    assert recover_all(root)
    left = tree(root)
    saved = [path for path in left if ".mvc-saved-" in path]
    aside = {path.rpartition(".mvc-saved-")[0]: left.pop(path)[0] for path in saved}
    assert aside == {"changed.bin": b"edited since", "emptied": b"a file where a folder was"}
    kept = {"brand/new/file.bin": b"edited too", "brand/mine": b"mine"}
    assert left == expected(OLD | kept)


def test_work_done_after_a_kill_is_not_lost_when_the_recovery_goes_forward(root):
    with (
        open(root / "changed.bin", "r+b") as handle,
        TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names,
    ):
        applied = apply(FileIO(), root, root / ".mvc", prepare(root, names), TOKEN)
        handle.write(SAVE)
        handle.flush()
        commit(root, FileIO())
        applied.abandon()
    assert recover_all(root)
    [kept] = root.glob("changed.bin.mvc-saved-*")
    assert kept.read_bytes() == SAVE
    kept.unlink()
    assert tree(root) == NEW_TREE


def test_a_recovery_does_not_take_away_what_came_after_the_plan(root):
    """A power cut has lost the rename, and somebody has saved in its place."""
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        applied = apply(FileIO(), root, root / ".mvc", prepare(root, names), TOKEN)
        [move] = [move for move in applied._journal.moves if move.path == "folder/goes.bin"]
        (root / ".mvc" / "tmp" / move.old).rename(root / move.path)
        save_in_place(root, move.path)
        commit(root, FileIO())
        applied.abandon()
    assert recover_all(root)
    [kept] = root.glob("folder/goes.bin.mvc-saved-*")
    assert kept.read_bytes() == SAVE
    kept.unlink()
    assert tree(root) == NEW_TREE


def test_the_sweep_does_not_touch_an_interrupted_checkout(root):
    killed_half_way(root)
    before = left_in_store(root)
    assert sweep_temporary(FileIO(), root / ".mvc" / "tmp") == 0
    assert left_in_store(root) == before
    assert recover_all(root)
    assert tree(root) == OLD_TREE


def test_apply_does_not_run_over_an_interrupted_checkout(root):
    killed_half_way(root)
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names, pytest.raises(Busy):
        apply(FileIO(), root, root / ".mvc", new_file("x")(names), TOKEN)
    assert recover_all(root)
    assert tree(root) == OLD_TREE


def test_a_question_that_fails_leaves_the_recovery_to_the_next(root):
    killed_half_way(root)

    def unreadable(token):
        raise CorruptFile("root is damaged")

    with pytest.raises(CorruptFile):
        recover(FileIO(), root, root / ".mvc", unreadable)
    assert recover_all(root)
    assert tree(root) == OLD_TREE


# --- the journal -------------------------------------------------------------------------------------------


GOOD = "1-0123456789abcdef-0123456789abcdef"
KEY = Seen(5, 11, 13)
JOURNAL = Journal(
    TOKEN, (Move("a/b", GOOD, None, 3, 7), Move("c", None, GOOD, seen=KEY)), ("a",), (("d", 0o755),)
)


def test_a_journal_reads_back():
    assert Journal.from_bytes(JOURNAL.to_bytes()) == JOURNAL


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_a_damaged_journal_is_told(data):
    whole = JOURNAL.to_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    broken[position] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(broken), whole[:position]):
        with pytest.raises(CorruptFile):
            Journal.from_bytes(damaged)


@pytest.mark.parametrize(
    "evil",
    [
        Journal(TOKEN, (Move("../../.ssh/authorized_keys", GOOD, None),), (), ()),
        Journal(TOKEN, (Move(".git/hooks/post-checkout", GOOD, None),), (), ()),
        Journal(TOKEN, (Move("a", f"{GOOD}/../../x", None),), (), ()),
        Journal(TOKEN, (Move("a", None, "../../x", seen=KEY),), (), ()),
        Journal(TOKEN, (Move("a", None, GOOD),), (), ()),
        Journal(TOKEN, (Move("a", GOOD, None, seen=KEY),), (), ()),
        Journal(TOKEN, (Move("a", None, GOOD, seen=(5, "11", 13)),), (), ()),
        Journal(TOKEN, (Move("a", None, GOOD, seen=(5, 11)),), (), ()),
        Journal(TOKEN, (Move("a", "head", None),), (), ()),
        Journal(TOKEN, (), ("../x",), ()),
        Journal(TOKEN, (), (), (("/etc", 0o777),)),
        Journal(TOKEN, (Move("a", GOOD, None, "3", 7),), (), ()),
        Journal("text", (), (), ()),
    ],
)
def test_a_journal_from_a_stranger_leads_nowhere(root, evil):
    (root / ".mvc" / "journal").write_bytes(evil.to_bytes())
    (root / ".mvc" / "tmp" / GOOD).write_bytes(b"evil")
    for answer in (True, False):
        with pytest.raises(CorruptFile, match="journal"):
            recover(FileIO(), root, root / ".mvc", lambda token, answer=answer: answer)
    assert tree(root) == OLD_TREE


# --- power cuts --------------------------------------------------------------------------------------------


def power_cut(tmp_path, then, count, forget=()):
    """Cut the power at every step; returns how many states were looked at, and how many came out wrong."""
    root = make_tree(tmp_path / "work", OLD)
    names = TemporaryNames(FileIO(), root / ".mvc" / "tmp")
    placements = prepare(root, names)
    before, io = snapshot(root), Recorder()
    applied = apply(io, root, root / ".mvc", placements, TOKEN)
    if then == "finish":
        commit(root, io)
        applied.finish()
    else:
        applied.rollback()
    rng, wrong, total = random.Random(11), 0, 0
    model = PowerCut(root, before, io.trace, forget)
    # what is opened and closed in between changes nothing
    for cut in range(len(io.trace) + 1):
        if cut < len(io.trace) and io.trace[cut].name in ("open", "close"):
            continue
        for state in model.states(cut, count, rng):
            total += 1
            place = tmp_path / f"cut{total}"
            lay_out(state, place)
            try:
                recover_all(place)
                result = tree(place)
                done = then == "finish" and cut == len(io.trace)
                wrong += result != (NEW_TREE if done or is_committed(place)(TOKEN) else OLD_TREE)
            except (MvcError, OSError):
                wrong += 1
            shutil.rmtree(place)
    return total, wrong


@pytest.mark.parametrize("then", ["finish", "rollback"])
def test_a_power_cut_leaves_old_or_new(tmp_path, then):
    total, wrong = power_cut(tmp_path, then, 3)
    assert total > 200
    assert wrong == 0


def test_a_finished_checkout_does_not_come_back_over_later_work(root, tmp_path):
    """Its journal must be gone for good: it would remove a file that somebody has made again since."""
    names = TemporaryNames(FileIO(), root / ".mvc" / "tmp")
    placements = prepare(root, names)
    before, io = snapshot(root), Recorder()
    applied = apply(io, root, root / ".mvc", placements, TOKEN)
    commit(root, io)
    applied.finish()
    write_durable(io, root / "folder" / "unfinished", root / "folder" / "goes.bin", [b"again"], replace=True)
    for number, state in enumerate(
        PowerCut(root, before, io.trace).states(len(io.trace), 20, random.Random(2))
    ):
        place = tmp_path / str(number)
        lay_out(state, place)
        recover_all(place)
        assert (place / "folder" / "goes.bin").read_bytes() == b"again"


def test_files_of_one_size_and_time_are_not_mixed_up(root):
    """A recovery killed after it had brought an old file back, on a disk that counts whole seconds."""
    with TemporaryNames(FileIO(), root / ".mvc" / "tmp") as names:
        temporary = names.new()
        temporary.write_bytes(b"NEW WEIGHTS"[: len(OLD["changed.bin"])])
        for path in (temporary, root / "changed.bin"):
            os.utime(path, ns=(10**18, 10**18))
        placements = [Placement("changed.bin", temporary, False, seen(root, "changed.bin"))]
        applied = apply(FileIO(), root, root / ".mvc", placements, TOKEN)
        applied._mover.backward()
        temporary.unlink()
        applied.rollback()
    assert tree(root) == OLD_TREE


def test_without_syncs_a_power_cut_does_harm(tmp_path):
    assert power_cut(tmp_path / "folders", "finish", 2, ("sync_folder",))[1] > 0
    assert power_cut(tmp_path / "files", "finish", 2, ("sync",))[1] > 0
