"""Branches: list, create, delete, rename."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mvc.errors import ConflictError, RevisionNotFound, UserError
from mvc.history.ancestry import is_ancestor
from mvc.history.revisions import check_ref_name, resolve, resolve_commit
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.refs import BRANCHES, encode_target, peeled_target
from mvc.repo import Repository
from mvc.sharing.following import follow
from mvc.sharing.settings import REMOTES, with_branch_renamed, without_upstream
from mvc.transaction import Update, begin
from mvc.view import View


class Branch(NamedTuple):
    """A branch's short name and where it stands."""

    name: str
    target: CommitId
    current: bool


def branches(view: View) -> Iterator[Branch]:
    """Every branch, by name."""
    for name, value in view.refs.values(BRANCHES):
        target = peeled_target(value)
        if target is not None:
            yield Branch(name.removeprefix(BRANCHES), target, name == view.head)


def followed(view: View) -> Iterator[Branch]:
    """Branches of remotes as they were last seen, by name: ``origin/main``."""
    for name, value in view.refs.values(REMOTES):
        target = peeled_target(value)
        if target is not None:
            yield Branch(name.removeprefix(REMOTES), target, False)


def create(
    repository: Repository, name: str, revision: str, who: Person, now: Timestamp, *, force: bool = False
) -> CommitId:
    """Make a branch that points to a revision. If there is one that does already, nothing happens.

    Raises:
        ConflictError: there is another one of that name, and ``force`` is not set; or it is the current one.
    """
    check_ref_name(name)
    ref = BRANCHES + name
    with begin(repository, f"branch {name}", who, now) as tx:
        target = resolve_commit(revision, tx.view.objects, tx.view)
        source = resolve(revision, tx.view.objects, tx.view).ref or ""

        def build(view: View) -> Update | None:
            if view.refs.get(ref) == target and ref != view.head:
                return None
            if view.refs.get(ref) is not None and not force:
                raise ConflictError(
                    f"a branch called {name!r} exists", hint="force (--force, force=True) moves it"
                )
            if ref == view.head and view.refs.get(ref) is not None:
                raise ConflictError(f"{name!r} is the current branch", hint="switch to another one first")
            return Update(refs={ref: encode_target(target)})

        tx.publish(build)
    if source.startswith(REMOTES):
        follow(repository, name, source)
    return target


def set_upstream(repository: Repository, name: str, revision: str) -> str:
    """Have a branch follow the branch of a remote that a revision names (``origin/main``); returns its short
    name.

    Raises:
        RevisionNotFound: there is no such branch here.
        UserError: the revision is no branch of a remote.
    """
    with repository.reading() as view:
        if view.refs.value(BRANCHES + name) is None and view.branch() != name:
            raise RevisionNotFound(f"no branch is called {name!r}", hint="'mvc branch' lists them")
        ref = resolve(revision, view.objects, view).ref or ""
    if not ref.startswith(REMOTES) or not follow(repository, name, ref):
        raise UserError(
            f"{revision} is no branch of a remote", hint="'mvc branch -r' lists them; mvc push -u makes one"
        )
    return ref.removeprefix(REMOTES)


def unset_upstream(repository: Repository, name: str) -> None:
    """Have a branch follow nothing.

    Raises:
        ConfigError: it follows nothing.
    """
    repository.write_config(without_upstream(repository.config(), name))


def delete(
    repository: Repository, name: str, who: Person, now: Timestamp, *, force: bool = False
) -> CommitId:
    """Remove a branch; returns where it stood.

    Raises:
        RevisionNotFound: there is none of that name.
        ConflictError: it is the current one, or holds commits that HEAD does not reach and ``force`` is not
        set.
    """
    ref = BRANCHES + name
    with begin(repository, f"branch --delete {name}", who, now) as tx:
        found: list[CommitId] = []

        def build(view: View) -> Update:
            target = view.refs.get(ref)
            if not isinstance(target, CommitId):
                raise RevisionNotFound(f"no branch is called {name!r}", hint="'mvc branch' lists them")
            if ref == view.head:
                raise ConflictError(f"{name!r} is the current branch", hint="switch to another one first")
            head = view.head_commit()
            if not force and (head is None or not is_ancestor(view.objects, target, head)):
                raise ConflictError(
                    f"{name!r} has commits that HEAD does not reach",
                    hint="force (--force, force=True) removes it; 'mvc undo' brings it back",
                )
            found[:] = [target]
            return Update(refs={ref: None})

        tx.publish(build)
    return found[0]


def rename(repository: Repository, old: str, new: str, who: Person, now: Timestamp) -> None:
    """Rename a branch; HEAD follows when it is the current one.

    Raises:
        RevisionNotFound: there is none of the old name.
        ConflictError: there is one of the new name.
    """
    check_ref_name(new)
    with begin(repository, f"branch --move {old} {new}", who, now) as tx:

        def build(view: View) -> Update:
            value = view.refs.value(BRANCHES + old)
            unborn = value is None and view.head == BRANCHES + old
            if value is None and not unborn:
                raise RevisionNotFound(f"no branch is called {old!r}", hint="'mvc branch' lists them")
            if view.refs.value(BRANCHES + new) is not None:
                raise ConflictError(f"a branch called {new!r} exists")
            head = BRANCHES + new if view.head == BRANCHES + old else None
            return Update(refs={} if unborn else {BRANCHES + old: None, BRANCHES + new: value}, head=head)

        tx.publish(build)
    # those of the old name stay, so that the branch follows the same when this is undone
    repository.write_config(with_branch_renamed(repository.config(), old, new))


def current_name(view: View) -> str:
    """The current branch's short name.

    Raises:
        UserError: HEAD is detached.
    """
    name = view.branch()
    if name is None:
        raise UserError(
            "HEAD is detached: there is no current branch",
            hint="a checkout with a new branch (-b NEW, new_branch='NEW') makes one",
        )
    return name
