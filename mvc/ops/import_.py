"""Take versions over from other tools."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mvc.committing import join_packs
from mvc.errors import Busy, UserError
from mvc.fileio import FileIO, make_folders, storage_errors
from mvc.history.refnames import check_ref_name
from mvc.importing.checkpoints import Checkpoints
from mvc.importing.dvc_history import DvcHistory
from mvc.importing.git_history import GitHistory
from mvc.importing.hub_cache import HubCache
from mvc.importing.known import UNDER_WAY, Known, everywhere, ground_of_line, known_versions
from mvc.importing.landing import Landed, Landing, land
from mvc.importing.recognising import recognise
from mvc.importing.storing import Stored, Storing
from mvc.importing.survey import Survey, survey
from mvc.importing.version import Name, Origin
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import Person, Timestamp
from mvc.refs import BRANCHES
from mvc.repo import DEFAULT_BRANCH, Repository
from mvc.transaction import Transaction, Update

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What to import: the folder ``source``, which is of a ``kind`` (None: recognised).

    ``branch`` is the one of a Git history to take instead of all, else the one to put versions on.
    ``skip_missing`` goes on where the source lacks objects that it names: a file is its pointer then, or left
    out. ``dates_from_names``: of a folder of checkpoints, instead of from their newest files. ``fast`` as for
    a commit. ``environment`` gives ``PATH``, by which Git is found.
    """

    source: Path
    kind: str | None = None
    branch: str | None = None
    skip_missing: bool = False
    dates_from_names: bool = False
    fast: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Imported:
    """What an import did, or with ``dry_run`` would do. ``new`` versions were made; of ``unchanged`` ones
    only the dates of files were others. ``refs`` tells what became of branches and tags, ``notes`` what was
    not taken."""

    kind: str
    dry_run: bool
    survey: Survey
    notes: list[str] = field(default_factory=list)
    repository: Repository | None = None
    created: bool = False
    new: int = 0
    unchanged: int = 0
    refs: list[Landing] = field(default_factory=list)
    read_bytes: int = 0
    stored_bytes: int = 0
    written: int = 0
    removed: int = 0
    seconds: float = 0.0


def import_versions(
    io: FileIO,
    place: Path,
    wish: Wish,
    author: Person,
    now: Timestamp,
    monitor: Monitor,
    *,
    repository: Repository | None = None,
    dry_run: bool = False,
) -> Imported:
    """Make versions of what a source has, in the ``repository``, or in a new one at ``place``.

    What is there already is not made again, so an interrupted import goes on, and a later one takes what has
    come since. Nothing is written to the source, nothing that it names is run, no network is used.

    Raises:
        UserError: the source is damaged, or lacks objects that it names and ``skip_missing`` is not set;
            in the latter case nothing was written.
        WouldOverwrite: the current branch moves, and uncommitted work is in the way; what was stored is found
            by another try.
        Busy: another import is running.
    """
    began = clock.perf_counter()
    if wish.branch is not None:
        check_ref_name(wish.branch)
    kind = recognise(wish.source, wish.kind)
    home: list[Repository] = [] if repository is None else [repository]
    origin = _open(io, kind, wish, author, home)
    try:
        with _alone(repository):
            known, ground, left = _state(repository, origin)
            found = survey(origin, known)
            done = Imported(kind, dry_run, found, origin.notes(), repository)
            if found.missing and not (wish.skip_missing or dry_run):
                raise _missing(found)
            if dry_run:
                done.seconds = clock.perf_counter() - began
                return done
            if repository is None:
                repository = done.repository = _create(io, place, monitor, origin.head or DEFAULT_BRANCH)
                done.created = True
                home.append(repository)
            command = f"import {kind} {wish.source.name}"
            storing = Storing(repository, origin, known, ground, left, command, author, now, fast=wish.fast)
            monitor.start("import", found.size)
            landed: list[Landed] = []

            def finish(tx: Transaction, made: Update) -> None:
                landed.append(_land(storing.repository, origin, storing.done, tx, made))

            stored = storing.run(finish)
            monitor.finish()
            if stored.new:
                join_packs(repository)
    finally:
        origin.close()
    done.notes = list(dict.fromkeys(origin.notes()))
    done.new, done.unchanged = stored.new, stored.same
    done.read_bytes, done.stored_bytes = stored.read_bytes, stored.stored_bytes
    for one in landed:
        done.refs, done.written, done.removed = one.names, one.written, one.removed
    done.seconds = clock.perf_counter() - began
    return done


def _land(repository: Repository, origin: Origin, stored: Stored, tx: Transaction, made: Update) -> Landed:
    """Give the versions their names."""
    versions, names = stored.versions, origin.names()
    over = {UNDER_WAY + name for name in versions}
    if origin.line is not None:
        over = {UNDER_WAY + origin.line}
        if stored.tip is not None:
            versions = {**versions, "": stored.tip}
            names = [Name(BRANCHES + origin.line, ""), *names]
    return land(repository, tx, made, [name for name in names if name.version in versions], versions, over)


def _open(io: FileIO, kind: str, wish: Wish, author: Person, home: list[Repository]) -> Origin:
    def scratch() -> Path:
        # bytes are read when there is a repository to put them into
        return home[0].temporary.new()

    if kind == "git-lfs":
        return GitHistory(io, wish.source, wish.environment, scratch, wish.branch)
    if kind == "dvc":
        return DvcHistory(io, wish.source, wish.environment, scratch, wish.branch)
    if kind == "huggingface":
        return HubCache(io, wish.source, author, wish.branch)
    branch = wish.branch or (_current_branch(home[0]) if home else DEFAULT_BRANCH)
    return Checkpoints(io, wish.source, author, branch, dates_from_names=wish.dates_from_names)


def _current_branch(repository: Repository) -> str:
    branch = repository.read().branch()
    if branch is None:
        raise UserError("HEAD is detached: there is no current branch", hint="name one: --branch NAME")
    return branch


def _state(
    repository: Repository | None, origin: Origin
) -> tuple[dict[str, Known], CommitId | None, list[str]]:
    """What is known of the source, what the first new version of a line follows, and the refs that an
    interrupted import left."""
    if repository is None:
        return {}, None, []
    with repository.reading() as view:
        left = list(view.refs.names(UNDER_WAY))
        if origin.line is None:
            return known_versions(view, [origin.kind], everywhere(view)), None, left
        ground = ground_of_line(view, origin.line)
        return known_versions(view, [origin.kind], [] if ground is None else [ground]), ground, left


@contextmanager
def _alone(repository: Repository | None) -> Iterator[None]:
    """Keep other imports out: each would take the other's versions for what it left itself."""
    if repository is None:
        yield
        return
    with storage_errors("cannot lock the store for an import"):
        held = repository.locks.take("import", exclusive=True, wait=False)
    if held is None:
        raise Busy("another import is running", hint="wait until it has finished")
    try:
        yield
    finally:
        held.release()


def _create(io: FileIO, place: Path, monitor: Monitor, branch: str) -> Repository:
    with storage_errors("cannot create the folder"):
        make_folders(io, place)
    return Repository.create(io, place, monitor, branch=branch)


def _missing(found: Survey) -> UserError:
    more = f" and {found.missing_count - _NAMED:,} more" if found.missing_count > _NAMED else ""
    return UserError(
        f"the source lacks {'; '.join(found.missing[:_NAMED])}{more}",
        hint="fetch them there ('git lfs fetch --all', 'dvc fetch -A'), or --skip-missing; -n names all",
    )
