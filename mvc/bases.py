"""Finds what to predict from: for tensors a recipe, for other bytes what lay around the same place before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mvc.errors import DamageError, ObjectPurged
from mvc.fileio import FileIO
from mvc.objectid import ManifestId, ObjectId
from mvc.objects import Manifest
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.odb.record import MAX_BASES, Base
from mvc.odb.writer import NO_HINT, Hint
from mvc.spans import Span

if TYPE_CHECKING:
    from mvc.recipes.finder import Choice, FileRecipes
    from mvc.recipes.library import Library
    from mvc.recipes.recipe import TensorRecipe

MAX_TEXT_DEPTH = 8
MIN_TEXT = 256
DICTIONARY_REACH = 96 << 10


class Placed(NamedTuple):
    """A blob of an earlier file: where it lay, and its length in bytes."""

    offset: int
    length: int
    id: ObjectId


class SketchStore(NamedTuple):
    """Where the sketches of a repository lie: its folder, and the disk."""

    io: FileIO
    folder: Path


def _nothing(_path: str) -> Sequence[ManifestId]:
    return ()


def _unstated(_path: str) -> Mapping[str, TensorRecipe]:
    return {}


class Given(NamedTuple):
    """What is said of where a path's file comes from: files that it is related to, files that it is a
    combination of, and the very recipes of some of its tensors, by name, from whoever made them."""

    related: Callable[[str], Sequence[ManifestId]] = _nothing
    operands: Callable[[str], Sequence[ManifestId]] = _nothing
    stated: Callable[[str], Mapping[str, TensorRecipe]] = _unstated


class FileBases:
    """What a file that is being stored may be predicted from."""

    def __init__(
        self, database: ObjectDatabase, earlier: Manifest | None, recipes: FileRecipes | None
    ) -> None:
        self._database = database
        self.recipes = recipes
        self._placed = [
            Placed(offset, part.length, part.blob)
            for offset, part in (() if earlier is None else earlier.placed_parts())
            if part.blob is not None
        ]
        self._offsets = [placed.offset for placed in self._placed]

    def choice(self, span: Span) -> Choice | None:
        """The recipes of one of the file's tensors; None where none are looked for."""
        return None if self.recipes is None else self.recipes.choice(span)

    def content_piece(self, offset: int, length: int) -> Hint:
        """Hint for a piece of bytes of no known structure: what lay around there before, as a dictionary."""
        low, high = offset - DICTIONARY_REACH, offset + length + DICTIONARY_REACH
        first = max(bisect_right(self._offsets, low) - 1, 0)
        near = self._placed[first : bisect_left(self._offsets, high)]
        bases: list[Base] = []
        depth = 0
        for placed in near[:MAX_BASES]:
            found = self._database.entries(placed.id)
            if not found or found[0].depth >= MAX_TEXT_DEPTH:
                continue
            bases.append(Base(placed.id, 0, placed.length))
            depth = max(depth, found[0].depth)
        return Hint(None, tuple(bases), depth) if bases else NO_HINT

    def read_ahead(self, hints: Iterable[Hint]) -> None:
        """Read the small ones of what some hints name into the database's cache, all together."""
        bases = (base for hint in hints for base in hint.bases)
        self._database.get_small((base.id for base in bases if base.length <= SMALL_BYTES), keep=True)


def text_hint(database: ObjectDatabase, previous: ObjectId | None, length: int) -> Hint:
    """Hint for a manifest or tree: its previous version as a dictionary."""
    return text_hints(database, () if previous is None else (previous,), length)


def text_hints(
    database: ObjectDatabase, previous: Sequence[ObjectId], length: int, deepest: int = MAX_TEXT_DEPTH
) -> Hint:
    """Hint for a manifest or tree that is made out of several: all of them as a dictionary, end to end.

    ``deepest`` is the depth that the new record may have; what would make it deeper is left out.
    """
    if length < MIN_TEXT:
        return NO_HINT
    bases: list[Base] = []
    depth = 0
    for identity in previous:
        entries = database.entries(identity)
        if not entries or entries[0].depth >= deepest:
            continue
        try:
            plain = database.get(identity)
        except (DamageError, ObjectPurged) as error:
            _note(database, error)
            continue
        bases.append(Base(identity, 0, len(plain)))
        depth = max(depth, entries[0].depth)
    return Hint(None, tuple(bases), depth) if bases else NO_HINT


def _note(database: ObjectDatabase, error: DamageError | ObjectPurged) -> None:
    """An old version that cannot be read must not keep a new one from being stored."""
    if isinstance(error, DamageError):  # what was purged is no damage
        database.note_damage(f"{error.message}; stored without it as a base")


class BaseFinder:
    """Finds, for the files of one commit, what to predict them from.

    ``earlier`` gives the manifest id that a path has in the parents, or None; ``given`` what the user says.
    Unless files are to be ``compare``d, tensors are predicted from nothing. ``read`` gives manifests, for who
    has parsed some of them already.
    """

    def __init__(
        self,
        database: ObjectDatabase,
        store: SketchStore,
        earlier: Callable[[str], ManifestId | None],
        given: Given | None = None,
        *,
        compare: bool = True,
        read: Callable[[ManifestId], Manifest] | None = None,
    ) -> None:
        self._database = database
        self._read = read or (lambda identity: Manifest.from_bytes(database.get(identity)))
        self._earlier = earlier
        self._given = given or Given()
        self._compare = compare
        self._store = store
        self._library: Library | None = None

    def file(self, path: str, spans: Sequence[Span], read: Callable[[int, int], bytes]) -> FileBases:
        """What there is for a path, with tensors at ``spans``; ``read`` gives bytes of the file, in several
        threads."""
        identity = self._earlier(path)
        earlier: Manifest | None = None
        if identity is not None:
            try:
                earlier = self._read(identity)
            except (DamageError, ObjectPurged) as error:
                _note(self._database, error)
        return FileBases(self._database, earlier, self._recipes(path, spans, read, identity, earlier))

    def stored(self, identity: ManifestId, manifest: Manifest, bases: FileBases) -> None:
        """A file was stored: from now on others may be predicted from it."""
        if bases.recipes is not None and self._library is not None:
            self._library.learn(identity, manifest, bases.recipes.rows(identity, manifest))

    def save(self) -> None:
        """Remember what was stored for later commits; to be called once they are published."""
        if self._library is not None:
            self._library.save()

    def manifest(self, path: str, length: int) -> Hint:
        """Hint for a path's new manifest of so many bytes."""
        return text_hint(self._database, self._earlier(path), length)

    def _recipes(
        self,
        path: str,
        spans: Sequence[Span],
        read: Callable[[int, int], bytes],
        identity: ManifestId | None,
        earlier: Manifest | None,
    ) -> FileRecipes | None:
        if not spans or not self._compare:
            return None
        # deferred: needs numpy, and a file without tensors does not
        from mvc.recipes.finder import FileRecipes
        from mvc.recipes.known import KnownFile
        from mvc.recipes.library import Library
        from mvc.sketches import SketchIndex

        if self._library is None:
            self._library = Library(
                self._database, SketchIndex(self._store.io, self._store.folder), self._read
            )
        parent = None if earlier is None or identity is None else KnownFile(identity, earlier)
        library = self._library
        related, operands = (
            [file for file in map(library.file, named(path)) if file is not None]
            for named in (self._given.related, self._given.operands)
        )
        return FileRecipes(library, spans, read, parent, related, operands, self._given.stated(path))


def no_bases(_path: str) -> ManifestId | None:
    """For a first commit: nothing came before."""
    return None
