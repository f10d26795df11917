"""History written anew, without what a purge takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mvc.errors import UserError
from mvc.history.reader import read_object, read_tree, read_whole_commit
from mvc.history.treediff import build_tree, flatten
from mvc.objectid import AliasId, CommitId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry, Commit, Person, Tag, Timestamp, Tree
from mvc.odb.writer import ObjectWriter
from mvc.purging.aims import Aim, Versions
from mvc.purging.survey import Ends, below, is_all
from mvc.refs import NOTES, TAGS, decode_target, encode_target
from mvc.registry.notes.shelf import path_of
from mvc.view import View
from mvc.workspace import EMPTY_TREE

_Id = TypeVar("_Id", bound=ObjectId)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``commits`` maps versions that are made anew to what they have become, and versions that drop out to
    None. ``refs`` are the values of those that move (None: they go), ``head`` where HEAD is to be, None
    where it stays. ``replaced`` are versions, tags and notes that the new history has no use for, ``used``
    the objects that were made for it."""

    commits: Mapping[CommitId, CommitId | None]
    refs: Mapping[str, bytes | None]
    head: CommitId | None
    replaced: frozenset[ObjectId]
    used: frozenset[ObjectId]


def rewrite(
    view: View, versions: Versions, aims: Collection[Aim], writer: ObjectWriter, who: Person, now: Timestamp
) -> Rewritten:
    """Make every version anew that has something of the aims, or follows one that has; a version that is to
    go as a whole drops out, and its children get its parents.

    Branches, tags and notes move along. A tag whose version drops out goes, a branch falls back to the
    parent.

    Raises:
        UserError: HEAD, on no branch, would be nowhere.
    """
    made = _Rewriter(view, versions, aims, writer)
    for commit in versions.named:
        made.commit(commit)
    commits = {
        old: (None if old in made.dropped else new[0])
        for old, new in made.became.items()
        if old in made.dropped or new != (old,)
    }
    refs: dict[str, bytes | None] = {}
    for name, value in view.refs.values():
        new = _notes(view, made, who, now) if name == NOTES else made.ref(name, value)
        if new != value:
            refs[name] = new
    head: CommitId | None = None
    if isinstance(view.root.head, CommitId) and view.root.head in commits:
        became = made.became[view.root.head]
        if not became:
            raise UserError("HEAD would be nowhere", hint="check out a branch first (mvc switch NAME)")
        head = became[0]
    return Rewritten(commits, refs, head, frozenset({*commits, *made.replaced}), frozenset(made.used))


class _Rewriter:
    """``became`` has for each version what stands in its place for those who follow it: itself or its
    successor, or the parents of one that was ``dropped``."""

    def __init__(self, view: View, versions: Versions, aims: Collection[Aim], writer: ObjectWriter) -> None:
        self._view = view
        self._versions = versions
        self._writer = writer
        self._aims = aims
        self.dropped = {aim.commit for aim in aims if aim.whole}
        self.became: dict[CommitId, tuple[CommitId, ...]] = {}
        self.replaced: set[ObjectId] = set()
        self.used: set[ObjectId] = set()
        self._trees: dict[tuple[TreeId, Ends], TreeId | None] = {}

    def commit(self, start: CommitId) -> None:
        """Make a version anew, and before it all that it follows."""
        stack = [start]
        while stack:
            identity = stack[-1]
            if identity in self.became:
                stack.pop()
                continue
            commit = self._versions.named[identity]
            waiting = [
                parent
                for parent in commit.parents
                if parent not in self.became and parent in self._versions.named
            ]
            if waiting:
                stack += waiting
                continue
            stack.pop()
            self.became[identity] = self._made(identity, commit)

    def _made(self, identity: CommitId, commit: Commit) -> tuple[CommitId, ...]:
        if identity in self._view.objects.shallow:
            commit = read_whole_commit(self._view.objects, identity)
        # a parent that is not there was purged before, or was not fetched
        became = (self.became.get(parent, (parent,)) for parent in commit.parents)
        parents = tuple(dict.fromkeys(one for ones in became for one in ones))
        if identity in self.dropped:
            return parents
        ends = frozenset(
            (aim.path, aim.tensor)
            for aim in self._aims
            if aim.path and (aim.commit is None or aim.commit == identity)
        )
        tree = self._tree(commit.tree, ends) or self._put(EMPTY_TREE)
        if tree == commit.tree and parents == commit.parents:
            return (identity,)
        new = replace(commit, tree=tree, parents=parents, extra=self._renamed(commit.extra))
        return (self.put(CommitId, new.to_bytes()),)

    def _renamed(self, value: Any) -> Any:
        """What a version records beside the usual, with the new ids of versions that it names."""
        if isinstance(value, Mapping):
            return {key: self._renamed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        if type(value) is bytes and len(value) == 32:
            became = self.became.get(CommitId(value))
            return bytes(became[0]) if became else value
        return value

    def _tree(self, tree: TreeId, ends: Ends) -> TreeId | None:
        """A folder without what ends name; None where nothing is left of it."""
        if not ends or self._view.objects.is_gone(tree):
            return tree
        if (tree, ends) not in self._trees:
            kept = []
            old = read_tree(self._view.objects, tree).entries
            for entry in old:
                inner = below(ends, entry.name)
                if is_all(inner):
                    continue
                if isinstance(entry.id, TreeId):
                    new = self._tree(entry.id, inner)
                    if new is not None:
                        kept.append(entry._replace(id=new))
                else:
                    kept.append(entry)
            if tuple(kept) == old:
                self._trees[tree, ends] = tree
            else:
                self._trees[tree, ends] = self._put(Tree(tuple(kept))) if kept else None
        return self._trees[tree, ends]

    def _put(self, tree: Tree) -> TreeId:
        return self.put(TreeId, tree.to_bytes())

    def put(self, cls: type[_Id], plain: bytes) -> _Id:
        """Store an object of the new history."""
        identity = self._writer.put(cls, plain)
        self.used.add(identity)
        return identity

    def ref(self, name: str, value: bytes) -> bytes | None:
        """A ref's new value; None where it goes."""
        target = decode_target(value)
        if isinstance(target, CommitId):
            became = self.became[target]
            if not became or (target in self.dropped and name.startswith(TAGS)):
                return None
            return encode_target(became[0])
        if isinstance(target, TagId):
            tag = read_object(self._view.objects, Tag, target)
            became = self.became[tag.target]
            if tag.target in self.dropped or not became:
                self.replaced.add(target)
                return None
            if became[0] == tag.target:
                return value
            self.replaced.add(target)
            new = replace(tag, target=became[0])
            return encode_target(self.put(TagId, new.to_bytes()), became[0])
        alias = self._alias(AliasId(target))
        return None if alias is None else encode_target(alias)

    def _alias(self, newest: AliasId) -> AliasId | None:
        """A chain of alias entries without those that named versions that drop out."""
        chain: list[tuple[AliasId, AliasEntry]] = []
        at: AliasId | None = newest
        while at is not None:
            entry = read_object(self._view.objects, AliasEntry, at)
            chain.append((at, entry))
            at = entry.previous
        previous: AliasId | None = None
        for identity, entry in reversed(chain):
            became = self.became[entry.target]
            if entry.target in self.dropped or not became:
                self.replaced.add(identity)
                continue
            new = replace(entry, target=became[0], previous=previous)
            previous = self.put(AliasId, new.to_bytes())
            if previous != identity:
                self.replaced.add(identity)
        return previous


def _notes(view: View, made: _Rewriter, who: Person, now: Timestamp) -> bytes | None:
    """Notes under the new ids of their versions; their earlier states, which name the old ones, go."""
    value = view.refs.value(NOTES)
    if value is None:
        return None
    at = decode_target(value)
    if not isinstance(at, CommitId):
        return value
    files = flatten(view.objects, view.commit(at).tree)
    moved = {
        path_of(old): (path_of(new[0]) if old not in made.dropped else None)
        for old, new in made.became.items()
        if old in made.dropped or new != (old,)
    }
    if not any(path in moved for path in files):
        return value
    kept = {}
    for path, entry in files.items():
        new = moved.get(path, path)
        if new is not None:
            kept[new] = entry._replace(name=new.rsplit("/", 1)[-1])

    def put(tree: Tree) -> TreeId:
        return made.put(TreeId, tree.to_bytes())

    commit = Commit(build_tree(kept, put), (), who, now, "notes moved along with their versions")
    for chain in _chain(view, at):
        made.replaced.add(chain)
        made.replaced.add(view.commit(chain).tree)
    return encode_target(made.put(CommitId, commit.to_bytes()))


def _chain(view: View, newest: CommitId) -> list[CommitId]:
    found: list[CommitId] = []
    stack = [newest]
    while stack:
        one = stack.pop()
        if one not in found:
            found.append(one)
            stack += view.commit(one).parents
    return found
