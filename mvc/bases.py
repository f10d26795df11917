"""Finds what to predict from: the same-named tensor of the parent, the same path's previous bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mvc.dtypes import DTYPES
from mvc.errors import DamageError
from mvc.objectid import ManifestId, ObjectId
from mvc.objects import Manifest
from mvc.odb.database import SMALL_BYTES, ObjectDatabase
from mvc.odb.record import MAX_BASES, Base
from mvc.odb.writer import NO_HINT, Hint
from mvc.spans import Span

MAX_TENSOR_DEPTH = 2
MAX_TEXT_DEPTH = 8
MIN_TEXT = 256
DICTIONARY_REACH = 96 << 10


class Placed(NamedTuple):
    """A blob of an earlier file: where it lay, and its length in bytes."""

    offset: int
    length: int
    id: ObjectId


class FileBases:
    """What an earlier version of one file offers to its next one."""

    def __init__(self, database: ObjectDatabase, manifest: Manifest) -> None:
        self._database = database
        self._placed = [
            Placed(offset, part.length, part.blob)
            for offset, part in manifest.placed_parts()
            if part.blob is not None
        ]
        self._offsets = [placed.offset for placed in self._placed]
        self._by_offset = {placed.offset: placed for placed in self._placed}
        self._tensors = {(span.name, span.dtype, span.shape): span for span in manifest.tensors}

    def tensor_piece(self, span: Span, position: int, length: int) -> Hint:
        """Hint for the piece that begins ``position`` bytes into a tensor."""
        dtype = DTYPES[span.dtype]
        earlier = self._tensors.get((span.name, span.dtype, span.shape))
        if earlier is None or earlier.strides != span.strides:
            return Hint(dtype)
        placed = self._by_offset.get(earlier.offset + position)
        if placed is None or placed.length != length:
            return Hint(dtype)
        found = anchor(self._database, placed.id, length, MAX_TENSOR_DEPTH)
        return Hint(dtype) if found is None else Hint(dtype, (found[0],), found[1])

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


def anchor(database: ObjectDatabase, identity: ObjectId, length: int, cap: int) -> tuple[Base, int] | None:
    """A base for a piece whose predecessor is ``identity``, and that base's depth.

    When the predecessor is as deep as the cap allows, the chain is followed down to the record that stands
    alone: versions hang on anchors, so reading never pays for a long history.
    """
    entries = database.entries(identity)
    if not entries:
        return None
    depth = entries[0].depth
    while depth >= cap:
        try:
            record = database.record(identity)
        except DamageError as error:
            _note(database, error)
            return None
        if record.recipe is not None or len(record.bases) != 1 or record.bases[0][1:] != (0, length):
            return None
        identity = record.bases[0].id
        entries = database.entries(identity)
        if not entries:
            return None
        depth = entries[0].depth
        cap = 1
    return Base(identity, 0, length), depth


def text_hint(database: ObjectDatabase, previous: ObjectId | None, length: int) -> Hint:
    """Hint for a manifest or tree: its previous version as a dictionary."""
    if previous is None or length < MIN_TEXT:
        return NO_HINT
    entries = database.entries(previous)
    if not entries or entries[0].depth >= MAX_TEXT_DEPTH:
        return NO_HINT
    try:
        plain = database.get(previous)
    except DamageError as error:
        _note(database, error)
        return NO_HINT
    return Hint(None, (Base(previous, 0, len(plain)),), entries[0].depth)


def _note(database: ObjectDatabase, error: DamageError) -> None:
    """An old version that cannot be read must not keep a new one from being stored."""
    database.note_damage(f"{error.message}; stored without it as a base")


class BaseFinder:
    """Finds, for a path, the file of the parents to predict from.

    ``earlier`` gives the manifest id that a path has in the parents, or None.
    """

    def __init__(self, database: ObjectDatabase, earlier: Callable[[str], ManifestId | None]) -> None:
        self._database = database
        self._earlier = earlier

    def file(self, path: str) -> FileBases | None:
        """What the path's previous version offers."""
        identity = self._earlier(path)
        if identity is None:
            return None
        try:
            return FileBases(self._database, Manifest.from_bytes(self._database.get(identity)))
        except DamageError as error:
            _note(self._database, error)
            return None

    def manifest(self, path: str, length: int) -> Hint:
        """Hint for a path's new manifest of so many bytes."""
        return text_hint(self._database, self._earlier(path), length)


def no_bases(_path: str) -> ManifestId | None:
    """For a first commit: nothing came before."""
    return None
