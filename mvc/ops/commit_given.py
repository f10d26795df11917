"""Make a version of files that lie in memory."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from stat import S_ISREG

from mvc.committing import Committed, Job, Request, command_of, join_packs, redacted
from mvc.errors import WouldOverwrite
from mvc.history.treediff import overlay
from mvc.ingest import ingest_source
from mvc.objectid import CommitId
from mvc.objects import FILE, Manifest, TreeEntry
from mvc.paths import check_path, shown
from mvc.repo import Repository
from mvc.source import Source
from mvc.switch import switch
from mvc.transaction import Transaction, Update, begin
from mvc.workspace import Workspace, files_left, files_of, locked
from mvc.worktree.recheck import same_content


@dataclass(frozen=True, slots=True)
class Given:
    """Files that a commit takes from memory: ``files`` by repository path. Files of the last version at the
    paths of ``without`` are left out of the new one; all others stay as they are there."""

    files: Mapping[str, Source]
    without: Sequence[str] = ()


def commit_given(
    repository: Repository, request: Request, given: Given, *, checkout: bool = False
) -> Committed:
    """Store files that lie in memory and move the current branch to a commit of them.

    The work tree stays as it is, so there the last version's files are still what they were; the monitor
    hears of those that have other bytes than what was given. ``checkout`` brings what is given into the work
    tree afterwards, as an operation of its own.

    Raises:
        AnswerIsNo: nothing changed, and ``allow_empty`` is not set.
        InvalidPath: a path that no version may hold, or that is a file and a folder at once.
        WouldOverwrite: ``checkout`` would overwrite uncommitted work; nothing is stored.
    """
    began = clock.perf_counter()
    request = redacted(request, repository.monitor)
    with locked(repository, exclusive=checkout) as workspace:
        if checkout:
            _refuse_uncommitted(repository, workspace, (*given.files, *given.without))
        with begin(repository, command_of(request), request.author, request.time) as tx:
            job = _GivenJob(repository, tx, request, given)
            files = job.store()
            tx.publish(lambda view: job.update(view, files))
            committed = job.result(began)
            job.finder.save()
        if checkout:
            _check_out(repository, workspace, request, tx.view.head_commit(), committed.id, given)
        else:
            _tell_other_bytes(repository, job.manifests)
    join_packs(repository)
    return committed


def _refuse_uncommitted(repository: Repository, workspace: Workspace, paths: Sequence[str]) -> None:
    with repository.reading() as view:
        state = workspace.state(view, files_left(view, view.head_commit()), workspace.scan(paths))
    lost = sorted({*state.added, *state.modified}.intersection(paths))
    if lost:
        raise WouldOverwrite(
            f"uncommitted work is in the way: {', '.join(map(shown, lost))}",
            hint="commit it, or move it away, and try again",
        )


def _tell_other_bytes(repository: Repository, manifests: Mapping[str, Manifest]) -> None:
    """Warn of files of the work tree that the new version has with other bytes: the next commit of the work
    tree would bring them back."""
    other = [path for path, manifest in manifests.items() if _has_other_bytes(repository, path, manifest)]
    if other:
        named = ", ".join(map(shown, other[:5])) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
        repository.monitor.warn(
            f"the work tree has other bytes at {named}; committing with checkout writes there what was given"
        )


def _has_other_bytes(repository: Repository, path: str, manifest: Manifest) -> bool:
    """Whether a file stands at a path that is not what a manifest says; read up to the first difference."""
    place = repository.worktree / path
    try:
        return S_ISREG(repository.io.stat(place).st_mode) and not same_content(repository.io, place, manifest)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # what cannot be read is not known to be the same, and the version is made by now


def _check_out(
    repository: Repository,
    workspace: Workspace,
    request: Request,
    before: CommitId | None,
    commit: CommitId,
    given: Given,
) -> None:
    """Bring the work tree from the version that HEAD named before to the commit that it names now; given
    files that were missing in it come too."""
    with begin(repository, f"checkout {commit.short}", request.author, request.time) as tx:
        version = files_left(tx.view, before)
        there = workspace.scan(tuple(given.files)).files
        switch(
            workspace,
            tx,
            files_of(tx.view, commit),
            lambda _view: Update(),
            force=None,
            everything=False,
            version={
                path: entry for path, entry in version.items() if path in there or path not in given.files
            },
        )


class _GivenJob(Job):
    """One run of :func:`commit_given`."""

    what = "what was given is"

    def __init__(self, repository: Repository, tx: Transaction, request: Request, given: Given) -> None:
        super().__init__(repository, tx, request, len(given.files))
        self._given = given
        self.manifests: dict[str, Manifest] = {}

    def store(self) -> dict[str, TreeEntry]:
        monitor, given, finder = self._repository.monitor, self._given, self.finder
        files: dict[str, TreeEntry] = {}
        monitor.start("commit", sum(source.size for source in given.files.values()))
        for path, source in given.files.items():
            check_path(path)
            identity, manifest, digests = ingest_source(source, path, self._tx.writer, finder, monitor)
            self._weigher.remember(identity, manifest, digests)
            self._read_bytes += manifest.size
            self.manifests[path] = manifest
            files[path] = TreeEntry(path.rsplit("/", 1)[-1], FILE, identity)
        monitor.finish()
        return files

    def _after(
        self, head: CommitId | None, before: dict[str, TreeEntry], files: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        kept = {path: entry for path, entry in before.items() if path not in self._given.without}
        return overlay(kept, files)
