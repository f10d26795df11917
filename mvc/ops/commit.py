"""Snapshot the work tree, or what is given in memory, as a new version."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mvc.bases import BaseFinder, text_hint
from mvc.consolidation import consolidate
from mvc.describing import Describer
from mvc.errors import AnswerIsNo, FileChanged, MvcError, RefMoved, UserError, WouldOverwrite
from mvc.fileio import storage_errors
from mvc.history.treediff import build_tree, overlay
from mvc.ingest import ATTEMPTS, Ingested, Source, ingest_file, ingest_source
from mvc.lineage import Code, Data, Environment
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import FILE, Commit, Number, Person, Scalar, Timestamp, Tree, TreeEntry
from mvc.paths import check_path, is_below, shown
from mvc.redaction import redact, redact_value
from mvc.refs import encode_target
from mvc.repo import Repository, View
from mvc.switch import switch
from mvc.transaction import Transaction, Update, begin
from mvc.weighing import Weigher
from mvc.workspace import Workspace, files_of, locked, refuse_names
from mvc.worktree.compare import index_entry, mode_of, was_skipped
from mvc.worktree.index import IndexEntry
from mvc.worktree.scan import ScanResult, WorkFile


@dataclass(frozen=True, slots=True)
class Request:
    """What to commit.

    ``paths`` limits the snapshot to some files or folders; empty means everything. With ``amend`` the
    message may be None: then the amended commit's stays. So does its
    author, unless ``reauthor`` is set; metrics, params and data are added to its own, and its code and
    environment stay as long as its files do.

    Secrets in params, data, code and environment are masked before anything is stored; the message is the
    author's own words.
    """

    message: str | None
    author: Person
    time: Timestamp
    metrics: Mapping[str, Number] = field(default_factory=dict)
    params: Mapping[str, Scalar] = field(default_factory=dict)
    data: Mapping[str, Data] = field(default_factory=dict)
    code: Code | None = None
    environment: Environment | None = None
    paths: Sequence[str] = ()
    amend: bool = False
    reauthor: bool = False
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """The new version. ``read_bytes`` were read and hashed, ``stored_bytes`` were added to packs."""

    id: CommitId
    commit: Commit
    branch: str | None
    files: int
    changed: int
    read_bytes: int
    stored_bytes: int
    seconds: float


def commit(repository: Repository, request: Request) -> Committed:
    """Store the work tree's files and move the current branch to a commit of them.

    Raises:
        AnswerIsNo: nothing changed, and ``allow_empty`` is not set.
        InvalidPath: names that no version may hold; nothing is stored.
        FileChanged: a file kept changing while it was read.
    """
    began = clock.perf_counter()
    request = _redacted(request, repository.monitor)
    with locked(repository, exclusive=False) as workspace:
        # as the walk names them: without a slash at the end, and nothing for the top
        found = workspace.scan(["" if path == "." else path.rstrip("/") for path in request.paths])
        refuse_names(found)
        with begin(repository, _command(request), request.author, request.time) as tx:
            job = _Job(repository, workspace, tx, request, found)
            files = job.store()
            tx.publish(lambda view: job.update(view, files))
            committed = job.result(began)
        workspace.remember(job.fresh if not request.paths else {**workspace.cache.entries, **job.fresh})
    _join_packs(repository)
    return committed


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

    The work tree is not looked at, so there the last version's files are still what they were; ``checkout``
    brings what is given into it afterwards, as an operation of its own.

    Raises:
        AnswerIsNo: nothing changed, and ``allow_empty`` is not set.
        InvalidPath: a path that no version may hold, or that is a file and a folder at once.
        WouldOverwrite: ``checkout`` would overwrite uncommitted work; nothing is stored.
    """
    began = clock.perf_counter()
    request = _redacted(request, repository.monitor)
    with locked(repository, exclusive=checkout) as workspace:
        if checkout:
            _refuse_uncommitted(repository, workspace, (*given.files, *given.without))
        with begin(repository, _command(request), request.author, request.time) as tx:
            job = _GivenJob(repository, workspace, tx, request, given)
            files = job.store()
            tx.publish(lambda view: job.update(view, files))
            committed = job.result(began)
        if checkout:
            _check_out(repository, workspace, request, tx.view.head_commit(), committed.id, given)
    _join_packs(repository)
    return committed


def _command(request: Request) -> str:
    """What the operation log calls it."""
    command = "commit --amend" if request.amend else "commit"
    subject = (request.message or "").split("\n", 1)[0]
    return f"{command}: {subject}".rstrip(": ")


def _join_packs(repository: Repository) -> None:
    try:
        repository.monitor.count("joined_packs", consolidate(repository))
    except MvcError as error:
        # the version is safe by now: trouble with older packs must not make the commit look failed
        repository.monitor.warn(f"small packs were not joined: {error.message}")


def _refuse_uncommitted(repository: Repository, workspace: Workspace, paths: Sequence[str]) -> None:
    with repository.reading() as view:
        state = workspace.state(view, files_of(view, view.head_commit()), workspace.scan(paths))
    lost = sorted({*state.added, *state.modified}.intersection(paths))
    if lost:
        raise WouldOverwrite(
            f"uncommitted work is in the way: {', '.join(map(shown, lost))}",
            hint="commit it, or move it away, and try again",
        )


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
        version = files_of(tx.view, before)
        there = workspace.scan(tuple(given.files)).files
        switch(
            workspace,
            tx,
            files_of(tx.view, commit),
            lambda _view: Update(),
            force=False,
            everything=False,
            version={
                path: entry for path, entry in version.items() if path in there or path not in given.files
            },
        )


def _redacted(request: Request, monitor: Monitor) -> Request:
    """The request without secrets in what it records; the one place that every version passes."""
    params: dict[str, Scalar] = {}
    for name, value in request.params.items():
        kept, clean = redact(name), redact_value(name, value)
        if (kept, clean) != (name, value):
            monitor.warn(f"param {kept} looks like a secret, so it is recorded as {clean}")
        params[kept] = clean
    return replace(
        request,
        params=params,
        data={redact(name): item.redacted() for name, item in request.data.items()},
        code=None if request.code is None else request.code.redacted(),
        environment=None if request.environment is None else request.environment.redacted(),
    )


class _Job:
    """One run of :func:`commit`."""

    WHAT = "the work tree is"

    def __init__(
        self,
        repository: Repository,
        workspace: Workspace,
        tx: Transaction,
        request: Request,
        found: ScanResult,
    ) -> None:
        self._found = found
        self._describer = Describer(workspace.io, workspace.root)
        self._repository = repository
        self._workspace = workspace
        self._tx = tx
        self._request = request
        self.fresh: dict[str, IndexEntry] = {}
        self._weigher = Weigher(repository, tx.view.objects)
        self._files = len(found.files)
        self._new: tuple[CommitId, Commit] | None = None
        self._changed = 0
        self._read_bytes = 0

    def _kept(self, before: Mapping[str, TreeEntry], files: dict[str, TreeEntry]) -> dict[str, TreeEntry]:
        """What could not be looked at stays as it was: unreadable is not deleted."""
        skipped = {path: entry for path, entry in before.items() if was_skipped(self._found, path)}
        return {**skipped, **files} if skipped else files

    def store(self) -> dict[str, TreeEntry]:
        """Store the content of every scanned file; returns their entries by path."""
        view, monitor, found = self._tx.view, self._repository.monitor, self._found
        before = files_of(view, view.head_commit())
        finder = BaseFinder(view.objects, lambda path: _manifest(before.get(path)))
        files: dict[str, TreeEntry] = {}
        monitor.start("commit", sum(file.stat.st_size for file in found.files.values()))
        for path, file in found.files.items():
            known = self._workspace.cache.get(path, file.stat)
            if known is not None and self._tx.writer.known(ManifestId(known)):
                identity = ManifestId(known)
                self.fresh[path] = index_entry(file, identity)
                monitor.advance(file.stat.st_size)
            else:
                stored = self._ingest(file, finder)
                if stored is None:
                    continue
                identity = stored.id
                self._weigher.remember(identity, stored.digests)
                self._read_bytes += stored.manifest.size
                self.fresh[path] = index_entry(replace(file, stat=stored.status), identity)
            name = path.rsplit("/", 1)[-1]
            files[path] = TreeEntry(name, mode_of(file), identity)
        monitor.finish()
        return files

    def _ingest(self, file: WorkFile, finder: BaseFinder) -> Ingested | None:
        """Store one file; None if it has gone since the scan. What has taken its place is looked at
        afresh."""
        path, workspace = file.path, self._workspace
        now: WorkFile | None = file
        for attempt in range(ATTEMPTS):
            if now is None:
                return None
            try:
                with storage_errors(f"cannot store {shown(path)}"):
                    return ingest_file(
                        workspace.io,
                        workspace.root / path,
                        path,
                        self._tx.writer,
                        finder,
                        workspace.monitor,
                        describer=self._describer,
                        seen=now.stat,
                    )
            except FileChanged:
                if attempt == ATTEMPTS - 1:
                    raise
                # from the top, so that a folder that has become a link is seen and refused
                found = workspace.scan((path.partition("/")[0],))
                refuse_names(found)
                now = found.files.get(path)
        return None

    def update(self, view: View, files: dict[str, TreeEntry]) -> Update | None:
        """The commit on top of the state as it is now."""
        request = self._request
        head = view.head_commit()
        if request.amend and head != self._tx.view.head_commit():
            raise RefMoved("another commit was made meanwhile", hint="look at 'mvc log', then amend again")
        before = files_of(view, head)
        after = self._after(head, before, files)
        self._changed = sum(before.get(path) != after.get(path) for path in {*before, *after})
        tree = self._tree(view, head, after)
        previous = None if head is None else view.commit(head)
        if previous is not None and previous.tree == tree and self._is_idle(head):
            raise AnswerIsNo(
                f"nothing to commit: {self.WHAT} as the last version",
                hint="--allow-empty commits it anyway",
            )
        if previous is None and not after and not request.allow_empty:
            raise AnswerIsNo(
                "nothing to commit: the work tree is empty", hint="copy your model here, then commit"
            )
        new = self._commit(tree, head, previous)
        identity = self._tx.writer.put(CommitId, new.to_bytes())
        self._new = identity, new
        ref = view.head
        if isinstance(ref, str):
            return Update(refs={ref: encode_target(identity)}, locate=(identity, new.parents))
        return Update(head=identity, locate=(identity, new.parents))

    def _after(
        self, head: CommitId | None, before: dict[str, TreeEntry], files: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        """The new version's files."""
        kept = self._kept(before, files)
        return self._selected(before, kept) if self._request.paths else self._joined(head, before, kept)

    def result(self, began: float) -> Committed:
        """What was done, for the caller."""
        if self._new is None:
            raise UserError("nothing was committed")
        view = self._tx.view
        return Committed(
            *self._new,
            branch=view.branch(),
            files=self._files,
            changed=self._changed,
            read_bytes=self._read_bytes,
            stored_bytes=self._tx.writer.written_bytes,
            seconds=clock.perf_counter() - began,
        )

    def _selected(self, before: dict[str, TreeEntry], files: dict[str, TreeEntry]) -> dict[str, TreeEntry]:
        for wanted in self._request.paths:
            if not any(is_below(path, wanted) for path in (*before, *files)):
                raise UserError(
                    f"no file is called {wanted!r}", hint="'mvc status' and 'mvc ls' list what there is"
                )
        outside = {
            path: entry
            for path, entry in before.items()
            if not any(is_below(path, wanted) for wanted in self._request.paths)
        }
        return overlay(outside, files)

    def _tree(self, view: View, head: CommitId | None, files: Mapping[str, TreeEntry]) -> TreeId:
        previous = None if head is None else view.commit(head).tree

        def put(tree: Tree) -> TreeId:
            data = tree.to_bytes()
            return self._tx.writer.put(TreeId, data, text_hint(self._tx.view.objects, previous, len(data)))

        return build_tree(files, put)

    def _joined(
        self, head: CommitId | None, theirs: dict[str, TreeEntry], ours: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        """Our snapshot on top of commits that others made while it was taken: what we found as it was when we
        began, but they changed since, stays as they left it."""
        began = self._tx.view.head_commit()
        if head == began:
            return ours
        base = files_of(self._tx.view, began)
        kept = {path: entry for path, entry in theirs.items() if ours.get(path) == base.get(path)}
        return overlay(kept, {path: entry for path, entry in ours.items() if entry != base.get(path)})

    def _is_idle(self, head: CommitId | None) -> bool:
        """Whether a commit of the tree that HEAD has already would say nothing; not when another commit,
        made while this one ran, happened to store the same."""
        request = self._request
        return not (request.allow_empty or request.amend) and head == self._tx.view.head_commit()

    def _commit(self, tree: TreeId, head: CommitId | None, previous: Commit | None) -> Commit:
        request = self._request
        author = request.author
        if not request.amend:
            parents: tuple[CommitId, ...] = () if head is None else (head,)
            message = request.message or ""
            metrics, params, data = dict(request.metrics), dict(request.params), dict(request.data)
            code, environment = request.code, request.environment
        elif previous is None:
            raise UserError("there is no commit to amend yet", hint="leave --amend out")
        else:
            parents = previous.parents
            author = request.author if request.reauthor else previous.author
            message = previous.message if request.message is None else request.message
            metrics, params = {**previous.metrics, **request.metrics}, {**previous.params, **request.params}
            data = {**previous.data, **request.data}
            # where the same files came from does not change with a better message
            first, second = (previous, request) if previous.tree == tree else (request, previous)
            code, environment = first.code or second.code, first.environment or second.environment
        return Commit(
            tree,
            parents,
            author,
            request.time,
            message,
            metrics,
            params,
            data=data,
            code=code,
            environment=environment,
        )


class _GivenJob(_Job):
    """One run of :func:`commit_given`."""

    WHAT = "what was given is"

    def __init__(
        self, repository: Repository, workspace: Workspace, tx: Transaction, request: Request, given: Given
    ) -> None:
        super().__init__(repository, workspace, tx, request, ScanResult())
        self._given = given
        self._files = len(given.files)

    def store(self) -> dict[str, TreeEntry]:
        """Store every given file; returns their entries by path."""
        view, monitor, given = self._tx.view, self._repository.monitor, self._given
        before = files_of(view, view.head_commit())
        finder = BaseFinder(view.objects, lambda path: _manifest(before.get(path)))
        files: dict[str, TreeEntry] = {}
        monitor.start("commit", sum(source.size for source in given.files.values()))
        for path, source in given.files.items():
            check_path(path)
            identity, manifest, digests = ingest_source(source, path, self._tx.writer, finder, monitor)
            self._weigher.remember(identity, digests)
            self._read_bytes += manifest.size
            files[path] = TreeEntry(path.rsplit("/", 1)[-1], FILE, identity)
        monitor.finish()
        return files

    def _after(
        self, head: CommitId | None, before: dict[str, TreeEntry], files: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        kept = {path: entry for path, entry in before.items() if path not in self._given.without}
        return overlay(kept, files)


def _manifest(entry: TreeEntry | None) -> ManifestId | None:
    return entry.id if entry is not None and isinstance(entry.id, ManifestId) else None
