"""Make a repository that is a copy of another store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from mvc.errors import InvalidName, RevisionNotFound, StorageError, UserError
from mvc.fileio import FileIO, make_folders, storage_errors, write_durable
from mvc.heading import Heading, go
from mvc.history.names import offer
from mvc.history.refnames import check_ref_name
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.refs import BRANCHES, TAGS, encode_target, peeled_target
from mvc.remotes.filters import EVERYTHING, Filter
from mvc.repo import DEFAULT_BRANCH, STORE, Repository
from mvc.sharing.addresses import settled
from mvc.sharing.bundle import BundleStore, check_needs
from mvc.sharing.damage import damage_at
from mvc.sharing.fetching import Fetched, FetchRequest, fetch
from mvc.sharing.settings import ORIGIN, REMOTES, Remote, check_name, with_remote, with_upstream
from mvc.sharing.stores import open_store
from mvc.sharing.tracking import default_branch
from mvc.store import exists, read_text
from mvc.transaction import Update, begin
from mvc.view import View
from mvc.worktree.sparse import FILE_NAME as SPARSE
from mvc.worktree.sparse import Sparse

CLONING = "cloning"
"""File in the store of a copy that is being made: the address that it is made of."""


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """What to copy.

    ``branch`` (or a tag, on no branch) instead of the one that the other store names; ``remote`` is what it
    is called in the copy. Of its history ``filter`` says how much comes. ``bundle`` is another address, of
    which the objects are fetched first. Without ``checkout`` no files are written.
    """

    branch: str | None = None
    remote: str = ORIGIN
    filter: Filter = EVERYTHING
    bundle: str | None = None
    checkout: bool = True
    tags: bool = True


@dataclass(frozen=True, slots=True)
class Cloned:
    """The new repository. ``branch`` is None on a tag; ``commit`` None where the other store is empty.
    ``resumed``: an earlier try had begun it."""

    repository: Repository
    fetched: Fetched
    branch: str | None
    commit: CommitId | None
    written: int
    resumed: bool


def clone(
    io: FileIO,
    address: str,
    folder: Path,
    monitor: Monitor,
    request: CloneRequest,
    who: Person,
    now: Timestamp,
    *,
    base: Path,
    environment: Mapping[str, str],
) -> Cloned:
    """Copy the store at an address (a path starts at ``base``) into a folder, which is made where it is
    missing, and check its branch out.

    What is cut short can be tried again: the same call goes on where it stopped.

    Raises:
        RepositoryNotFound: there is no store at the address; then nothing is made.
        UserError: the folder is not empty.
        RevisionNotFound: the store has no such branch or tag.
        InvalidName: the branch there has a name that no branch may have.
        StorageError: it cannot be reached, or the disk refuses.
    """
    check_name(request.remote)
    address = settled(address, base)
    # before anything is made: whoever mistypes an address must not find an empty repository
    source = open_store(io, address, monitor, base=base, environment=environment)
    with closing(source):
        with damage_at(address):
            _offered(source.read(), address, request)
        if isinstance(source, BundleStore) and request.bundle is None:
            check_needs(source)
    repository, resumed = _begun(io, folder, monitor, address)
    repository.environment = environment
    try:
        return _filled(repository, address, request, who, now, base=base, resumed=resumed)
    except StorageError as error:
        error.hint = "; ".join(
            part for part in (error.hint, "the same command goes on where this one stopped") if part
        )
        raise


def _offered(theirs: View, address: str, request: CloneRequest) -> None:
    """Refuse what the other store does not have, and a branch that cannot be one here."""
    name = default_branch(theirs) if request.branch is None else request.branch
    if name is not None and theirs.refs.value(BRANCHES + name) is not None:
        _check_branch(request.remote, name)
    elif name is not None and theirs.refs.value(TAGS + name) is None:
        raise _no_such(address, name, theirs.refs.names(BRANCHES))


def _check_branch(remote: str, name: str) -> None:
    """Refuse to begin with a branch whose name no branch may have; of another store nobody knows who made
    its names, or by which rules."""
    try:
        check_ref_name(BRANCHES + name)
        check_ref_name(f"{REMOTES}{remote}/{name}")
    except InvalidName as error:
        raise InvalidName(
            f"the copy cannot begin with that branch: {error.message}",
            hint="mvc clone -b BRANCH begins with another one",
        ) from error


def _no_such(address: str, name: str, branches: Iterable[str]) -> RevisionNotFound:
    known = [found.removeprefix(BRANCHES) for found in branches]
    return RevisionNotFound(f"{address} has no branch or tag {name!r}", hint=offer(name, known))


def _begun(io: FileIO, folder: Path, monitor: Monitor, address: str) -> tuple[Repository, bool]:
    """The repository that the copy is to be, with a note of what it is a copy of."""
    if STORE in folder.parts:
        raise UserError(f"{folder} is inside a repository's own store", hint="name another folder")
    store = folder / STORE
    marker = store / CLONING
    resumed = exists(io, marker)
    if resumed and read_text(io, marker).strip() != address:
        raise UserError(
            f"{folder} is the beginning of a copy of something else", hint="remove it, or name another folder"
        )
    with storage_errors("cannot make the folder"):
        make_folders(io, folder)
        if not resumed:
            if not _is_bare(io, folder):
                raise UserError(f"{folder} is not empty", hint="name a folder that is not there yet")
            make_folders(io, store)
            with suppress(FileNotFoundError):  # of a try that was killed
                io.unlink(store / f"{CLONING}.new")
            write_durable(io, store / f"{CLONING}.new", marker, [f"{address}\n".encode()], replace=True)
    if exists(io, store / "format"):
        return Repository.open(io, folder, monitor), True
    return Repository.create(io, folder, monitor), resumed


def _is_bare(io: FileIO, folder: Path) -> bool:
    """Whether nothing is in a folder, or what a copy that was killed left before its note was there."""
    store = folder / STORE
    entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in io.scan_folder(folder)]
    if entries != [(STORE, True)]:
        return not entries
    return all(entry.name.startswith(f"{CLONING}.new") for entry in io.scan_folder(store))


def _filled(
    repository: Repository,
    address: str,
    request: CloneRequest,
    who: Person,
    now: Timestamp,
    *,
    base: Path,
    resumed: bool,
) -> Cloned:
    config = repository.config()
    if config.get(("remote", request.remote, "url")) is None:
        repository.write_config(with_remote(config, request.remote, address))
    remote = Remote(request.remote, address)
    tags: FetchRequest = FetchRequest(tags="follow" if request.tags else "none", filter=request.filter)
    if request.bundle is not None:
        bundle = Remote(request.remote, settled(request.bundle, base))
        fetch(repository, bundle, tags, who, now, command=f"clone: fetch {bundle.address}")
    fetched = fetch(repository, remote, tags, who, now, command=f"clone: fetch {address}")
    if request.filter.leaves_pieces_out and not exists(repository.io, repository.store / SPARSE):
        repository.write(SPARSE, Sparse.of(request.filter.paths).text or "")
    name, target = _start(repository, remote, fetched, request)
    written = 0
    with repository.reading() as view:
        begun = view.head_commit() is not None
    if not begun:
        written = _placed(repository, remote, name, target, request, who, now)
    if name is not None and not name.startswith(TAGS):
        config = repository.config()
        repository.write_config(with_upstream(config, name, request.remote, name))
    with storage_errors("cannot finish the copy"):
        repository.io.unlink(repository.store / CLONING)
    branch = None if name is not None and name.startswith(TAGS) else name
    return Cloned(repository, fetched, branch, target, written, resumed)


def _start(
    repository: Repository, remote: Remote, fetched: Fetched, request: CloneRequest
) -> tuple[str, CommitId | None]:
    """The branch (or the tag, by its full name) that the copy begins with, and its version."""
    with repository.reading() as view:
        if request.branch is None:
            name = fetched.branch or DEFAULT_BRANCH
            _check_branch(request.remote, name)  # it may be another one by now
            target = view.refs.get(remote.tracking + name)
            return name, target if isinstance(target, CommitId) else None
        target = view.refs.get(remote.tracking + request.branch)
        if isinstance(target, CommitId):
            _check_branch(request.remote, request.branch)
            return request.branch, target
        tag = view.refs.value(TAGS + request.branch)
        if tag is not None:
            return TAGS + request.branch, peeled_target(tag)
    raise _no_such(remote.address, request.branch, fetched.found)


def _placed(
    repository: Repository,
    remote: Remote,
    name: str,
    target: CommitId | None,
    request: CloneRequest,
    who: Person,
    now: Timestamp,
) -> int:
    """HEAD, and the work tree; returns the number of files written."""
    command = f"clone {remote.address}"
    if name.startswith(TAGS):
        if request.checkout:
            return go(repository, Heading(name, detach=True), command, who, now).written
        head: str | CommitId | None = target
    elif target is not None and request.checkout:
        revision = remote.tracking + name
        return go(repository, Heading(revision, new_branch=name), command, who, now).written
    else:
        head = BRANCHES + name
    refs = {} if target is None or head == target else {BRANCHES + name: encode_target(target)}

    def build(view: View) -> Update | None:
        return None if view.root.head == head and not refs else Update(refs=refs, head=head)

    with begin(repository, command, who, now) as tx:
        tx.publish(build)
    return 0
