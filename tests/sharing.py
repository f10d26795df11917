"""Two people and the store that they share, for the tests of fetch, push, pull and clone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import CommitId
from mvc.objects import Person
from mvc.ops.clone import Cloned, CloneRequest, clone
from mvc.ops.fetch import Fetched, FetchRequest, fetch
from mvc.ops.pull import Pulled, PullRequest, pull
from mvc.ops.push import Pushed, PushRequest, push
from mvc.ops.remote import add
from mvc.repo import Repository
from mvc.sharing.stores import open_store
from mvc.store import Store
from mvc.underway.merging import Request
from tests.engine import ME, make_repository, now, snapshot

_numbers = itertools.count()


@dataclass
class Pair:
    """Ada, whose repository has a first version pushed, and an address; Bob clones it."""

    folder: Path
    address: str
    ada: Repository
    people: list[Repository] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The shared store as it is now."""
        return open_store(FileIO(), self.address, Monitor(), base=self.folder, environment={})

    def clone(self, name: str = "bob", request: CloneRequest | None = None) -> Repository:
        return self.cloned(name, request).repository

    def cloned(self, name: str = "bob", request: CloneRequest | None = None) -> Cloned:
        return clone(
            FileIO(),
            self.address,
            self.folder / name,
            Monitor(),
            request or CloneRequest(),
            ME,
            now(),
            base=self.folder,
            environment={},
        )

    def refs(self) -> dict[str, bytes]:
        with self.store.reading() as view:
            return dict(view.refs.values())


def address_of(kind: str, folder: Path) -> str:
    return str(folder / "shared") if kind == "folder" else f"memory://pair-{next(_numbers)}-{folder.name}"


def make_pair(folder: Path, kind: str) -> Pair:
    ada = make_repository(folder / "ada")
    write(ada, "a.txt", "one\ntwo\nthree\n")
    write(ada, "b.txt", "first\n")
    snapshot(ada, "first")
    address = address_of(kind, folder)
    add(ada, "origin", address, base=folder)
    pair = Pair(folder, address, ada)
    pushed(ada, set_upstream=True)
    return pair


def write(repository: Repository, path: str, content: str | bytes) -> None:
    place = repository.worktree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)


def committed(repository: Repository, path: str, content: str | bytes, message: str = "more") -> CommitId:
    write(repository, path, content)
    return snapshot(repository, message).id


def pushed(
    repository: Repository,
    *specs: str,
    remote: str | None = None,
    who: Person = ME,
    set_upstream: bool = False,
    **options,
) -> Pushed:
    return push(repository, remote, PushRequest(specs, **options), who, now(), set_upstream=set_upstream)


def fetched(repository: Repository, *specs: str, remote: str | None = None, **options) -> Fetched:
    return fetch(repository, remote, FetchRequest(specs, **options), ME, now())


def pulled(repository: Repository, remote: str | None = None, branch: str | None = None, **options) -> Pulled:
    return pull(repository, PullRequest(Request(None, ME, now()), remote, branch, **options))


def ref(repository: Repository, name: str):
    with repository.reading() as view:
        return view.get(name)


def moves(updates) -> dict[str, str]:
    """What became of refs: kinds by names."""
    return {update.name: update.kind for update in updates}
