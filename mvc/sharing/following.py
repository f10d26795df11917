"""Branches that follow branches of remotes, and how far the two are apart."""

from __future__ import annotations

from typing import NamedTuple

from mvc.config import Config
from mvc.history.ancestry import divergence
from mvc.objectid import CommitId
from mvc.refs import BRANCHES
from mvc.sharing.settings import REMOTES, Upstream, remotes, upstream, with_upstream
from mvc.store import FolderStore
from mvc.view import View


class Standing(NamedTuple):
    """A branch beside what it follows, as that was last fetched or pushed: ``ahead`` versions are only in the
    branch, ``behind`` only in the other one. ``target`` is None where the followed branch was never there."""

    upstream: Upstream
    target: CommitId | None
    ahead: int = 0
    behind: int = 0


def standing(view: View, config: Config, branch: str) -> Standing | None:
    """How a branch stands to what it follows; None where it follows nothing, or by its name only what is not
    there.

    Raises:
        ConfigError: the settings cannot be read.
    """
    follows = upstream(config, branch)
    if follows is None:
        return None
    target, own = view.refs.get(follows.tracked), view.refs.get(BRANCHES + branch)
    if not isinstance(target, CommitId):
        return Standing(follows, None) if follows.configured else None
    if not isinstance(own, CommitId) or own == target:
        return Standing(follows, target)
    return Standing(follows, target, *divergence(view.objects, own, target))


def tracked_ref(config: Config, branch: str) -> str | None:
    """The ref that stands for what a branch follows; None where it follows nothing."""
    follows = upstream(config, branch)
    return None if follows is None else follows.tracked


def follow(store: FolderStore, branch: str, ref: str) -> bool:
    """Have a branch follow the branch of a remote that a ref stands for; False where it stands for none.

    Raises:
        StorageError: the disk refuses.
    """
    config = store.config()
    for name, remote in sorted(remotes(config).items(), key=lambda item: -len(item[0])):
        if ref.startswith(remote.tracking):
            theirs = ref.removeprefix(remote.tracking)
            store.write_config(with_upstream(config, branch, name, theirs))
            return True
    return False


def only_tracked(view: View, branch: str) -> str | None:
    """The one ref that follows a branch of this name of whichever remote; None where there is none, or there
    are several."""
    found = [name for name in view.refs.names(REMOTES) if name.endswith(f"/{branch}")]
    fitting = [name for name in found if name.removeprefix(REMOTES).partition("/")[2] == branch]
    return fitting[0] if len(fitting) == 1 else None
