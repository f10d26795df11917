"""What a store needs, and what of that cannot be read."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from typing import NamedTuple

from mvc.errors import CorruptObject, MvcError, UnsupportedFeature
from mvc.objectid import AliasId, BlobId, CommitId, ManifestId, ObjectId, TagId, TreeId
from mvc.objects import AliasEntry, Commit, Manifest, Tag, Tree
from mvc.odb.index import Index
from mvc.spans import Span
from mvc.tombstones import Tombstones
from mvc.upkeep.patched import PatchedDatabase


class Where(NamedTuple):
    """A stretch of a file where a missing piece stood; ``dtype`` names the type of its elements, empty where
    that is not known."""

    path: str
    size: int
    offset: int
    length: int
    dtype: str


class Walk:
    """Follows references from some starts on. What is ``gone`` (purged) is passed over.

    ``sure`` is an index, and ``doubtful`` are the objects in it that may be unreadable: of pieces only those
    are decoded, and those that it does not know. ``reached`` are all objects that were met, ``missing`` those
    that cannot be read with the reason, ``malformed`` those of which no copy could make sense, ``places``
    where in files missing pieces stand. With ``edges`` it is noted what refers to what.
    """

    def __init__(
        self,
        database: PatchedDatabase,
        sure: Index,
        doubtful: Collection[ObjectId],
        gone: Tombstones,
        *,
        had: Container[ObjectId] = frozenset(),
        edges: bool = False,
    ) -> None:
        self._database = database
        self._sure = sure
        self._doubtful = doubtful
        self._gone = gone
        self._had = had
        self.reached: set[ObjectId] = set()
        self.missing: dict[ObjectId, str] = {}
        self.malformed: set[ObjectId] = set()
        self.places: dict[BlobId, list[Where]] = {}
        self.edges: dict[ObjectId, list[ObjectId]] | None = {} if edges else None

    def run(self, starts: Iterable[ObjectId]) -> None:
        """Walk on from here.

        Raises:
            UnsupportedFeature: a newer mvc wrote something of it.
        """
        stack = [(start, "") for start in starts]
        while stack:
            identity, path = stack.pop()
            if identity in self.reached or identity in self._had or identity in self._gone:
                continue
            plain = self._plain(identity)
            if plain is None:
                continue
            self.reached.add(identity)
            try:
                children = self._children(identity, plain, path)
            except CorruptObject as error:
                self.malformed.add(identity)
                self.missing[identity] = error.message
                continue
            if self.edges is not None:
                self.edges[identity] = [child for child, _path in children]
            stack += [(child, below) for child, below in children if not isinstance(child, BlobId)]

    def again(self, restored: Iterable[ObjectId]) -> None:
        """Walk on from objects that could not be read before."""
        for identity in restored:
            self.missing.pop(identity, None)
            if isinstance(identity, BlobId):
                self.reached.add(identity)
            else:
                self.run([identity])

    def _plain(self, identity: ObjectId) -> bytes | None:
        try:
            return self._database.get(identity)
        except UnsupportedFeature:
            raise
        except MvcError as error:
            self.missing[identity] = error.message
            return None

    def _children(self, identity: ObjectId, plain: bytes, path: str) -> list[tuple[ObjectId, str]]:
        match identity:
            case CommitId():
                commit = Commit.from_bytes(plain)
                return [(commit.tree, ""), *((parent, "") for parent in commit.parents)]
            case TreeId():
                return [
                    (entry.id, f"{path}{entry.name}/" if isinstance(entry.id, TreeId) else path + entry.name)
                    for entry in Tree.from_bytes(plain).entries
                ]
            case ManifestId():
                return self._pieces(Manifest.from_bytes(plain), path)
            case TagId():
                return [(Tag.from_bytes(plain).target, "")]
            case AliasId():
                alias = AliasEntry.from_bytes(plain)
                return [(alias.target, ""), *([(alias.previous, "")] if alias.previous is not None else [])]
        return []

    def _pieces(self, manifest: Manifest, path: str) -> list[tuple[ObjectId, str]]:
        found: dict[ObjectId, str] = {}
        offset = 0
        for part in manifest.parts:
            if part.blob is not None:
                found[part.blob] = path
                if not self._has_piece(part.blob):
                    dtype = _dtype_at(manifest.tensors, offset)
                    where = Where(path, manifest.size, offset, part.length, dtype)
                    known = self.places.setdefault(part.blob, [])
                    if len(known) < _MOST_PLACES:
                        known.append(where)
            offset += part.length
        return list(found.items())

    def _has_piece(self, identity: BlobId) -> bool:
        """Whether a piece is there; each that is not, and each that is reached, is noted."""
        if identity in self.reached or identity in self._had or identity in self._gone:
            return True
        if identity in self.missing:
            return False
        if (identity in self._sure and identity not in self._doubtful) or self._plain(identity) is not None:
            self.reached.add(identity)
            return True
        return False


_MOST_PLACES = 16


def _dtype_at(tensors: Iterable[Span], offset: int) -> str:
    """The type of the tensor in which a piece begins."""
    return next((span.dtype for span in tensors if span.offset <= offset < span.offset + span.length), "")
