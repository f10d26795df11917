"""Copies of repositories in which something was left out, made without the commands that make them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mvc.backends import MemoryBackend
from mvc.fileio import FileIO
from mvc.history.graph import walk
from mvc.history.treediff import flatten
from mvc.monitor import Monitor
from mvc.objectid import CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import Tree
from mvc.refs import encode_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.filters import EVERYTHING, Filter, parse_filter, pieces
from mvc.remotes.reaching import reach
from mvc.repo import Repository
from mvc.sharing.bucket import BucketStore
from mvc.sharing.partial import remember
from mvc.store import Store
from mvc.transaction import Update, begin
from mvc.view import View
from tests.engine import ME, make_repository, now


def objects_of(view: View, tip: CommitId, filter: Filter) -> tuple[list[ObjectId], list[CommitId]]:
    """What a filter takes of a version and those before it, and the commits at which it cuts."""
    found: dict[ObjectId, None] = {}
    cut: list[CommitId] = []
    for number, (identity, commit) in enumerate(walk(view.objects, [tip])):
        found[identity] = None
        stack = [commit.tree]
        while stack:
            tree = stack.pop()
            found[tree] = None
            for entry in Tree.from_bytes(view.objects.get(tree)).entries:
                if isinstance(entry.id, TreeId):
                    stack.append(entry.id)
        for path, entry in flatten(view.objects, commit.tree).items():
            found[entry.id] = None
            manifest = view.manifests.manifest(ManifestId(entry.id))
            found.update(dict.fromkeys(pieces(filter, path, manifest)))
        if filter.depth == number + 1:
            if commit.parents:
                cut.append(identity)
            break
    return list(found), cut


def copy_into(source: Store, target: Store, tip: CommitId, filter: Filter = EVERYTHING) -> list[CommitId]:
    """Copy a version and those before it, and have ``main`` name it; returns where history was cut."""
    with source.reading() as view, begin(target, "fetch", ME, now()) as tx:
        wanted, cut = objects_of(view, tip, filter)
        sink = DirectSink(target.backend)
        for record in reach(view.backend, view.index, wanted, lambda _identity: None):
            sink.add(record)
        if isinstance(target, Repository) and filter.is_partial:
            remember(target, "origin", filter, cut)
        tx.adopt(sink.finish())
        tx.publish(lambda _view: Update(refs={"refs/heads/main": encode_target(tip)}))
    return cut


def partial_clone(
    source: Store,
    address: str,
    folder: Path,
    tip: CommitId,
    texts: Iterable[str] = (),
    depth: int | None = None,
) -> Repository:
    """A repository that has of ``source``, which lies at ``address``, what a filter takes."""
    made = make_repository(folder)
    made.write_config(made.config().with_value("remote.origin.url", address))
    copy_into(source, made, tip, parse_filter(texts, depth))
    return Repository.open(FileIO(), folder, Monitor())


def bucket_of(source: Repository, tip: CommitId, backend: MemoryBackend | None = None) -> BucketStore:
    """A bucket in memory that holds a version and those before it."""
    store = BucketStore.create(backend or MemoryBackend(), Monitor(), "memory", branch="main")
    copy_into(source, store, tip)
    return store
