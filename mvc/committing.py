"""A new version on the current branch: from files, wherever they come from, to a published commit."""

from __future__ import annotations

import time as clock
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from mvc.afterwards import forget, noted
from mvc.bases import BaseFinder, Given, SketchStore, text_hint
from mvc.consolidation import consolidate
from mvc.errors import AnswerIsNo, MvcError, RefMoved, UserError
from mvc.history.reader import read_whole_commit
from mvc.history.treediff import build_tree
from mvc.lineage import Code, Data, Environment
from mvc.monitor import Monitor
from mvc.named_files import NamedFiles
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Commit, Number, Person, Scalar, Timestamp, Tree, TreeEntry
from mvc.odb.effort import Effort
from mvc.odb.record import MAX_BASES
from mvc.redaction import redact, redact_value
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.transaction import Transaction, Update
from mvc.underway.pending import refuse_pending
from mvc.view import View
from mvc.weighing import Weigher
from mvc.workspace import files_left


@dataclass(frozen=True, slots=True)
class Request:
    """What to commit.

    ``paths`` limits the snapshot to some files or folders; empty means everything. With ``amend``, and where
    a merge is under way, the message may be None: then the amended commit's stays, or the merge's. An amended
    commit's author stays, unless ``reauthor`` is set; metrics, params and data are added to its own, and its
    code and environment stay as long as its files do.

    A file whose bytes are those that the last version has keeps its manifest, whatever this mvc would make of
    it; with ``rescan`` every file is looked into anew.

    With ``fast`` tensors are not compared with others and coded the quickest way: ``gc --repack`` makes up
    for it. ``bases`` are revisions that the files come from, ``recipe`` two or more whose files they are a
    combination of (an average, task arithmetic); without them relatives are looked for, and either only
    helps to store the bytes well.

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
    rescan: bool = False
    fast: bool = False
    bases: Sequence[str] = ()
    recipe: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """The new version. ``read_bytes`` were read and hashed, ``stored_bytes`` were added to packs. ``already``
    tells that an earlier try had made it, which failed only afterwards."""

    id: CommitId
    commit: Commit
    branch: str | None
    files: int
    changed: int
    read_bytes: int
    stored_bytes: int
    seconds: float
    already: bool = False


def command_of(request: Request) -> str:
    """What the operation log calls it."""
    command = "commit --amend" if request.amend else "commit"
    subject = (request.message or "").split("\n", 1)[0]
    return f"{command}: {subject}".rstrip(": ")


def join_packs(repository: Repository) -> None:
    """Join small packs, behind a commit that is safe already."""
    try:
        repository.monitor.count("joined_packs", consolidate(repository))
    except MvcError as error:
        # the version is safe by now: trouble with older packs must not make the commit look failed
        repository.monitor.warn(f"small packs were not joined: {error.message}")


def redacted(request: Request, monitor: Monitor) -> Request:
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


class Job(ABC):
    """One commit under way: :meth:`store` its files, then :meth:`update` as often as others are faster.

    ``what`` names what is committed, as the beginning of a sentence: ``the work tree is``.
    """

    what: str

    def __init__(self, repository: Repository, tx: Transaction, request: Request, files: int) -> None:
        self._repository = repository
        self._tx = tx
        self._request = request
        self._files = files
        self._weigher = Weigher(repository, tx.view.objects)
        self._new: tuple[CommitId, Commit] | None = None
        self._already = False
        self._changed = 0
        self._read_bytes = 0
        if request.fast:
            tx.writer.effort = Effort.FAST

    @abstractmethod
    def store(self) -> dict[str, TreeEntry]:
        """Store the content of every file; returns their entries by path."""

    @abstractmethod
    def _after(
        self, head: CommitId | None, before: dict[str, TreeEntry], files: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        """The new version's files, from those of the version that HEAD has now and those that were stored."""

    @cached_property
    def before(self) -> dict[str, TreeEntry]:
        """The files of the version that HEAD had at the beginning."""
        return files_left(self._tx.view, self._tx.view.head_commit())

    @cached_property
    def finder(self) -> BaseFinder:
        """Finds what the files' last versions offer."""
        request, view = self._request, self._tx.view
        store = SketchStore(self._repository.io, self._repository.store)
        if len(request.recipe) > MAX_BASES:
            raise UserError(
                f"{len(request.recipe)} versions to combine are more than a recipe may have ({MAX_BASES})",
                hint="leave the recipe out",
            )
        bases = [NamedFiles(view, revision) for revision in request.bases]
        operands = [NamedFiles(view, revision) for revision in request.recipe]
        return BaseFinder(
            self._tx.writer.database.at_hand(),  # a smaller record is not worth a transfer
            store,
            lambda path: _manifest(self.before.get(path)),
            Given(
                lambda path: [one for files in bases for one in files.like(path)],
                lambda path: [one for files in operands for one in files.like(path)[:1]],
            ),
            compare=not request.fast,
        )

    def update(self, view: View, files: dict[str, TreeEntry]) -> Update | None:
        """The commit on top of the state as it is now."""
        request = self._request
        refuse_pending(view, "no other version can be made")
        head = view.head_commit()
        if request.amend and head != self._tx.view.head_commit():
            raise RefMoved("another commit was made meanwhile", hint="look at 'mvc log', then amend again")
        before = files_left(view, head)
        after = self._after(head, before, files)
        self._changed = sum(before.get(path) != after.get(path) for path in {*before, *after})
        tree = self.tree(view, head, after)
        previous = None if head is None else read_whole_commit(view.objects, head)
        if head is not None and previous is not None and self._is_made(view, previous, tree):
            self.made(head, previous)
            self._already = True
            forget(self._repository)
            return None
        same = head is not None and previous is not None and previous.tree == tree
        # what a lifted purge took may be stored again, and is the same version
        if same and self._is_idle(head) and not any(view.objects.is_gone(one.id) for one in files.values()):
            assert head is not None
            raise AnswerIsNo(
                f"nothing to commit: {self.what} as the last version, {head.short}",
                hint="an empty commit must be allowed (--allow-empty, allow_empty=True)",
            )
        if previous is None and not after and not request.allow_empty:
            raise AnswerIsNo(
                "nothing to commit: the work tree is empty", hint="copy your model here, then commit"
            )
        new = self._commit(tree, head, previous)
        identity = self._tx.writer.put(CommitId, new.to_bytes())
        self.made(identity, new)
        ref = view.head
        if isinstance(ref, str):
            return Update(refs={ref: encode_target(identity)}, locate=(identity, new.parents))
        return Update(head=identity, locate=(identity, new.parents))

    def made(self, identity: CommitId, commit: Commit) -> None:
        """Note the new version, for :meth:`result`."""
        self._new = identity, commit

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
            already=self._already,
        )

    def tree(self, view: View, head: CommitId | None, files: Mapping[str, TreeEntry]) -> TreeId:
        """Store a version's files as trees."""
        previous = None if head is None else view.commit(head).tree

        def put(tree: Tree) -> TreeId:
            data = tree.to_bytes()
            return self._tx.writer.put(TreeId, data, text_hint(self._tx.view.objects, previous, len(data)))

        return build_tree(files, put)

    def _is_made(self, view: View, previous: Commit, tree: TreeId) -> bool:
        """Whether HEAD is what is asked for, made by an earlier try that failed behind it."""
        request = self._request
        if previous.tree != tree or request.message not in (None, previous.message):
            return False
        newest = noted(self._repository, view)
        if newest is None or newest.command != command_of(request) or newest.who != request.author:
            return False
        for asked, made in ((request.metrics, previous.metrics), (request.params, previous.params)):
            if any(made.get(name) != value for name, value in asked.items()):
                return False
        return all(previous.data.get(name) == item for name, item in request.data.items())

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
            raise UserError("there is no commit to amend yet", hint="make the first one without amending")
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


def _manifest(entry: TreeEntry | None) -> ManifestId | None:
    return entry.id if entry is not None and isinstance(entry.id, ManifestId) else None
