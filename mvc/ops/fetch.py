"""Bring what remotes have into this repository."""

from __future__ import annotations

from collections.abc import Sequence

from mvc.errors import UsageError
from mvc.objects import Person, Timestamp
from mvc.repo import Repository
from mvc.sharing.fetching import Fetched, FetchRequest
from mvc.sharing.fetching import fetch as fetch_from
from mvc.sharing.settings import default_remote, find_remote, remotes

__all__ = ["FetchRequest", "Fetched", "fetch", "fetch_all"]


def fetch(
    repository: Repository, name: str | None, request: FetchRequest, who: Person, now: Timestamp
) -> Fetched:
    """Fetch from a remote (by its name or address; that of the current branch, else ``origin``) what this
    repository lacks, and move the refs that follow it. The work tree and branches of this repository's own
    stay, but for those that a refspec names.

    Raises:
        UserError: there is no such remote.
        RevisionNotFound: the remote has no ref that a refspec names.
        ObjectPurged: it has what was purged here.
        StorageError: it cannot be reached, or refuses.
    """
    config = repository.config()
    if name is None:
        with repository.reading() as view:
            remote = default_remote(config, view.branch())
    else:
        remote = find_remote(config, name)
    return fetch_from(repository, remote, request, who, now)


def fetch_all(
    repository: Repository, request: FetchRequest, who: Person, now: Timestamp
) -> Sequence[Fetched]:
    """Fetch from every remote, one after the other.

    Raises:
        UsageError: refspecs are of one remote.
        StorageError: one cannot be reached, or refuses; those before it are done.
    """
    if request.refspecs:
        raise UsageError("refspecs go with one remote, not with all of them")
    known = remotes(repository.config()).values()
    return [fetch_from(repository, remote, request, who, now) for remote in known]
