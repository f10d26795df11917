"""What a partial clone left with the store that it came from, as it is noted.

Settings say with whom: ``remote.NAME.filter`` and ``remote.NAME.depth``. ``.mvc/shallow`` lists the commits
whose parents were left out; without that file nothing was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from mvc.config import Config
from mvc.errors import ConfigError, CorruptFile, UsageError
from mvc.fileio import storage_errors
from mvc.objectid import CommitId
from mvc.remotes.filters import EVERYTHING, Filter, parse_filter
from mvc.repo import SHALLOW, Repository
from mvc.store import exists, read_text

_HEX_DIGITS = 64


def remember(repository: Repository, name: str, filter: Filter, shallow: Iterable[CommitId]) -> None:
    """Note that of a remote only a part is taken, and where history is cut: before root names any of it, and
    while no other transfer is under way, until :func:`deepened`, which takes back what root does not name.

    Commits that were cut before stay so; :func:`deepened` takes those back whose parents came.

    Raises:
        StorageError: the disk refuses.
    """
    config = repository.config()
    texts = list(filter.texts())
    edited = config
    if tuple(texts) != config.texts(("remote", name, "filter")):
        edited = _edited(edited, ("remote", name, "filter"), texts or None)
    if filter.depth != config.count(("remote", name, "depth")):
        edited = _edited(edited, ("remote", name, "depth"), filter.depth)
    if edited.text != config.text:
        repository.write_config(edited.text)
    _write_shallow(repository, {*read_shallow(repository), *shallow}, edited)


class Portion(NamedTuple):
    """What a fetch takes: ``filter`` for what is missing, ``noted`` as settings are to have it, ``deepen``
    where versions that are here may lack some of it."""

    filter: Filter
    noted: Filter
    deepen: bool


def portion(config: Config, name: str | None, asked: Filter, *, unshallow: bool = False) -> Portion:
    """What a fetch from a remote takes, by what is asked for now and was before.

    Patterns that are asked for go before those of the settings. A depth counts for the fetch that asks for
    it: later ones bring what is new, however long; ``unshallow`` brings all that was cut.

    Raises:
        ConfigError: a setting is no filter.
    """
    known = filters(config).get(name, EVERYTHING) if name is not None else EVERYTHING
    chosen = asked if asked.leaves_pieces_out else known
    depth = None if unshallow else asked.depth or known.depth
    widened = asked.leaves_pieces_out and asked.texts() != known.texts()
    return Portion(
        replace(chosen, depth=None if unshallow else asked.depth),
        replace(chosen, depth=depth),
        unshallow or asked.depth is not None or widened,
    )


def deepened(repository: Repository) -> None:
    """After a fetch: history goes on where the parents of a commit that was cut are here by now.

    Raises:
        StorageError: the disk refuses.
    """
    before = read_shallow(repository)
    view = repository.read()
    cut = set()
    for identity in before:
        if identity in view.objects:
            parents = view.whole_commit(identity).parents
            if all(parent in view.objects for parent in parents):
                continue
            cut.add(identity)
    if cut != before:
        _write_shallow(repository, cut, repository.config())


def filters(config: Config) -> dict[str, Filter]:
    """Remotes of which only a part is taken, each with its filter.

    Raises:
        ConfigError: a setting is no filter.
    """
    found: dict[str, Filter] = {}
    for name in config.section("remote"):
        try:
            made = parse_filter(
                config.texts(("remote", name, "filter")), config.count(("remote", name, "depth"))
            )
        except UsageError as error:
            raise ConfigError(f"remote.{name}: {error.message}", hint=error.hint) from None
        if made.is_partial:
            found[name] = made
    return found


def read_shallow(repository: Repository) -> set[CommitId]:
    """Commits whose parents were left out.

    Raises:
        CorruptFile: the list is damaged.
    """
    if not exists(repository.io, repository.store / SHALLOW):
        return set()
    return parse_shallow(read_text(repository.io, repository.store / SHALLOW))


def parse_shallow(text: str) -> set[CommitId]:
    """The commits that ``.mvc/shallow`` lists.

    Raises:
        CorruptFile: it is damaged.
    """
    found = set()
    for line in text.splitlines():
        try:
            raw = bytes.fromhex(line) if len(line) == _HEX_DIGITS else b""
        except ValueError:
            raw = b""
        if not raw:
            raise CorruptFile(
                "the list of commits without their parents (.mvc/shallow) is damaged",
                hint="'mvc fetch --unshallow' fetches what is missing, then remove the file",
            )
        found.add(CommitId(raw))
    return found


def _write_shallow(repository: Repository, cut: Collection[CommitId], config: Config) -> None:
    path = repository.store / SHALLOW
    if cut or filters(config):
        text = "".join(f"{identity.hex()}\n" for identity in sorted(cut))
        if not exists(repository.io, path) or read_text(repository.io, path) != text:
            repository.write(SHALLOW, text)
    elif exists(repository.io, path):
        with storage_errors(f"cannot remove {SHALLOW}"):
            repository.io.unlink(path)
            repository.io.sync_folder(repository.store)


def _edited(config: Config, key: tuple[str, ...], value: list[str] | int | None) -> Config:
    if value is None:
        return config if config.get(key) is None else config.edited(config.without(key))
    return config.edited(config.with_value(key, value))
