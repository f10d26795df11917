"""What other stores have and what they lack: remotes, fetch, push, pull."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from mvc.api.opened import Opened, Place
from mvc.errors import UsageError
from mvc.ops import remote as remote_ops
from mvc.ops.fetch import Fetched, FetchRequest, fetch
from mvc.ops.pull import Choice, Pulled, PullRequest, Request, pull
from mvc.ops.push import Pushed, PushRequest, push
from mvc.ops.remote import Shown
from mvc.sharing.addresses import settled
from mvc.sharing.settings import is_address, remotes


class Sharing(Opened):
    """Exchanges versions with other stores. A remote is named, or its address given; a path starts in the
    current folder. Credentials come from the environment or the platform's own files."""

    @property
    def remotes(self) -> Mapping[str, str]:
        """Addresses of the remotes, by name."""
        self._session.check_open()
        return {remote.shown: remote.address for remote in remote_ops.listing(self._repository)}

    def add_remote(self, name: str, address: Place) -> str:
        """Add a remote, whose store is made, empty, where there is none; returns its address.

        Raises:
            ConflictError: there is one of that name.
            StorageError: it cannot be reached, or cannot do what a store must do.
        """
        self._session.check_open()
        return remote_ops.add(self._repository, name, str(address), base=self._context.cwd).remote.address

    def remove_remote(self, name: str) -> None:
        """Forget a remote and what follows it; its store is left alone.

        Raises:
            UserError: there is none of that name.
        """
        with self._acting() as (who, now):
            remote_ops.remove(self._repository, name, who, now)

    def show_remote(self, name: str = "origin") -> Shown:
        """A remote as it is now: its branches beside those here, tags, bytes.

        Raises:
            StorageError: it cannot be reached.
        """
        self._session.check_open()
        return remote_ops.show(self._repository, self._named(name) or name)

    def fetch(
        self,
        remote: str | None = None,
        refspecs: Sequence[str] = (),
        *,
        prune: bool = False,
        tags: Literal["follow", "all", "none"] = "follow",
        dry_run: bool = False,
    ) -> Fetched:
        """Bring what a remote has (default: the current branch's, else ``origin``) and this repository lacks.

        Its branches are followed as ``origin/main``; the work tree and other branches stay, but for those
        that a refspec ``THERE:HERE`` names. Look at ``updates`` for what moved, with ``before`` where it was
        and ``kind``: ``forced`` is a branch that was rewound there, ``rejected`` a ref that stayed.

        Raises:
            UserError: there is no such remote.
            RevisionNotFound: it has no such ref.
            StorageError: it cannot be reached; what arrived is kept for the next try.
        """
        request = FetchRequest(_words(refspecs), prune, tags, dry_run=dry_run)
        with self._acting() as (who, now):
            return fetch(self._repository, self._named(remote), request, who, now)

    def push(
        self,
        remote: str | None = None,
        refspecs: Sequence[str] = (),
        *,
        set_upstream: bool = False,
        force: bool = False,
        force_with_lease: bool | Sequence[str] = False,
        delete: Sequence[str] = (),
        all_branches: bool = False,
        tags: bool = False,
        dry_run: bool = False,
    ) -> Pushed:
        """Bring a remote what it lacks and move its branches and tags, all or none; default: the current
        branch, to what it follows or to that of the same name of ``origin``.

        ``force_with_lease`` lets refs move anyhow that are where they were last seen, or at ``REF:ID``;
        ``force`` whatever they name. ``dry_run`` tells ``bytes``.

        Raises:
            ConflictError: a ref has moved there, would lose versions, or may not be moved; nothing is moved.
            StorageError: the remote cannot be reached; what arrived there need not go again.
        """
        leases: tuple[str, ...] = ()
        if force_with_lease is not False:
            leases = ("",) if force_with_lease is True else _words(force_with_lease)
        request = PushRequest(
            _words(refspecs), force, leases, _words(delete), all_branches, tags, dry_run=dry_run
        )
        with self._acting() as (who, now):
            return push(self._repository, self._named(remote), request, who, now, set_upstream=set_upstream)

    def pull(
        self,
        remote: str | None = None,
        branch: str | None = None,
        *,
        fast_forward: Literal["yes", "only", "no"] = "yes",
        strategy: str | None = None,
        strategy_for: Mapping[str, str] | None = None,
        unrelated: bool = False,
    ) -> Pulled:
        """Fetch, then merge what the current branch follows into it; a merge version is made where both sides
        have versions of their own. Look at ``merged.conflicts`` of what comes back.

        Raises:
            AnswerIsNo: only a fast-forward is allowed, and there is none.
            WouldOverwrite: uncommitted work is in files that the merge touches.
            ConflictError: a merge is under way already.
            StorageError: the remote cannot be reached.
        """
        if isinstance(strategy_for, str):
            raise UsageError("strategy_for maps patterns to strategies", hint="{'lm_head.*': 'ours'}")
        chosen = Choice(
            strategy, tuple(f"{pattern}={name}" for pattern, name in (strategy_for or {}).items())
        )
        with self._acting() as (who, now):
            request = PullRequest(
                Request(None, who, now), self._named(remote), branch, chosen, fast_forward, unrelated
            )
            return pull(self._repository, request)

    def _named(self, remote: str | None) -> str | None:
        """A remote's name, or an address in its normal form."""
        if remote is None:
            return None
        if not isinstance(remote, str):
            raise UsageError(f"a remote is text, not a {type(remote).__name__}", hint="repo.fetch('origin')")
        if remote in remotes(self._repository.config()) or not is_address(remote):
            return remote
        return settled(remote, self._context.cwd)


def _words(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
