"""What a version holds: files, and the tensors in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mvc.errors import ObjectMissing, RevisionNotFound
from mvc.history.reader import GAP, PartTable, Piece, read_or_gap
from mvc.history.revisions import resolve
from mvc.history.treediff import flatten
from mvc.objectid import CommitId, ManifestId, ObjectId
from mvc.objects import EXECUTABLE, Manifest, Part
from mvc.odb.database import ObjectDatabase
from mvc.odb.header import RecordHeader, read_headers
from mvc.odb.segment import Entry
from mvc.paths import is_below
from mvc.spans import Span
from mvc.view import View
from mvc.weighing import Weigher

_AT_ONCE = 10_000
"""Tensors whose records are looked at together: in the order in which they lie, and bounded in memory."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of a version; ``weights`` its weights id where that was asked for and there is one."""

    path: str
    manifest_id: ManifestId
    manifest: Manifest
    executable: bool
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A tensor: where it stands, how large, and how it is stored.

    ``stored_bytes`` are the bytes of the records that hold it (a record shared with other tensors counts for
    each); ``codecs`` and ``depth`` tell how they are encoded.
    """

    path: str
    span: Span
    stored_bytes: int
    codecs: tuple[str, ...]
    depth: int


def files(view: View, revision: str = "HEAD", weigher: Weigher | None = None) -> Iterator[FileRow]:
    """Files of a version, below ``REV:PATH`` where a path is given; with their weights ids where a
    ``weigher`` is.

    Raises:
        RevisionNotFound: no such version or path.
    """
    found = resolve(revision, view.objects, view)
    if found.commit is None:
        raise RevisionNotFound(f"{revision} names no version", hint="'mvc log' lists them")
    wanted = found.path or ""
    some = False
    entries = flatten(view.objects, view.commit(CommitId(found.commit)).tree)
    view.objects.prefetch(entry.id for path, entry in entries.items() if is_below(path, wanted))
    for path, entry in entries.items():
        if is_below(path, wanted):
            some = True
            identity = ManifestId(entry.id)
            manifest = read_or_gap(view.objects, identity)
            weights = None if weigher is None or manifest.format == GAP else weigher.file(identity, manifest)
            yield FileRow(path, identity, manifest, entry.mode == EXECUTABLE, weights)
    if wanted and not some:
        raise RevisionNotFound(
            f"{revision.split(':')[0] or 'HEAD'} has no file {wanted!r}", hint="'mvc ls' lists them"
        )


def tensors(view: View, revision: str = "HEAD", tensor: str | None = None) -> Iterator[TensorRow]:
    """Tensors of a version's files, or of one file, or the one that is named."""
    name = resolve(revision, view.objects, view).tensor if tensor is None else tensor
    some = False
    for file in files(view, revision):
        parts = PartTable(file.manifest)
        wanted = [span for span in file.manifest.tensors if name is None or span.name == name]
        for start in range(0, len(wanted), _AT_ONCE):
            some = True
            batch = [
                (span, list(parts.pieces(span.offset, span.length))) for span in wanted[start:][:_AT_ONCE]
            ]
            headers = _headers(view.objects, (piece.part for _span, pieces in batch for piece in pieces))
            for span, pieces in batch:
                yield _row(file.path, span, pieces, headers)
    if name is not None and not some:
        raise RevisionNotFound(f"no tensor is called {name!r} there", hint="'mvc ls --tensors' lists them")


def _headers(objects: ObjectDatabase, parts: Iterable[Part]) -> dict[ObjectId, RecordHeader]:
    """What the records of some parts say of themselves, by their blobs."""
    entries: dict[ObjectId, Entry] = {}
    for part in parts:
        if part.blob is not None and part.blob not in entries:
            found = objects.entries(part.blob)
            if not found:
                if objects.is_gone(part.blob):
                    continue
                raise ObjectMissing(f"blob {part.blob.short} is missing", hint="run 'mvc fsck'")
            entries[part.blob] = found[0]
    return {header.id: header for _entry, header in read_headers(objects.backend, entries.values())}


def _row(
    path: str, span: Span, pieces: Iterable[Piece], headers: Mapping[ObjectId, RecordHeader]
) -> TensorRow:
    stored, depth = 0, 0
    codecs: dict[str, None] = {}
    for piece in pieces:
        if piece.part.blob is None:
            stored += piece.length
            codecs["inline"] = None
            continue
        header = headers.get(piece.part.blob)
        if header is None:
            codecs[GAP] = None
            continue
        stored += header.stored_length
        codecs[header.codec] = None
        depth = max(depth, header.depth)
    return TensorRow(path, span, stored, tuple(codecs), depth)
