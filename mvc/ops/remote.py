"""Remotes: other stores, by names."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mvc.errors import RepositoryNotFound, UserError
from mvc.history.ancestry import divergence
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.refs import BRANCHES, TAGS, decode_target, peeled_target
from mvc.repo import DEFAULT_BRANCH, Repository
from mvc.sharing.addresses import settled
from mvc.sharing.damage import damage_at
from mvc.sharing.partial import filters
from mvc.sharing.settings import (
    Remote,
    find_remote,
    refuse_taken,
    remotes,
    renamed,
    upstream,
    with_remote,
    without_remote,
)
from mvc.sharing.stores import create_store, patience_of, store_of
from mvc.sharing.tracking import RefUpdate, default_branch
from mvc.store import FolderStore, Store
from mvc.transaction import Update, begin
from mvc.view import View

__all__ = ["Remote", "add", "listing", "prune", "remove", "rename", "set_url", "show"]


class Added(NamedTuple):
    """A new remote; ``created``: its store was made, since there was none."""

    remote: Remote
    created: bool


@dataclass(frozen=True, slots=True)
class BranchThere:
    """A branch of a remote: where it is there, where it was when it was last fetched (None: never), and the
    branches here that follow it, each with how many versions it has that the followed one lacks (``ahead``)
    and lacks (``behind``), as far as both are here."""

    name: str
    target: CommitId
    tracked: CommitId | None
    followers: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A remote as it is now. ``bytes`` are those of all its packs; ``stale`` names refs here that follow
    branches which it has no more."""

    remote: Remote
    default: str | None
    branches: tuple[BranchThere, ...]
    tags: int
    stale: tuple[str, ...]
    bytes: int


def listing(repository: Repository) -> list[Remote]:
    """All remotes, by name."""
    return list(remotes(repository.config()).values())


def add(repository: Repository, name: str, address: str, *, base: Path) -> Added:
    """Add a remote. A path starts at ``base``. Where there is no store at the address one is made, empty.

    Raises:
        InvalidName: no remote may be called so.
        ConflictError: there is one of that name.
        StorageError: it cannot be reached, or cannot do what a store must do; nothing is noted then.
    """
    config = repository.config()
    refuse_taken(config, name)
    address = settled(address, base)
    with repository.reading() as view:
        branch = view.branch() or DEFAULT_BRANCH
    created = False
    try:
        store = store_of(repository, address, base)
    except RepositoryNotFound:
        store = create_store(
            repository.io,
            address,
            repository.monitor,
            base=base,
            environment=repository.environment,
            branch=branch,
            patience=patience_of(config),
        )
        created = True
    with closing(store):
        _refuse_itself(repository, store)
    repository.write_config(with_remote(repository.config(), name, address))
    return Added(Remote(name, address), created)


def set_url(repository: Repository, name: str, address: str, *, base: Path) -> Remote:
    """Give a remote another address, where a store must be.

    Raises:
        UserError: there is no such remote.
        RepositoryNotFound: there is no store at the address.
    """
    _known(repository, name)
    address = settled(address, base)
    with closing(store_of(repository, address, base)) as store:
        _refuse_itself(repository, store)
    repository.write_config(with_remote(repository.config(), name, address))
    return Remote(name, address)


def remove(repository: Repository, name: str, who: Person, now: Timestamp) -> Remote:
    """Forget a remote: its settings, and the refs that follow it. Its store is left alone.

    Raises:
        UserError: there is no such remote, or only it has pieces that were left out of this repository.
    """
    remote = _known(repository, name)
    known = filters(repository.config()).get(name)
    if known is not None and known.leaves_pieces_out:
        raise UserError(
            f"{name} has pieces that were left out here: without it they would be missing",
            hint=f"'mvc remote set-url {name} ADDRESS' says where else they are; "
            f"'mvc config --unset remote.{name}.filter' first, if they are not wanted any more",
        )
    with begin(repository, f"remote remove {name}", who, now) as tx:

        def build(view: View) -> Update | None:
            gone: dict[str, bytes | None] = dict.fromkeys(view.refs.names(remote.tracking))
            return Update(refs=gone) if gone else None

        tx.publish(build)
    repository.write_config(without_remote(repository.config(), name))
    return remote


def rename(repository: Repository, old: str, new: str, who: Person, now: Timestamp) -> Remote:
    """Give a remote another name; the refs that follow it, and the branches that do, go along.

    Raises:
        UserError: there is no such remote.
        ConflictError: the new name is taken.
    """
    remote = _known(repository, old)
    text = renamed(repository.config(), old, new)
    fresh = Remote(new, remote.address)
    with begin(repository, f"remote rename {old} {new}", who, now) as tx:

        def build(view: View) -> Update | None:
            refs: dict[str, bytes | None] = {}
            for name, value in view.refs.values(remote.tracking):
                refs[name] = None
                refs[fresh.tracking + name.removeprefix(remote.tracking)] = value
            return Update(refs=refs) if refs else None

        tx.publish(build)
    repository.write_config(text)
    return fresh


def prune(
    repository: Repository, name: str, who: Person, now: Timestamp, *, dry_run: bool = False
) -> tuple[RefUpdate, ...]:
    """Forget the branches that a remote has no more.

    Raises:
        UserError: there is no such remote.
        StorageError: it cannot be reached.
    """
    remote = _known(repository, name)
    store = store_of(repository, remote.address, repository.worktree)
    with closing(store), damage_at(remote.shown), store.reading() as theirs:
        there = {remote.tracking + ref.removeprefix(BRANCHES) for ref in theirs.refs.names(BRANCHES)}
    updates: list[RefUpdate] = []

    def build(view: View) -> Update | None:
        stale = {ref: value for ref, value in view.refs.values(remote.tracking) if ref not in there}
        updates[:] = [
            RefUpdate(ref, None, decode_target(value), None, "deleted") for ref, value in stale.items()
        ]
        return Update(refs=dict.fromkeys(stale)) if stale else None

    with begin(repository, f"remote prune {name}", who, now) as tx:
        if dry_run:
            build(tx.view)
        else:
            tx.publish(build)
    return tuple(updates)


def show(repository: Repository, name: str) -> Shown:
    """A remote as it is now, beside what is known of it here.

    Raises:
        UserError: there is no such remote.
        StorageError: it cannot be reached.
    """
    config = repository.config()
    remote = find_remote(config, name)
    store = store_of(repository, remote.address, repository.worktree)
    with closing(store), repository.reading() as ours, damage_at(remote.shown), store.reading() as theirs:
        following: dict[str, list[str]] = {}
        for ref in ours.refs.names(BRANCHES):
            branch = ref.removeprefix(BRANCHES)
            follows = upstream(config, branch)
            if follows is not None and follows.remote == remote.name:
                following.setdefault(follows.branch, []).append(branch)
        branches = []
        for ref, value in theirs.refs.values(BRANCHES):
            target = peeled_target(value)
            if target is not None:
                branch = ref.removeprefix(BRANCHES)
                branches.append(_branch(ours, remote, branch, target, following.get(branch, [])))
        there = {remote.tracking + item.name for item in branches}
        stale = [ref for ref in ours.refs.names(remote.tracking) if ref not in there] if remote.name else []
        return Shown(
            remote,
            default_branch(theirs),
            tuple(branches),
            sum(1 for _name in theirs.refs.names(TAGS)),
            tuple(stale),
            sum(size for _key, size in store.backend.list("packs/")),
        )


def _branch(ours: View, remote: Remote, branch: str, target: CommitId, followers: list[str]) -> BranchThere:
    tracked = ours.refs.get(remote.tracking + branch) if remote.name else None
    rows = []
    for name in followers:
        own = ours.refs.get(BRANCHES + name)
        if isinstance(own, CommitId) and target in ours.objects:
            rows.append((name, *divergence(ours.objects, own, target)))
    return BranchThere(branch, target, tracked if isinstance(tracked, CommitId) else None, tuple(rows))


def _known(repository: Repository, name: str) -> Remote:
    remote = find_remote(repository.config(), name)
    if remote.name is None:
        raise UserError(f"there is no remote {name!r}", hint="'mvc remote' lists them")
    return remote


def _refuse_itself(repository: Repository, store: Store) -> None:
    if isinstance(store, FolderStore) and store.store.resolve() == repository.store.resolve():
        raise UserError("that is this repository itself", hint="a remote is another store")
