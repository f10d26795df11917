"""What ``mvc doctor`` looks at. Each check stands alone: what one finds broken must not keep others from
being made."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from shutil import which
from typing import NamedTuple

import mvc
from mvc.collection.disk import room
from mvc.collection.trash import Trash
from mvc.context import Context
from mvc.errors import DamageError, MvcError, RepositoryNotFound
from mvc.fileio import FileIO
from mvc.locks import Locks
from mvc.monitor import Monitor
from mvc.mounts import file_system_type
from mvc.odb.intents import TemporaryNames, oldest_epoch
from mvc.refs import BRANCHES, TAGS
from mvc.repo import STORE, Repository
from mvc.text import count, size
from mvc.upkeep.stock import DAMAGED
from mvc.view import View

DISTRIBUTION = "modelvc"
LIBRARIES = {  # module -> distribution
    "blake3": "blake3",
    "zstandard": "zstandard",
    "numpy": "numpy",
    "msgpack": "msgpack",
    "typer": "typer",
    "rich": "rich",
    "tomlkit": "tomlkit",
    "pyfastcdc": "pyfastcdc",
}
LITTLE_SPACE = 1_000_000_000


class Finding(NamedTuple):
    """One line: ``level`` is ok, warning, problem (the user can mend it) or damage."""

    level: str
    what: str
    says: str
    hint: str = ""


def findings(context: Context, io: FileIO) -> Iterator[Finding]:
    """All checks, one after the other."""
    yield Finding("ok", "mvc", f"{version()} in {Path(mvc.__file__).parent}")
    yield _python()
    for module, distribution in LIBRARIES.items():
        yield _library(module, distribution)
    yield _kernel()
    yield _git()
    store = _store(context.cwd)
    if store is None:
        yield Finding("ok", "repository", f"none in {context.cwd} or above", "'mvc init' makes one")
        yield _space(context.cwd)
        return
    yield from _repository(store, io)
    yield from _file_system(store, io)
    locks = Repository(io, store.parent, Monitor()).locks
    yield _locks(locks, store, io)
    yield from _leftovers(store, io, locks)
    locks.close()


def version() -> str:
    """The version of mvc that is installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "of no installed package"


def _kernel() -> Finding:
    from mvc.codecs import native  # imports numpy: only for this command

    if native.available():
        return Finding("ok", "native kernel", "in use")
    return Finding(
        "warning",
        "native kernel",
        "not built; tensors are coded by numpy, slower",
        "install a C compiler, then mvc again",
    )


# --- the installation -------------------------------------------------------------------------------------
def _python() -> Finding:
    return Finding("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _library(module: str, distribution: str) -> Finding:
    try:
        import_module(module)
        return Finding("ok", module, metadata.version(distribution))
    except ImportError as error:
        return Finding(
            "problem", module, f"cannot be imported: {error}", f"pip install --force-reinstall {distribution}"
        )


def _git() -> Finding:
    found = which("git")
    return Finding(
        "ok",
        "git",
        f"{found or 'not installed'}, asked for your name and for the code's commit; git-lfs is not needed",
    )


# --- the repository ---------------------------------------------------------------------------------------
def _store(folder: Path) -> Path | None:
    """The nearest ``.mvc``, be it sound or not."""
    for candidate in (folder, *folder.parents):
        if (candidate / STORE).is_dir():
            return candidate / STORE
    return None


def _repository(store: Path, io: FileIO) -> Iterator[Finding]:
    try:
        repository = Repository.open(io, store.parent, Monitor())
    except RepositoryNotFound:
        hint = "if 'mvc init' was interrupted, run it again; else 'mvc repair'"
        yield Finding("problem", "repository", f"{store} has no file 'format'", hint)
        return
    except MvcError as error:
        yield _trouble("repository", error)
        return
    yield Finding("ok", "repository", str(store.parent))
    yield _config(repository)
    try:
        # announced, so that nothing that this root lists is deleted while it is looked at
        with repository.reading() as view:
            yield from _state(view)
    except MvcError as error:
        yield _trouble("root", error)


def _state(view: View) -> Iterator[Finding]:
    head = view.head_commit()
    branches, tags = (sum(1 for _ in view.names(prefix)) for prefix in (BRANCHES, TAGS))
    names = f"{count(branches, 'branch', 'branches')}, {count(tags, 'tag')}"
    yield Finding("ok", "root", f"{names}, {count(len(view.root.segments), 'segment')}")
    for row in view.root.segments:
        try:
            view.index.segment(row.name).verify()
        except MvcError as error:
            yield _trouble("index", error)
    if head is None:
        yield Finding("ok", "HEAD", "no commits yet")
        return
    try:
        yield Finding("ok", "HEAD", f"{head.short} {view.commit(head).subject}")
    except MvcError as error:
        yield _trouble("HEAD", error)


def _config(repository: Repository) -> Finding:
    try:
        return Finding("ok", "settings", count(sum(1 for _ in repository.config().items()), "value"))
    except MvcError as error:
        return Finding("problem", "settings", error.message, error.hint)


def _trouble(what: str, error: MvcError) -> Finding:
    if isinstance(error, DamageError):
        return Finding(
            "damage", what, error.message, "'mvc repair' brings back what can be; 'mvc repair -n' only tells"
        )
    return Finding("problem", what, error.message, error.hint)


# --- the machine ------------------------------------------------------------------------------------------
def _space(folder: Path) -> Finding:
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < LITTLE_SPACE:
        return Finding(
            "warning", "free space", size(free), "a commit that runs out of space loses nothing, but fails"
        )
    return Finding("ok", "free space", size(free))


def _file_system(store: Path, io: FileIO) -> Iterator[Finding]:
    yield _space(store)
    # names of a living owner: should this process be killed, the next command clears them away
    with TemporaryNames(io, store / "tmp") as temporary:
        try:
            probe = temporary.new()
            probe.touch()
        except OSError as error:
            says = f"{store} cannot be written: {error.strerror}"
            yield Finding("problem", "file system", says, "check its permissions")
            return
        try:
            yield _case(probe)
            yield _links(probe, temporary.new())
        finally:
            probe.unlink(missing_ok=True)


def _case(probe: Path) -> Finding:
    if probe.with_name(probe.name.upper()).exists():
        hint = "versions with names that differ only in case cannot be checked out here"
        return Finding("warning", "letter case", "the file system does not tell upper from lower case", hint)
    return Finding("ok", "letter case", "told apart")


def _links(probe: Path, second: Path) -> Finding:
    try:
        os.link(probe, second)
    except OSError as error:
        hint = "mvc works without them, a little slower"
        return Finding("warning", "hard links", f"none: {error.strerror}", hint)
    second.unlink()
    return Finding("ok", "hard links", "work")


def _trash(store: Path, io: FileIO) -> Iterator[Finding]:
    try:
        damaged = [entry for entry in Trash(io, store).entries() if entry.damage is not None]
        held = room(io, store).trash
    except MvcError as error:
        yield _trouble("trash", error)
        return
    if damaged:
        says = f"{damaged[0].damage}: which operations left the log is lost, objects can come back"
        yield Finding("warning", "trash", says, "'mvc gc --undo', then 'mvc gc --empty-trash'")
    elif held:
        hint = "'mvc gc --undo' brings it back, 'mvc gc --empty-trash' deletes it"
        yield Finding("ok", "trash", f"{size(held)} that gc threw away; {hint}")
    else:
        yield Finding("ok", "trash", "empty")


def _locks(locks: Locks, store: Path, io: FileIO) -> Finding:
    try:
        kind = file_system_type(io, store) or "of unknown type"
        leases = locks.leases
    except OSError as error:
        return Finding("problem", "locks", f"cannot be taken: {error.strerror}", "check its permissions")
    if leases is None:
        return Finding("ok", "locks", f"the kernel's; the file system is {kind}")
    return Finding(
        "ok",
        "locks",
        f"leases, as several machines may be using this folder; the file system is {kind}",
        "mvc config core.shared always|never decides otherwise",
    )


def _leftovers(store: Path, io: FileIO, locks: Locks) -> Iterator[Finding]:
    files = [path for path in (store / "tmp").glob("*") if path.suffix != ".lock" and path.is_file()]
    if files:
        total = sum(path.stat().st_size for path in files)
        hint = "what no living command owns goes with the next one that uses the folder"
        yield Finding("warning", "leftovers", f"{count(len(files), 'temporary file')}, {size(total)}", hint)
    else:
        yield Finding("ok", "leftovers", "none")
    yield from _trash(store, io)
    if (store / DAMAGED).exists():
        hint = "what repairs took out of use: delete it once 'mvc fsck --full' finds everything sound"
        yield Finding("warning", DAMAGED, str(store / DAMAGED), hint)
    if (store / "journal").exists():
        yield Finding("warning", "checkout", "one was interrupted", "'mvc status' settles it")
    try:
        epoch = oldest_epoch(io, store / "intents", locks)
    except MvcError as error:
        yield _trouble("other commands", error)
        return
    yield Finding(
        "ok", "other commands", "none are running here" if epoch is None else "some are running here"
    )
