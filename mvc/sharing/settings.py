"""Remotes and upstreams in a repository's settings."""

from __future__ import annotations

from typing import NamedTuple

from mvc.config import Config
from mvc.errors import ConfigError, ConflictError, InvalidName, UserError
from mvc.history.names import offer
from mvc.history.refnames import check_ref_name
from mvc.refs import BRANCHES
from mvc.sharing.addresses import refuse_password

ORIGIN = "origin"
"""The remote that is meant where none is named."""

REMOTES = "refs/remotes/"
"""Where branches of remotes are followed."""


class Remote(NamedTuple):
    """Another store: its name here, None where only its address was given, and its address."""

    name: str | None
    address: str

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.name or self.address

    @property
    def tracking(self) -> str:
        """How the names of its followed branches begin; nothing of one without a name is followed."""
        return f"{REMOTES}{self.name}/"


class Upstream(NamedTuple):
    """What a branch follows: a remote's name, and a branch there by its short name. ``configured`` tells
    that settings say so; else it is the branch of the same name of ``origin``."""

    remote: str
    branch: str
    configured: bool = True

    @property
    def tracked(self) -> str:
        """The ref that follows it."""
        return f"{REMOTES}{self.remote}/{self.branch}"

    @property
    def shown(self) -> str:
        """What people call it: ``origin/main``."""
        return f"{self.remote}/{self.branch}"


def remotes(config: Config) -> dict[str, Remote]:
    """All remotes by name.

    Raises:
        ConfigError: one has an address that is no text, or a name that no ref may have.
    """
    found = {}
    for name, value in config.section("remote").items():
        if isinstance(value, dict) and "url" in value:
            address = config.string(("remote", name, "url"))
            try:
                check_name(name)
            except InvalidName as error:
                raise ConfigError(f"a remote in the settings: {error.message}", hint=error.hint) from None
            found[name] = Remote(name, address or "")
    return dict(sorted(found.items()))


def check_name(name: str) -> None:
    """Refuse a name that a remote may not have.

    Raises:
        InvalidName: the names of its followed branches would break a rule.
    """
    check_ref_name(name)
    check_ref_name(f"{REMOTES}{name}/main")


def find_remote(config: Config, word: str) -> Remote:
    """The remote of that name, or one without a name where the word is an address.

    Raises:
        UserError: there is none of that name, and it is no address.
    """
    known = remotes(config)
    if word in known:
        return known[word]
    if is_address(word):
        return Remote(None, word)
    refuse_password(word)
    if not known:
        raise UserError(
            f"there is no remote {word!r}",
            hint=f"mvc remote add {word} ADDRESS, a folder or s3://BUCKET/PREFIX",
        )
    raise UserError(f"there is no remote {word!r}", hint=offer(word, known))


def default_remote(config: Config, branch: str | None) -> Remote:
    """The remote that is meant where none is named: the current branch's, else ``origin``.

    Raises:
        UserError: there is none.
    """
    follows = None if branch is None else upstream(config, branch)
    return find_remote(config, ORIGIN if follows is None else follows.remote)


def is_address(word: str) -> bool:
    """Whether a word looks like an address and not like a remote's name."""
    return "/" in word or "\\" in word or word.startswith((".", "~")) or "://" in word


def upstream(config: Config, branch: str) -> Upstream | None:
    """What a branch follows; None where nothing says so and there is no remote called ``origin``.

    Raises:
        ConfigError: the settings cannot be read.
    """
    remote = config.string(("branch", branch, "remote"))
    merge = config.string(("branch", branch, "merge"))
    if remote is not None:
        return Upstream(remote, (merge or branch).removeprefix(BRANCHES))
    return Upstream(ORIGIN, branch, configured=False) if ORIGIN in remotes(config) else None


# --- edits, each of which gives the file's new text ---------------------------------------------------------
def with_remote(config: Config, name: str, address: str) -> str:
    """The settings with one more remote, or another address of one."""
    return config.with_value(("remote", name, "url"), address)


def refuse_taken(config: Config, name: str) -> None:
    """Refuse a name that another remote has, or that would mix their branches.

    Raises:
        InvalidName: no remote may have it.
        ConflictError: there is one.
    """
    check_name(name)
    for other in remotes(config):
        if other == name:
            raise ConflictError(
                f"there is a remote {name!r} already",
                hint=f"mvc remote set-url {name} ADDRESS changes its address",
            )
        if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
            raise ConflictError(
                f"the branches of {name!r} and {other!r} could not be told apart", hint="choose another name"
            )


def without_remote(config: Config, name: str) -> str:
    """The settings without a remote, and without the upstreams that are its branches.

    Raises:
        ConfigError: there is none.
    """
    if name not in remotes(config):
        raise ConfigError(f"there is no remote {name!r}", hint=offer(name, remotes(config)))
    config = config.edited(config.without(("remote", name)))
    for branch in _following(config, name):
        config = config.edited(_without_upstream(config, branch))
    return config.text


def renamed(config: Config, old: str, new: str) -> str:
    """The settings with a remote under another name, upstreams too.

    Raises:
        ConfigError: there is none of the old name.
        ConflictError, InvalidName: the new one is taken, or not allowed.
    """
    if old not in remotes(config):
        raise ConfigError(f"there is no remote {old!r}", hint=offer(old, remotes(config)))
    kept = config.section(("remote", old))
    following = _following(config, old)
    config = config.edited(config.without(("remote", old)))
    refuse_taken(config, new)
    for key, value in kept.items():
        config = config.edited(config.with_value(("remote", new, key), value))
    for branch in following:
        config = config.edited(config.with_value(("branch", branch, "remote"), new))
    return config.text


def with_upstream(config: Config, branch: str, remote: str, theirs: str) -> str:
    """The settings in which a branch follows a branch of a remote."""
    config = config.edited(config.with_value(("branch", branch, "remote"), remote))
    return config.with_value(("branch", branch, "merge"), BRANCHES + theirs)


def without_upstream(config: Config, branch: str) -> str:
    """The settings in which a branch follows nothing.

    Raises:
        ConfigError: it does not.
    """
    if config.get(("branch", branch, "remote")) is None:
        raise ConfigError(f"{branch!r} has no upstream", hint=f"mvc branch --set-upstream-to origin/{branch}")
    return _without_upstream(config, branch)


def with_branch_renamed(config: Config, old: str, new: str) -> str:
    """The settings in which a branch's are those of its new name too."""
    kept = config.section(("branch", old))
    if not kept:
        return config.text
    for key, value in kept.items():
        config = config.edited(config.with_value(("branch", new, key), value))
    return config.text


def _following(config: Config, remote: str) -> list[str]:
    return [
        branch
        for branch, value in config.section("branch").items()
        if isinstance(value, dict) and value.get("remote") == remote
    ]


def _without_upstream(config: Config, branch: str) -> str:
    for key in ("remote", "merge"):
        if config.get(("branch", branch, key)) is not None:
            config = config.edited(config.without(("branch", branch, key)))
    if not config.section(("branch", branch)):
        return config.without(("branch", branch))
    return config.text
