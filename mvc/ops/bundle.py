"""Bundles: versions in one file, for who cannot be reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mvc.backends.bundle import Need
from mvc.errors import UserError
from mvc.fileio import FileIO
from mvc.history.revisions import resolve, resolve_commit
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.refs import BRANCHES, NOTES, TAGS, peeled_target
from mvc.sharing.bundle import BundleStore, Known, lacking
from mvc.sharing.bundling import Bundled, write_bundle
from mvc.sharing.tracking import PRIVATE
from mvc.view import View


class Contents(NamedTuple):
    """What a bundle holds: refs with the commits that they mean, the branch that a copy begins with, records,
    versions among them, needed versions and those of them that are not here (None where there is no
    repository to ask), bytes of the file."""

    refs: dict[str, CommitId]
    branch: str | None
    records: int
    commits: int
    needs: tuple[Need, ...]
    lacking: tuple[Need, ...] | None
    bytes: int


def create(
    io: FileIO,
    view: View,
    path: Path,
    revisions: Sequence[str],
    monitor: Monitor,
    *,
    every: bool = False,
    since: Sequence[str] = (),
    replace: bool = False,
) -> Bundled:
    """Bundle the branches and tags that revisions name, or ``every`` one and the notes; the current branch
    where none is named.

    With ``since`` only what these versions and all before them do not have.

    Raises:
        RevisionNotFound: there is no such ref or version.
        UserError: a revision is no ref; or there is a file of that name, and ``replace`` is not set.
        AnswerIsNo: there is nothing that ``since`` has not.
        DamageError: something of it is missing or damaged.
        StorageError: the disk refuses.
    """
    refs = (
        dict(_every(view)) if every else dict(_named(view, revision) for revision in revisions or ("HEAD",))
    )
    if not refs:
        raise UserError("there are no versions to bundle", hint="mvc commit makes the first one")
    known = [resolve_commit(revision, view.objects, view) for revision in since]
    return write_bundle(io, view, path, refs, known, monitor, replace=replace)


def _every(view: View) -> Iterator[tuple[str, bytes]]:
    for prefix in (BRANCHES, TAGS):
        yield from view.refs.values(prefix)
    notes = view.refs.value(NOTES)
    if notes is not None:
        yield NOTES, notes


def _named(view: View, revision: str) -> tuple[str, bytes]:
    """The ref that a revision is the name of."""
    found = resolve(revision, view.objects, view)
    name = found.ref if found.path is None else None
    if name == "HEAD":
        name = view.root.head if isinstance(view.root.head, str) else None
    value = None if name is None or name.startswith(PRIVATE) else view.refs.value(name)
    if name is None or value is None:
        raise UserError(
            f"{revision} is no branch or tag, so nobody could find it in the bundle",
            hint=f"mvc tag NAME {revision}, then bundle that",
        )
    return name, value


def verify(io: FileIO, path: Path, monitor: Monitor, here: Known | None) -> Contents:
    """Check every hash of a bundle; tells what it holds, and what it needs that is not ``here``.

    Raises:
        RepositoryNotFound: it is no bundle.
        CorruptFile: it is damaged or not whole.
        StorageError: it cannot be read.
    """
    return _contents(io, path, monitor, here, verify=True)


def contents(io: FileIO, path: Path, monitor: Monitor, here: Known | None) -> Contents:
    """What a bundle says that it holds; only its directory is checked.

    Raises:
        RepositoryNotFound, CorruptFile, StorageError: as :func:`verify`.
    """
    return _contents(io, path, monitor, here, verify=False)


def _contents(io: FileIO, path: Path, monitor: Monitor, here: Known | None, *, verify: bool) -> Contents:
    store = BundleStore.open_file(io, path, monitor, verify=verify)
    try:
        with store.reading() as view:
            kinds = [entry.kind for entry in view.index.entries()]
            refs = {name: peeled_target(value) for name, value in view.refs.values()}
            branch = view.root.extra.get("default_branch")
            return Contents(
                {name: commit for name, commit in refs.items() if commit is not None},
                branch if isinstance(branch, str) else None,
                len(kinds),
                kinds.count(CommitId.kind),
                store.needs,
                None if here is None else tuple(lacking(store.needs, here)),
                store.bundle.directory.size,
            )
    finally:
        store.close()
