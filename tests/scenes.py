"""The commands that kills, refusals, power cuts, strace and full disks all run over: one table.

A :class:`Scene` prepares a folder and acts on it with one command, in process or as a command line. A
:class:`Stage` is a scene that was played once without a fault: it knows what the folder looks like before and
after, and judges what a fault has left of it. A :class:`Session` is several commands in a row.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mvc.errors import MvcError, RepositoryNotFound
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ObjectId, TagId, TreeId
from mvc.objects import Tag
from mvc.odb.pack import pack_key
from mvc.ops import bisect, branch, notes, tag
from mvc.ops import merge as merge_verb
from mvc.ops import pick as pick_verb
from mvc.ops.fsck import fsck
from mvc.ops.gc import Request as Collecting
from mvc.ops.gc import empty_trash, gc, undo_gc
from mvc.ops.init import init
from mvc.ops.purge import Request as Purging
from mvc.ops.purge import purge
from mvc.ops.repair import Request as Repairing
from mvc.ops.repair import repair
from mvc.ops.reset import reset
from mvc.ops.restore import restore
from mvc.ops.switch import switch, switch_orphan
from mvc.ops.undo import undo
from mvc.refs import decode_target, peeled_target
from mvc.remotes import outgoing
from mvc.repo import Repository
from mvc.sharing.fetching import FetchRequest, fetch
from mvc.sharing.pushing import PushRequest, push
from mvc.sharing.settings import Remote, with_remote
from mvc.store import SharedFolder, Store
from mvc.targets import targets
from mvc.underway.pending import read_pending
from mvc.underway.unresolved import unresolved
from mvc.upkeep.check import Checker
from mvc.view import View
from mvc.workspace import files_of_tree, locked
from tests import engine
from tests.engine import ME, make_repository, now, open_repository, snapshot, switch_to, two_versions
from tests.engine import weights_versions as training
from tests.family import file_of, tuned, weights
from tests.lines import cherry_pick, fork, go_on, merge, model, put, request, revert, version

# --- where scenes begin ------------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    """A folder with a file, and no repository."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(training(1)[0])


def empty(folder: Path) -> None:
    """A repository without a version."""
    make_repository(folder)
    put(folder, {"model.safetensors": training(1)[0], "sub/notes.txt": "notes\n"})


def changed(folder: Path) -> None:
    """Two versions, and work that is not committed."""
    two_versions(folder)
    put(folder, {"model.safetensors": training(3)[2], "more.txt": "more\n"})


def relatives(folder: Path) -> None:
    """A version, and two files that come from it by a recipe and by training."""
    repository = make_repository(folder)
    wide = weights(1, {"w": (40, 256)})
    (folder / "wide.safetensors").write_bytes(file_of(wide, "F32"))
    snapshot(repository, "one")
    (folder / "narrow.safetensors").write_bytes(file_of(wide))
    (folder / "wide.safetensors").write_bytes(file_of(tuned(wide, 2), "F32"))


def clean(folder: Path) -> None:
    """Two versions that differ in every way a file can."""
    two_versions(folder)


def gone_back(folder: Path) -> None:
    """The same, with the first of them checked out."""
    repository, _one, _two = two_versions(folder)
    switch_to(repository, "HEAD~1")


def chain(folder: Path) -> None:
    """Five small versions."""
    repository = make_repository(folder)
    for number in range(5):
        version(repository, {"x": f"{number}\n", f"f{number % 2}": f"{number}"}, f"v{number}")


def forked(folder: Path) -> None:
    """Two branches in conflict in one file; ``side`` has two versions."""
    repository = fork(
        folder,
        {"x": b"\0base", "gone": "gone", "m.safetensors": model()},
        {"x": b"\0ours", "m.safetensors": model(a=1.0)},
        {"gone": None, "m.safetensors": model(b=1.0)},
    )
    with repository.reading() as view:
        side = view.refs.get("refs/heads/side")
    assert side is not None
    reset(repository, side.hex(), ME, now(), mode="hard")
    version(repository, {"x": b"\0theirs", "new": "new"}, "conflict")
    with repository.reading() as view:
        tip = view.head_commit()
    assert tip is not None
    reset(repository, "HEAD@{2}", ME, now(), mode="hard")
    branch.create(repository, "side", tip.hex(), ME, now(), force=True)


def in_conflict(folder: Path) -> None:
    """A merge that stopped."""
    forked(folder)
    assert merge(open_repository(folder)).conflicts


def resolved(folder: Path) -> None:
    """A merge that stopped, with its conflict settled by hand."""
    in_conflict(folder)
    put(folder, {"x": b"\0both"})


def dirty(folder: Path) -> None:
    """A merge that stopped, and work on top of it."""
    in_conflict(folder)
    put(folder, {"x": b"\0half", "new": None, "gone": "again"})


def picked(folder: Path) -> None:
    """A cherry-pick that stopped, with its conflict settled by hand."""
    forked(folder)
    assert cherry_pick(open_repository(folder), "main~1..side").conflicts
    put(folder, {"x": b"\0both"})


def reverting(folder: Path) -> None:
    """A revert that stopped."""
    chain(folder)
    assert revert(open_repository(folder), "HEAD~2").conflicts


def bisecting(folder: Path) -> None:
    """A bisection under way."""
    chain(folder)
    bisect.start(open_repository(folder), "main", ["main~4"], ME, now())


def littered(folder: Path) -> None:
    """Versions that stay, and some that were undone and amended: packs of garbage, and mixed ones."""
    repository = make_repository(folder)
    for number, content in enumerate(training(3, 1000)):
        put(folder, {"model.safetensors": content, "log.txt": "step\n" * 40 * (number + 1)})
        snapshot(repository, f"v{number}")
        tag.create(repository, f"v{number}", "HEAD", ME, now(), message=f"version {number}")
    put(folder, {"undone": noise(1, 9000)})
    snapshot(repository)
    undo(repository, ME, now())
    put(folder, {"undone": noise(2, 3000)})
    snapshot(repository)
    put(folder, {"undone": None, "small.txt": "kept\n" * 100})
    snapshot(repository, None, amend=True)
    repository.temporary.close()


def collected(folder: Path) -> None:
    """The same after a collection: the garbage lies in the trash."""
    littered(folder)
    repository = open_repository(folder)
    _collect(repository)
    repository.temporary.close()


def leaked(folder: Path) -> None:
    """Three versions; a file that should never have been committed is in the second."""
    repository = make_repository(folder)
    version(repository, {"model.safetensors": training(1)[0], "x": "1\n"}, "one")
    version(repository, {"secret.bin": noise(1, 5000), "x": "2\n"}, "two")
    version(repository, {"secret.bin": None, "x": "3\n"}, "three")
    repository.temporary.close()


def broken(folder: Path) -> None:
    """Versions with a file of which a piece went bad, and beside them a sound copy of the whole."""
    littered(folder)
    shutil.copytree(folder, folder.with_name("copy"))
    with open_repository(folder).reading() as view:
        files = [item for tree in _trees(view) for item in files_of_tree(view, tree).values()]
        parts = [part for item in files for part in view.manifests.manifest(item.id).parts]
        blobs = {part.blob for part in parts if part.blob is not None}
        places = sorted({view.objects.entries(blob)[0] for blob in blobs})
    for entry in places[:3]:
        pack = folder / ".mvc" / pack_key(entry.pack)
        data = bytearray(pack.read_bytes())
        data[entry.offset + entry.length - 40] ^= 0xFF
        pack.chmod(0o644)
        pack.write_bytes(data)


def _with_remote(folder: Path) -> Repository:
    """A version that a store beside it has too; in the work tree, where both are copied together."""
    repository = make_repository(folder)
    version(repository, {".mvcignore": "remote/\n", "model.safetensors": training(1)[0]}, "one")
    SharedFolder.create(FileIO(), folder / REMOTE, Monitor(), branch="main")
    repository.write_config(with_remote(repository.config(), *_ORIGIN))
    _push(repository)
    return repository


def ahead(folder: Path) -> None:
    """Two versions that a remote lacks."""
    repository = _with_remote(folder)
    version(repository, {"model.safetensors": training(2)[1], "more": noise(1, 5000)}, "two")
    version(repository, {"model.safetensors": training(3)[2]}, "three")


def behind(folder: Path) -> None:
    """Two versions that only the remote has."""
    repository = _with_remote(folder)
    version(repository, {"model.safetensors": training(2)[1], "more": noise(1, 5000)}, "two")
    version(repository, {"model.safetensors": training(3)[2]}, "three")
    _push(repository)
    shutil.move(folder / REMOTE, folder.with_name(REMOTE))
    shutil.rmtree(folder)
    repository = make_repository(folder)
    repository.write_config(with_remote(repository.config(), *_ORIGIN))
    shutil.move(folder.with_name(REMOTE), folder / REMOTE)
    version(repository, {".mvcignore": "remote/\n", "other": "other\n"}, "other")


def noise(seed: int, length: int) -> bytes:
    """Bytes that nothing makes smaller."""
    return np.random.default_rng(seed).bytes(length)


# --- the table ---------------------------------------------------------------------------------------------

Act = Callable[[Repository], object]


@dataclass(frozen=True)
class Scene:
    """``prepare`` fills a folder that does not exist yet; ``act`` is one command on the repository in it,
    ``words`` the same as a command line, if what it makes does not depend on the time. Of a ``quiet`` command
    users see nothing: what they see is the same before and after. ``makes`` says that there is no repository
    before it, ``mends`` that it is damaged before, with a sound one called ``copy`` beside it: then a second
    command must bring a killed one to its end."""

    prepare: Callable[[Path], object]
    act: Act
    words: tuple[str, ...]
    quiet: bool = False
    makes: bool = False
    mends: bool = False

    def run(self, folder: Path, io: FileIO) -> None:
        """The command, with a disk of the caller's choice."""
        if self.makes:
            init(io, folder, Monitor())
        else:
            self.act(open_repository(folder, io))


def _collect(repository: Repository) -> None:
    gc(repository, Collecting(now(), 0))


def _repack(repository: Repository) -> None:
    gc(repository, Collecting(now(), 0, repack=True))


REMOTE = "remote"
_ORIGIN = Remote("origin", REMOTE)


def _push(repository: Repository) -> None:
    """With packs of a few records, and so several of them."""
    least, outgoing.LEAST = outgoing.LEAST, 2000
    try:
        push(repository, _ORIGIN, PushRequest(), ME, now())
    finally:
        outgoing.LEAST = least


def _fetch(repository: Repository) -> None:
    fetch(repository, _ORIGIN, FetchRequest(), ME, now())


SCENES: dict[str, Scene] = {
    "init": Scene(nothing, lambda _: None, ("init",), makes=True),
    "first commit": Scene(empty, lambda r: snapshot(r, "one"), ("commit", "-m", "one")),
    "commit": Scene(changed, lambda r: snapshot(r, "three"), ("commit", "-m", "three")),
    "commit of relatives": Scene(relatives, lambda r: snapshot(r, "two"), ("commit", "-m", "two")),
    "commit --amend": Scene(
        changed, lambda r: snapshot(r, "again", amend=True), ("commit", "--amend", "-m", "again")
    ),
    "checkout": Scene(clean, lambda r: switch_to(r, "HEAD~1"), ("checkout", "HEAD~1")),
    "switch": Scene(forked, lambda r: switch(r, "side", ME, now()), ("switch", "side")),
    "switch --orphan": Scene(forked, lambda r: switch_orphan(r, "o", ME, now()), ("switch", "--orphan", "o")),
    "merge": Scene(forked, lambda r: merge(r, strategy="theirs"), ("merge", "--strategy", "theirs", "side")),
    "merge in conflict": Scene(forked, merge, ("merge", "side")),
    "merge --continue": Scene(resolved, go_on, ("merge", "--continue")),
    "merge --continue with a strategy": Scene(
        in_conflict, lambda r: go_on(r, "theirs"), ("merge", "--continue", "--strategy", "theirs")
    ),
    "merge --abort": Scene(dirty, lambda r: merge_verb.abort(r, ME, now()), ("merge", "--abort")),
    "cherry-pick of several": Scene(
        forked, lambda r: cherry_pick(r, "main~1..side"), ("cherry-pick", "main~1..side")
    ),
    "cherry-pick --continue": Scene(
        picked,
        lambda r: pick_verb.go_on(r, "cherry-pick", request()),
        ("cherry-pick", "--continue"),
    ),
    "revert --skip": Scene(reverting, lambda r: pick_verb.skip(r, "revert", request()), ("revert", "--skip")),
    "undo": Scene(gone_back, lambda r: undo(r, ME, now()), ("undo",)),
    "undo of a merge in conflict": Scene(
        in_conflict, lambda r: undo(r, ME, now(), force=True), ("undo", "--force")
    ),
    "reset --hard": Scene(
        dirty, lambda r: reset(r, "HEAD~1", ME, now(), mode="hard"), ("reset", "--hard", "HEAD~1")
    ),
    "restore --theirs": Scene(
        in_conflict, lambda r: restore(r, [], ME, now(), side="theirs"), ("restore", "--theirs", ".")
    ),
    "tag": Scene(
        clean,
        lambda r: tag.create(r, "v1", "HEAD", ME, now(), message="one"),
        ("tag", "-m", "one", "v1"),
    ),
    "notes": Scene(
        clean,
        lambda r: notes.add(r, "HEAD", notes.Wording({}, {}, "good"), ME, now()),
        (),  # with its time in it
    ),
    "bisect start": Scene(
        chain,
        lambda r: bisect.start(r, "main", ["main~4"], ME, now()),
        ("bisect", "start", "main", "main~4"),
    ),
    "bisect reset": Scene(bisecting, lambda r: bisect.reset(r, None, ME, now()), ("bisect", "reset")),
    "gc": Scene(littered, _collect, ("gc", "--expire", "now"), quiet=True),
    "gc --repack": Scene(littered, _repack, ("gc", "--repack", "--expire", "now"), quiet=True),
    "gc --undo": Scene(collected, undo_gc, ("gc", "--undo")),
    "purge --rewrite": Scene(
        leaked,
        lambda r: purge(r, Purging(("secret.bin",), ME, now(), rewrite=True)),
        ("purge", "--rewrite", "--yes", "secret.bin"),
    ),
    "repair": Scene(
        broken,
        lambda r: repair(r, Repairing(ME, now(), [r.worktree.with_name("copy")])),
        ("repair", "--from", "../copy"),
        quiet=True,
        mends=True,
    ),
    "gc --empty-trash": Scene(collected, empty_trash, ("gc", "--empty-trash"), quiet=True),
    "push": Scene(ahead, _push, ("push",)),
    "fetch": Scene(behind, _fetch, ("fetch",)),
}
"""Every command that changes a repository."""


@dataclass(frozen=True)
class Session:
    """Commands one after the other in one folder: what one of them leaves unsynced may go while a later one
    works."""

    prepare: Callable[[Path], object]
    acts: tuple[Act, ...]


def _write_and_commit(files: Mapping[str, bytes | str | None]) -> Act:
    def act(repository: Repository) -> None:
        put(repository.worktree, files)
        snapshot(repository, "later")

    return act


SESSIONS: dict[str, Session] = {
    "commit, undo, commit": Session(
        changed,
        (
            lambda r: snapshot(r, "three"),
            lambda r: undo(r, ME, now(), force=True),
            lambda r: snapshot(r, "four", amend=True),
        ),
    ),
    "checkout to and fro": Session(
        clean,
        (lambda r: switch_to(r, "HEAD~1"), lambda r: switch_to(r, "main"), lambda r: switch_to(r, "HEAD~1")),
    ),
    "merge, abort, merge": Session(
        forked,
        (
            merge,
            lambda r: merge_verb.abort(r, ME, now()),
            lambda r: merge(r, strategy="theirs"),
        ),
    ),
    "amend, gc, checkout": Session(
        changed,
        (
            lambda r: snapshot(r, "again", amend=True),
            _collect,
            lambda r: switch_to(r, "HEAD~1"),
        ),
    ),
    "gc, commit, gc --repack": Session(
        littered,
        (_collect, lambda r: snapshot(r, "later", allow_empty=True), _repack),
    ),
    "gc, gc --undo, gc": Session(littered, (_collect, undo_gc, _collect)),
    "push, commit, push": Session(ahead, (_push, lambda r: snapshot(r, "four", allow_empty=True), _push)),
}


# --- what a user sees --------------------------------------------------------------------------------------


class Broken(AssertionError):
    """What a fault left is not what was promised."""


class Lost(Broken):
    """Something that was acknowledged is not there."""


class Wrong(Broken):
    """Bytes differ, or the store is damaged."""


class Seen(NamedTuple):
    """What a user sees of a folder: HEAD, what refs mean, what is under way, the work tree's files, the log
    of operations, and refs and log of the remote in it. Times and ids of versions are left out, so that every
    playing of it looks the same."""

    head: str | None
    refs: tuple[tuple[str, Any], ...]
    under_way: tuple[Any, ...]
    files: tuple[tuple[str, bytes, bool], ...]
    log: tuple[str, ...]
    remote: tuple[Any, ...] = ()


def look(folder: Path, io: FileIO | None = None) -> Seen:
    """Look at a folder as ``mvc status`` would: what was interrupted is settled first."""
    try:
        repository = open_repository(folder, io)
    except RepositoryNotFound:
        return Seen(None, (), (), work_files(folder), ())
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        pending = read_pending(view)
        under_way: tuple[Any, ...] = ()
        if pending is not None:
            under_way = (pending.kind, tuple(item.path for item in unresolved(workspace, view, pending)))
        meanings = _Meanings(view)
        head = view.head if isinstance(view.head, str) else str(meanings.of(view.head))
        refs = tuple((name, meanings.of(decode_target(value))) for name, value in view.refs.values())
        log = tuple(operation.command for operation in view.operations())
    return Seen(head, refs, under_way, work_files(folder), log, _look_at_remote(folder))


def _look_at_remote(folder: Path) -> tuple[Any, ...]:
    store = remote_of(folder)
    if store is None:
        return ()
    with store.reading() as view:
        meanings = _Meanings(view)
        refs = tuple((name, meanings.of(decode_target(value))) for name, value in view.refs.values())
        return refs, tuple(operation.command for operation in view.operations())


def remote_of(folder: Path) -> SharedFolder | None:
    """The store that lies in a folder as its remote, if one does."""
    place = folder / REMOTE
    return SharedFolder.open(FileIO(), place, Monitor()) if place.is_dir() else None


class _Meanings:
    """What ids mean, without times."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[ObjectId, Any] = {}

    def of(self, identity: ObjectId | None) -> Any:
        if identity is None:
            return None
        if identity not in self._known:
            self._known[identity] = self._find(identity)
        return self._known[identity]

    def _find(self, identity: ObjectId) -> Any:
        if isinstance(identity, TagId):
            found = Tag.from_bytes(self._view.objects.get(identity))
            return "tag", found.message, self.of(found.target)
        assert isinstance(identity, CommitId)
        commit = self._view.commit(identity)
        text = repr((commit.message, commit.tree.hex(), [self.of(parent) for parent in commit.parents]))
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def work_files(folder: Path) -> tuple[tuple[str, bytes, bool], ...]:
    """Every file outside the store: path, content, whether it may be executed."""
    found = []
    stack = [""]
    while stack:
        inside = stack.pop()
        with os.scandir(os.path.join(folder, inside)) as entries:
            for entry in entries:
                path = inside + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path not in (".mvc", REMOTE):
                        stack.append(path + "/")
                else:
                    with open(entry.path, "rb") as file:
                        mode = os.fstat(file.fileno()).st_mode
                        found.append((path, file.read(), bool(mode & 0o100)))
    return tuple(sorted(found))


Content = dict[str, tuple[str, int]]
"""Path → SHA-256 of the bytes, and mode."""


def versions(folder: Path) -> dict[str, Content]:
    """Every tree that a ref, HEAD or an operation leads to, here or at a remote in the folder, with its
    files: all of their bytes are read and hashed here, whatever the store says of them."""
    try:
        stores: list[Store | None] = [open_repository(folder), remote_of(folder)]
    except RepositoryNotFound:
        return {}
    found: dict[str, Content] = {}
    for store in stores:
        for tree, content in ({} if store is None else versions_of(store)).items():
            if found.setdefault(tree, content) != content:
                raise Wrong(f"tree {tree[:12]} is another one at the remote")
    return found


def versions_of(store: Store) -> dict[str, Content]:
    """The same of one store."""
    found: dict[str, Content] = {}
    files: dict[bytes, str] = {}
    with store.reading() as view:
        for tree in _trees(view):
            if tree.hex() in found:
                continue
            content: Content = {}
            for path, entry in files_of_tree(view, tree).items():
                if bytes(entry.id) not in files:
                    files[bytes(entry.id)] = _hashed(view, entry.id)
                content[path] = files[bytes(entry.id)], entry.mode
            found[tree.hex()] = content
    return found


def _hashed(view: View, identity: Any) -> str:
    digest = hashlib.sha256()
    for part in view.manifests.manifest(identity).parts:
        digest.update(part.inline if part.blob is None else view.objects.get(part.blob))
    return digest.hexdigest()


def _trees(view: View) -> Iterator[TreeId]:
    stack: list[ObjectId] = []
    for _name, value in view.refs.values():
        target = decode_target(value)
        stack += [target, *([peeled] if (peeled := peeled_target(value)) is not None else [])]
    if isinstance(view.head, CommitId):
        stack.append(view.head)
    for operation in view.operations():
        yield from operation.worktree or ()
        for change in operation.changes:
            for state in (change.before, change.after):
                if isinstance(state, bytes):
                    stack.append(CommitId(state) if len(state) == 32 else decode_target(state))
    seen: set[ObjectId] = set()
    while stack:
        identity = stack.pop()
        if identity in seen:
            continue
        seen.add(identity)
        if isinstance(identity, TagId):
            stack.append(Tag.from_bytes(view.objects.get(identity)).target)
        elif isinstance(identity, CommitId):
            commit = view.commit(identity)
            stack += commit.parents
            yield commit.tree


def store_digest(folder: Path) -> bytes:
    """Everything in the store but what no reader looks at: temporary files and announcements."""
    digest = hashlib.sha256()
    stack = [".mvc/", *([f"{REMOTE}/"] if (folder / REMOTE).is_dir() else [])]
    while stack:
        inside = stack.pop()
        with os.scandir(os.path.join(folder, inside)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = inside + entry.name
                digest.update(path.encode() + b"\0")
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in ("tmp", "intents"):
                        stack.append(path + "/")
                    continue
                with open(entry.path, "rb") as file:
                    digest.update(hashlib.sha256(file.read()).digest())
    return digest.digest()


def assert_whole(folder: Path, known: Mapping[str, Content]) -> None:
    """Nothing is damaged, and every version has the bytes that were committed.

    Raises:
        Wrong: it is not so.
    """
    try:
        for tree, content in versions(folder).items():
            if known.get(tree) != content:
                raise Wrong(f"tree {tree[:12]} has files that nobody committed")
        damage = fsck(open_repository(folder), full=True).damage
        remote = remote_of(folder)
        if remote is not None:
            with remote.reading() as view:
                checker = Checker(
                    view.backend, view.index, view.objects, targets(view)[0], lambda _count: None
                )
                damage += checker.full().damage
    except RepositoryNotFound:
        return  # not made yet, or not any more: looked at by who knows which
    except MvcError as error:
        raise Wrong(f"cannot be read: {error.message}") from error
    if damage:
        raise Wrong(f"fsck --full finds {damage}")


# --- a scene, played ---------------------------------------------------------------------------------------


# Long after, so that what is old leaves the log; and in the past, since commands take the real time.
_BEFORE, _DAY_ONE, _HOUR = 1_700_000_000_000_000, 1_760_000_000_000_000, 3_600_000_000


class Stage:
    """Commands that were played once without a fault in ``place``, a folder of ours: what is seen before the
    first, and after each."""

    def __init__(self, name: str, place: Path, scene: Scene | None = None) -> None:
        self.name = name
        self.start, self.work = place / "start", place / "work"
        scene = scene or SCENES.get(name)
        if scene is None:
            session = SESSIONS[name]
            self.prepare, self.quiet = session.prepare, False
            self.acts = tuple(_on_folder(act) for act in session.acts)
        else:
            self.prepare, self.quiet, self.acts = scene.prepare, scene.quiet, (scene.run,)
            self.words = scene.words
        self.remember = False
        """Whether a store that was found whole, byte for byte, is not looked through again."""
        self._whole: set[bytes] = set()
        engine._clock = itertools.count(_BEFORE, 1_000_000)  # other scenes may have been later
        self.prepare(self.start)
        self.looks = [look(self.start)]
        self.mends = scene is not None and scene.mends
        self.known = versions(self.start.with_name("copy") if self.mends else self.start)
        folder = self.copy()
        for number in range(len(self.acts)):
            self.act_one(number, folder, FileIO())
            self.looks.append(look(folder))
            self.known |= versions(folder)
        assert_whole(folder, self.known)
        does = store_digest(self.start) != store_digest(folder) if self.quiet else self.before != self.after
        assert does, "a command that does nothing tests nothing"
        assert name not in ("gc", "gc --repack") or not self.looks[-1].log, "nothing was collected"

    @property
    def before(self) -> Seen:
        return self._compared(self.looks[0])

    @property
    def after(self) -> Seen:
        return self._compared(self.looks[-1])

    def _compared(self, seen: Seen) -> Seen:
        """Of a quiet command all but the log, which it shortens in steps."""
        return seen._replace(log=()) if self.quiet else seen

    def copy(self, to: Path | None = None) -> Path:
        """The prepared folder, anew, in a place of ours or elsewhere."""
        place = to or self.work
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.start, place, symlinks=True)
        return place

    def act(self, folder: Path, io: FileIO) -> None:
        """All commands."""
        for number in range(len(self.acts)):
            self.act_one(number, folder, io)

    def act_one(self, number: int, folder: Path, io: FileIO) -> None:
        """One of the commands, from 0, at the same time of day whenever it is played."""
        engine._clock = itertools.count(_DAY_ONE + number * _HOUR, 1_000_000)
        self.acts[number](folder, io)

    def check(
        self, folder: Path, *, acknowledged: bool, unfinished: bool = False, during: int | None = None
    ) -> bool:
        """Before or after, whole, and of use; whether it is after.

        ``unfinished``: acknowledged as such, so that at a remote all is done, and perhaps not all here.
        ``during``: the number of the command, from 0, that was at work, or the last that was
        acknowledged; the only one if none is given.

        Raises:
            Lost: an acknowledged change is not there, or something in between is.
            Wrong: bytes differ.
        """
        at = len(self.acts) - 1 if during is None else during
        before, after = self._compared(self.looks[at]), self._compared(self.looks[at + 1])
        try:
            seen = self._compared(look(folder))
        except MvcError as error:
            raise Lost(f"cannot be opened any more: {error.message}") from error
        # what a push moves there is acknowledged there; then what follows it here moves
        middle = before._replace(remote=after.remote)
        if (
            seen != after
            and (acknowledged or seen not in (before, middle))
            and (not unfinished or seen != middle or before.remote == after.remote)
        ):
            raise Lost(_difference(seen, after if acknowledged else before, acknowledged))
        if (folder / ".mvc" / "journal").exists():
            raise Broken("an interrupted checkout was not settled")
        self._check_store(folder)
        return seen == after

    def _check_store(self, folder: Path) -> None:
        if self.mends:
            self.act(folder, FileIO())
        if not self.remember or not (folder / ".mvc").is_dir():
            assert_whole(folder, self.known)
            return
        digest = store_digest(folder)
        if digest not in self._whole:
            assert_whole(folder, self.known)
            self._whole.add(digest)

    @property
    def stores(self) -> int:
        """How many different stores were looked through, where they are remembered."""
        return len(self._whole)

    def go_on(self, folder: Path) -> None:
        """The next command works.

        Raises:
            Broken: it does not.
        """
        try:
            repository = open_repository(folder)
        except RepositoryNotFound:
            init(FileIO(), folder, Monitor())
            repository = open_repository(folder)
        if remote_of(folder) is not None:
            self.act_one(len(self.acts) - 1, folder, FileIO())
            self.check(folder, acknowledged=True)
        with repository.reading() as view:
            born = view.head_commit() is not None
        if born:
            tag.create(repository, "next", "HEAD", ME, now(), force=True)
        else:
            snapshot(repository, "next", allow_empty=True)
        self.known |= versions(folder)
        assert_whole(folder, self.known)


def _on_folder(act: Act) -> Callable[[Path, FileIO], object]:
    return lambda folder, io: act(open_repository(folder, io))


def _difference(seen: Seen, wanted: Seen, acknowledged: bool) -> str:
    parts = [
        f"{name} is {_short(getattr(seen, name))}, not {_short(getattr(wanted, name))}"
        for name in Seen._fields
        if getattr(seen, name) != getattr(wanted, name)
    ]
    what = "acknowledged, and not there" if acknowledged else "neither before nor after"
    return f"{what}: {'; '.join(parts)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:400]}…"


# --- for those who play many ------------------------------------------------------------------------------


def memory_folder() -> Path | None:
    """A folder in memory for many small files; None where there is none."""
    place = Path("/dev/shm")
    return place if place.is_dir() and os.access(place, os.W_OK) else None


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder of ours, in memory if there is room, deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="mvc-faults-", dir=memory_folder()) as folder:
        yield Path(folder)


@contextmanager
def one_thread() -> Iterator[None]:
    """Everything that the library would do in threads is done at once: tiny stores are checked three times
    as fast."""
    before = concurrent.futures.ThreadPoolExecutor
    concurrent.futures.ThreadPoolExecutor = _AtOnce  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        concurrent.futures.ThreadPoolExecutor = before  # type: ignore[misc]


class _AtOnce(concurrent.futures.Executor):
    """An executor that executes."""

    def __init__(self, *_args: object, **_keywords: object) -> None:
        pass

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **keywords: Any
    ) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **keywords))
        except BaseException as error:
            future.set_exception(error)
        return future


def chosen(names: Sequence[str], *, sessions: bool = True) -> list[str]:
    """Names of scenes, and of ``sessions`` where they can be told apart command by command; or all of them.

    Raises:
        SystemExit: there is none of that name.
    """
    known = [*SCENES, *SESSIONS] if sessions else list(SCENES)
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no scene {name!r}; there are: {', '.join(known)}")
    return list(names) or known
