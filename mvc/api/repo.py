"""A repository as Python programs use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mvc import provenance
from mvc.api.asking import Asking
from mvc.api.changing import Changing
from mvc.api.commits import given_of, metrics_of, places_of
from mvc.api.merging import Merging
from mvc.api.noting import Noting
from mvc.api.opened import Place, name_of, place_of
from mvc.api.params import params_of
from mvc.api.results import Diff, Log, WorkStatus
from mvc.api.revision import Revision
from mvc.api.sharing import Sharing
from mvc.config import Config
from mvc.context import Context
from mvc.errors import UsageError
from mvc.fileio import FileIO
from mvc.lineage import Code
from mvc.monitor import Monitor
from mvc.odb.database import CACHE_BYTES
from mvc.ops.clone import CloneRequest, clone
from mvc.ops.commit import Request, commit
from mvc.ops.commit_given import commit_given
from mvc.ops.diff import Depth, diff_versions, diff_worktree
from mvc.ops.init import init
from mvc.ops.log import log
from mvc.ops.status import status
from mvc.paths import shown
from mvc.remotes.filters import parse_filter
from mvc.repo import DEFAULT_BRANCH, Repository
from mvc.sharing.stores import look_at
from mvc.store import read_text
from mvc.underway.pending import read_pending


class Repo(Asking, Changing, Merging, Noting, Sharing):
    """A repository: commit to it, look at its versions, load tensors out of them.

    Get one from :meth:`open`, :meth:`find` or :meth:`init`; use it in a ``with`` block or close it when done.
    Every method reads the repository as it is then, so several programs may work on one. Revisions are named
    as on the command line: ``main``, ``v1``, ``HEAD~2``, the beginning of an id. Errors are those of
    :mod:`mvc.errors`. Nothing is printed: ``monitor`` hears of progress, warnings and damage.
    """

    # --- getting one --------------------------------------------------------------------------------------
    @classmethod
    def open(
        cls, path: Place = ".", *, monitor: Monitor | None = None, cache_bytes: int | None = None
    ) -> Self:
        """The repository of exactly this folder, or a shared store by its address: ``s3://bucket/prefix``,
        ``file:///folder``.

        A shared store is read where it lies: versions, metrics, tensors, of which no more is fetched
        than what is read. ``HEAD`` is its default branch. What needs a work tree says so.

        With ``cache_bytes`` so many bytes of tensors, once decoded, are kept in memory for the next time:
        for who loads versions again and again, or many that are stored as differences from a few.

        Raises:
            RepositoryNotFound: there is none.
            StorageError: the store does not answer, or refuses.
        """
        if isinstance(path, str) and "://" in path:
            context = Context.of_process()
            store = look_at(
                FileIO(),
                path,
                monitor or Monitor(),
                base=context.cwd,
                environment=context.store_environment,
            )
            return cls(store, context, keep=cache_bytes is not None)
        return cls._of(Repository.open, path, monitor, cache_bytes)

    @classmethod
    def find(
        cls, path: Place = ".", *, monitor: Monitor | None = None, cache_bytes: int | None = None
    ) -> Self:
        """The repository of a folder or of the nearest one above it; ``cache_bytes`` as for :meth:`open`.

        Raises:
            RepositoryNotFound: there is none.
        """
        return cls._of(Repository.find, path, monitor, cache_bytes)

    @classmethod
    def _of(
        cls, found: Callable[..., Repository], path: Place, monitor: Monitor | None, cache_bytes: int | None
    ) -> Self:
        context = Context.of_process()
        room = CACHE_BYTES if cache_bytes is None else cache_bytes
        repository = found(
            FileIO(),
            place_of(context, path),
            monitor or Monitor(),
            cache_bytes=room,
            environment=context.store_environment,
        )
        return cls(repository, context, keep=cache_bytes is not None)

    @classmethod
    def init(cls, path: Place = ".", *, branch: str = DEFAULT_BRANCH, monitor: Monitor | None = None) -> Self:
        """Make a repository in a folder, which is created where it is missing.

        Raises:
            UserError: there is one already.
        """
        context = Context.of_process()
        repository = init(FileIO(), place_of(context, path), monitor or Monitor(), branch=branch)
        repository.environment = context.store_environment
        return cls(repository, context)

    @classmethod
    def clone(
        cls,
        address: Place,
        path: Place,
        *,
        branch: str | None = None,
        remote: str = "origin",
        depth: int | None = None,
        filter: Sequence[str] = (),
        checkout: bool = True,
        monitor: Monitor | None = None,
    ) -> Self:
        """Copy the store at an address (a folder, ``s3://BUCKET/PREFIX``) into a new repository.

        ``branch``, or a tag, is checked out instead of the one that the store names. ``depth`` brings only so
        many versions of each line of history, ``filter`` (``path:PATTERN``, ``tensor:PATTERN``) only what
        fits. What was cut short goes on when it is called again.

        Raises:
            RepositoryNotFound: there is no store at the address.
            UserError: the folder is not empty.
            StorageError: the store cannot be reached.
        """
        context = Context.of_process()
        known = context.global_config
        own = Config(read_text(FileIO(), known) if known and known.exists() else "", str(known))
        patterns = [filter] if isinstance(filter, str) else list(filter)
        done = clone(
            FileIO(),
            str(address),
            place_of(context, path),
            monitor or Monitor(),
            CloneRequest(branch, remote, parse_filter(patterns, depth), checkout=checkout),
            context.author([own], ask_git=True).person,
            context.now(),
            base=context.cwd,
            environment=context.store_environment,
        )
        return cls(done.repository, context)

    def close(self) -> None:
        """Let go of files and memory. Versions and files that came from here cannot be read any more."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- what it is ---------------------------------------------------------------------------------------
    @property
    def path(self) -> Path:
        """Its folder."""
        return self._repository.worktree

    @property
    def monitor(self) -> Monitor:
        """What hears of progress, warnings and damage."""
        return self._session.store.monitor

    @property
    def branch(self) -> str | None:
        """The current branch's name; None when HEAD is detached."""
        with self._session.reading() as view:
            return view.branch()

    @property
    def head(self) -> Revision | None:
        """The version that HEAD means; None before the first one."""
        with self._session.reading() as view:
            identity = view.head_commit()
            return None if identity is None else self._revision(view, identity)

    def __repr__(self) -> str:
        store = self._session.store
        return (
            f"<Repo {str(store.worktree)!r}>" if isinstance(store, Repository) else "<Repo of a shared store>"
        )

    # --- committing ---------------------------------------------------------------------------------------
    def commit(
        self,
        state: Mapping[str, Any] | None = None,
        message: str | None = None,
        *,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Place] | None = None,
        paths: Sequence[str] = (),
        author: str | None = None,
        time: datetime | None = None,
        amend: bool = False,
        allow_empty: bool = False,
        checkout: bool = False,
        code: Place | None = None,
        fast: bool = False,
        bases: str | Revision | Sequence[str | Revision] = (),
        recipe: Sequence[str | Revision] = (),
    ) -> Revision:
        """Make a version of the work tree, or of ``state``, on the current branch.

        Without ``state``, the work tree is snapshot as ``mvc commit`` does; ``paths`` (from the repository's
        top) limits that to some files or folders.

        With ``state``, a mapping of keys to values in memory, each key becomes ``KEY.safetensors`` (the
        tensors of its value: numpy, torch on any device, or any array of the array standards) and
        ``KEY.json`` (everything else; see :mod:`mvc.api.state`); :meth:`load_state_dict` gives the values
        back bit for bit. A value may be a single tensor. No file is written in between. A key owns these two
        paths; all other files stay as the last version has them.

        The work tree is not touched: :meth:`status` says there what differs (``deleted`` where a file was
        never written), and the monitor hears of each file that a key writes while the work tree has it with
        other bytes, which a later commit of the work tree would bring back. With ``checkout`` all of them are
        written there too.

        ``author`` is ``Name <address>``; else the environment, the settings, Git's, login and host say who.
        ``metrics`` are numbers; ``params`` settings, however nested (:func:`mvc.api.params.params_of`);
        ``data`` paths or addresses by name: what it was trained on (files are hashed, addresses only noted).
        The running Python, its frameworks and the Git commit of the code are recorded too, unless settings
        say no; secrets are masked. ``code`` is a folder of the code; by default the repository's, or, where
        Git knows nothing of that, the current folder. ``amend`` replaces the last version.

        ``fast`` stores quickly, not tightly. ``bases`` are revisions that the tensors come from, ``recipe``
        two or more of which they are a combination; without them mvc looks for relatives by itself.

        Raises:
            AnswerIsNo: nothing changed, and ``allow_empty`` is not set.
            UsageError: no message; arguments that do not go together.
            UserError: a value of ``state`` that no file can hold.
            WouldOverwrite: ``checkout`` would overwrite uncommitted work; nothing is stored.
        """
        if isinstance(state, str):
            raise UsageError("commit takes what to commit first", hint=f"commit(message={state!r})")
        if not (message is None or isinstance(message, str)):
            raise UsageError(f"a message is text, not a {type(message).__name__}")
        if not (message and message.strip()) and not (message is None and (amend or self._is_under_way())):
            raise UsageError("a version needs a message", hint="commit(…, message='what changed')")
        if isinstance(recipe, str) or len(recipe) == 1:
            raise UsageError(
                "one version makes no combination", hint="name each version that was merged, or use bases"
            )
        self._session.check_open()
        repository = self._repository
        request = Request(
            message=message,
            author=self._person(author),
            time=self._moment(time),
            metrics=metrics_of(metrics or {}),
            params=params_of(params or {}),
            data=provenance.data(
                repository.io,
                places_of(data or {}),
                folder=self._context.cwd,
                worktree=repository.worktree,
                monitor=repository.monitor,
            ),
            code=self._code(code),
            # of no other environment than this one: the program that trained is the one that commits
            environment=provenance.environment({}) if self._records("commit.environment") else None,
            paths=[paths] if isinstance(paths, str) else list(paths),
            amend=amend,
            reauthor=author is not None,
            allow_empty=allow_empty,
            fast=fast,
            bases=[name_of(one) for one in ([bases] if isinstance(bases, str | Revision) else bases)],
            recipe=[name_of(one) for one in recipe],
        )
        if state is None:
            if checkout:
                raise UsageError("checkout goes with a state", hint="the work tree is committed as it is")
            done = commit(self._repository, request)
        elif paths:
            raise UsageError("paths and a state do not go together")
        else:
            done = commit_given(self._repository, request, given_of(state), checkout=checkout)
        with self._session.reading() as view:
            return self._revision(view, done.id)

    def _is_under_way(self) -> bool:
        with self._session.reading() as view:
            return read_pending(view) is not None

    def _code(self, given: Place | None) -> Code | None:
        """The Git commit of the program that commits."""
        if not self._records("commit.code"):
            return None
        if given is None:
            return provenance.code(self.path) or provenance.code(self._context.cwd)
        place = place_of(self._context, given)
        if not place.is_dir():
            raise UsageError(
                f"the code {shown(str(place))} is not a folder", hint="code=Path(__file__).parent"
            )
        found = provenance.code(place)
        if found is None:
            self.monitor.warn(f"no Git commit was found of the code in {shown(str(place))}")
        return found

    # --- reading ------------------------------------------------------------------------------------------
    def __getitem__(self, revision: str) -> Revision:
        with self._session.reading() as view:
            return self._revision(view, self._resolve(view, revision))

    def log(self, revision: str = "HEAD", *, limit: int | None = None) -> Log:
        """Versions that a revision reaches, newest first; at most ``limit``.

        Raises:
            RevisionNotFound: there is no such revision. (HEAD before the first version gives an empty log.)
        """
        if limit is not None and limit < 0:
            raise UsageError("limit is a count")
        with self._session.reading() as view:
            if revision == "HEAD" and view.head_commit() is None:
                return Log(())
            return Log([Revision(self._session, entry) for entry in log(view, [revision], limit=limit)])

    def load_state_dict(
        self,
        revision: str = "HEAD",
        path: str | None = None,
        *,
        framework: str = "numpy",
        device: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Tensors out of a version, and what was committed beside them.

        Without ``path``: a dict of every key to its value, as :meth:`commit` took them; the keys are the
        version's ``KEY.safetensors`` and ``KEY.json``, however they came into it, and the models that an
        ``….index.json`` puts together out of shards. With ``path``: the value of one key, the tensors of one
        file of any format by name, those of an index's shards, or of the only such file of a folder.

        Tensors are numpy arrays (bf16 and fp8 with ml_dtypes), or with ``framework="torch"`` those of torch,
        on ``device`` where given. Mappings come back as dicts, sequences as lists and tuples.

        Raises:
            RevisionNotFound: there is no such revision or path.
            UserError: files that do not belong together; the hint says what to ask for.
            DamageError: stored bytes are missing or wrong.
        """
        found = self[revision]
        return found.state_dict(path, framework=framework, device=device, threads=threads)

    def status(self) -> WorkStatus:
        """What a commit of the work tree would record."""
        self._session.check_open()
        return WorkStatus.of(status(self._repository))

    def diff(
        self,
        old: str | None = None,
        new: str | None = None,
        *,
        paths: Sequence[str] = (),
        tensors: bool = True,
        ranks: bool = False,
    ) -> Diff:
        """Files that differ from ``old`` (default: HEAD) to ``new`` (default: the work tree), by path.

        With ``tensors`` each change lists the tensors that differ, and the share of their elements whose bits
        moved, for which they are read; ``stats`` say how far they moved, with ``ranks`` also in how many
        directions.
        """
        depth = Depth(rank=ranks)
        wanted = [paths] if isinstance(paths, str) else list(paths)
        if new is None:
            self._session.check_open()
            return Diff(list(diff_worktree(self._repository, old, wanted, tensors=tensors, depth=depth)))
        with self._session.reading() as view:
            return Diff(
                list(
                    diff_versions(
                        self._session.store, view, old or "HEAD", new, wanted, tensors=tensors, depth=depth
                    )
                )
            )
