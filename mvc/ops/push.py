"""Bring a remote what this repository has."""

from __future__ import annotations

from mvc.errors import UsageError
from mvc.objects import Person, Timestamp
from mvc.repo import Repository
from mvc.sharing.pushing import Pushed, PushRequest
from mvc.sharing.pushing import push as push_to
from mvc.sharing.settings import default_remote, find_remote, with_upstream

__all__ = ["PushRequest", "Pushed", "push"]


def push(
    repository: Repository,
    name: str | None,
    request: PushRequest,
    who: Person,
    now: Timestamp,
    *,
    set_upstream: bool = False,
) -> Pushed:
    """Push to a remote (by its name or address; that of the current branch, else ``origin``): its refs move
    all or none. With ``set_upstream`` the branches that are pushed follow their targets from now on.

    Raises:
        UserError: there is no such remote.
        ConflictError: a ref has moved there, would lose versions, or may not be moved; nothing is moved.
        ObjectPurged: the remote has purged what would come.
        StorageError: it cannot be reached, or refuses.
    """
    config = repository.config()
    if name is None:
        with repository.reading() as view:
            remote = default_remote(config, view.branch())
    else:
        remote = find_remote(config, name)
    if set_upstream and remote.name is None:
        raise UsageError(
            "a branch follows a remote by its name", hint=f"mvc remote add NAME {remote.address}"
        )
    pushed = push_to(repository, remote, request, who, now)
    if set_upstream and remote.name is not None and not request.dry_run:
        config = repository.config()
        for branch, target in pushed.branches.items():
            config = config.edited(with_upstream(config, branch, remote.name, target))
        repository.write_config(config.text)
    return pushed
