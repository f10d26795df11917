"""A file in, a manifest out: read each piece once, hash that copy, store that copy."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mvc.bases import BaseFinder, FileBases
from mvc.chunking import INLINE_GLUE, INLINE_TENSOR, TENSOR_PIECE, content_pieces, tensor_pieces
from mvc.describing import Describer
from mvc.dtypes import DTYPES
from mvc.errors import FileChanged, MvcError
from mvc.fileio import FileIO
from mvc.formats import Description, NotThisFormat, View, describe
from mvc.monitor import Monitor
from mvc.objectid import BlobId, ManifestId, ObjectId
from mvc.objects import Manifest, Part
from mvc.odb.record import Record
from mvc.odb.writer import NO_HINT, Hint, ObjectWriter
from mvc.parallel import batches, ordered_map
from mvc.source import OpenFile, Source
from mvc.spans import Region, Span, tile
from mvc.weights import PassingDigests

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from mvc.recipes.finder import Choice

ATTEMPTS = 3
BATCH_BYTES = TENSOR_PIECE

_PIECE_BYTES = 256
"""What a piece takes beside its bytes, so that a batch of tensors of one element each is small too."""

EXACT_PAYS = 100
"""A recipe that leaves less than this part of a piece is not compared with others."""

SMALL_TENSOR = 128 << 10
"""Bytes of a file's mean tensor up to which one thread is faster than several: with less to do for each call
into numpy they wait for the interpreter's lock (twice as fast at 2 KiB, even at 128 KiB)."""


class Ingested(NamedTuple):
    """A stored file: its manifest, the status that it had while it was read, and for each tensor of the
    manifest the digest that a weights id takes (None where it has none)."""

    id: ManifestId
    manifest: Manifest
    status: os.stat_result
    digests: tuple[bytes | None, ...]


@dataclass(slots=True)
class _Piece:
    """Bytes of a file that become one part; ``span`` and ``position`` say where in which tensor they lie."""

    data: bytes | memoryview
    offset: int
    inline: bool
    span: Span | None = None
    position: int = 0


@dataclass(slots=True)
class _Done:
    """A piece after hashing and encoding; ``record`` None when the blob was known."""

    part: Part
    record: Record | None


def ingest_file(
    io: FileIO,
    path: Path,
    name: str,
    writer: ObjectWriter,
    finder: BaseFinder,
    monitor: Monitor,
    *,
    describer: Describer,
    seen: os.stat_result | None = None,
    beneath: Path | None = None,
) -> Ingested:
    """Store a file under its repository path ``name``.

    ``describer`` is that of the work tree: a file beside this one may say where its tensors lie. ``seen`` is
    the status of the file that was found there and judged: another one that has taken its place, or that of
    a folder above it, is not read. With ``beneath``, a folder in which ``path`` lies, no link below that is
    followed, whenever it was put there.

    Raises:
        FileChanged: it kept changing while it was read, or is no longer the file that was seen.
        OSError: it cannot be read.
    """
    for _attempt in range(ATTEMPTS):
        try:
            if beneath is None:
                fd = io.open_read(path, follow=True)
            else:
                fd = io.open_beneath(beneath, path.relative_to(beneath).as_posix())
        except NotADirectoryError:
            raise FileChanged(f"something came in the way of {name}", hint="run the command again") from None
        except FileNotFoundError:
            raise FileChanged(f"{name} vanished before it was read", hint="run the command again") from None
        try:
            source = OpenFile(io, fd, name.rsplit("/", 1)[-1])
            _check_same(source, seen, name)
            passing = PassingDigests()
            try:
                description = describer.describe(name, source)
                bases = finder.file(name, description.layout.spans, source.read)
                manifest = _ingest(source, description, writer, bases, monitor, passing)
                digests = passing.finish(manifest.tensors, source.read)
            except (FileChanged, NotThisFormat):  # shorter than when it was scanned
                continue
            if source.changed():
                continue
        finally:
            io.close(fd)
        data = manifest.to_bytes()
        identity = writer.put(ManifestId, data, finder.manifest(name, len(data)))
        finder.stored(identity, manifest, bases)
        return Ingested(identity, manifest, source.status, digests)
    raise FileChanged(
        f"{name} keeps changing while it is read", hint="wait until it is written, then commit again"
    )


def ingest_source(
    source: Source,
    name: str,
    writer: ObjectWriter,
    finder: BaseFinder,
    monitor: Monitor,
    description: Description | None = None,
) -> tuple[ManifestId, Manifest, tuple[bytes | None, ...]]:
    """Store what ``source`` holds under the repository path ``name``; returns also the digests of its
    tensors, as in :class:`Ingested`. ``description`` is what :func:`mvc.formats.describe` gives for the
    source, from who has asked already.

    Raises:
        FileChanged: it was written to while it was read.
    """
    passing = PassingDigests()
    description = description or describe(source, _no_sibling)
    bases = finder.file(name, description.layout.spans, source.read)
    manifest = _ingest(source, description, writer, bases, monitor, passing)
    digests = passing.finish(manifest.tensors, source.read)
    if source.changed():
        raise FileChanged(f"{name} changed while it was read", hint="wait until it is written")
    data = manifest.to_bytes()
    identity = writer.put(ManifestId, data, finder.manifest(name, len(data)))
    finder.stored(identity, manifest, bases)
    return identity, manifest, digests


def _check_same(source: OpenFile, seen: os.stat_result | None, name: str) -> None:
    """Refuse what was swapped in since the work tree was looked at: a link out of it, a FIFO, another
    file."""
    status = source.status
    if not S_ISREG(status.st_mode):
        raise FileChanged(f"{name} is no longer a file", hint="run the command again")
    if seen is not None and (status.st_dev, status.st_ino) != (seen.st_dev, seen.st_ino):
        raise FileChanged(f"{name} was replaced before it was read", hint="run the command again")


def measure_file(
    io: FileIO, path: Path, name: str, monitor: Monitor, *, describer: Describer, sink: Sink | None = None
) -> Manifest:
    """The manifest that :func:`ingest_file` would give a file, without storing anything; ``sink`` gets the
    pieces, to do with them what it likes.

    Raises:
        FileChanged: it was written to while it was read.
    """
    fd = io.open_read(path)
    try:
        source = OpenFile(io, fd, name.rsplit("/", 1)[-1])
        manifest = _ingest(source, describer.describe(name, source), sink or _Hashing(), None, monitor, None)
        if source.changed():
            raise FileChanged(f"{name} changed while it was read", hint="wait until it is written")
        return manifest
    finally:
        io.close(fd)


def _no_sibling(_name: str) -> View | None:
    return None


class Sink(Protocol):
    """Where pieces go; :class:`ObjectWriter` is the one that stores them."""

    def known(self, identity: ObjectId, /) -> bool:
        """Whether a piece need not be encoded."""
        ...

    def prepare(self, identity: ObjectId, plain: Buffer, hint: Hint, /) -> Record:
        """Encode a piece; called from several threads."""
        ...

    def add(self, record: Record, /) -> None:
        """Take an encoded piece, in the order of the file."""
        ...


class _Hashing:
    """Takes pieces for known, so that they are hashed and nothing else."""

    def known(self, _identity: ObjectId) -> bool:
        return True

    def prepare(self, _identity: ObjectId, _plain: Buffer, _hint: Hint) -> Record:
        raise MvcError("a piece that is only measured was to be encoded")

    def add(self, _record: Record) -> None:
        raise MvcError("a piece that is only measured was to be stored")


def _ingest(
    source: Source,
    description: Description,
    writer: Sink,
    bases: FileBases | None,
    monitor: Monitor,
    passing: PassingDigests | None,
) -> Manifest:
    layout = description.layout
    digest = hashlib.sha256()
    buffers = _Buffers()

    def work(batch: list[_Piece]) -> list[_Done]:
        done = _encode(batch, writer, bases)
        for piece in batch:
            buffers.give_back(piece.data)
        return done

    parts: list[Part] = []
    pieces = _pieces(source, layout.spans, digest, monitor, buffers, passing)
    handed = batches(pieces, lambda piece: _PIECE_BYTES + len(piece.data), BATCH_BYTES)
    alone = source.size <= max(BATCH_BYTES, SMALL_TENSOR * len(layout.spans))
    results = map(work, handed) if alone else ordered_map(work, handed)
    for batch in results:
        for done in batch:
            parts.append(done.part)
            if done.record is not None:
                writer.add(done.record)
                monitor.count("encoded_bytes", done.record.plain_length)
                monitor.count("stored_bytes", len(memoryview(done.record.stored)))
    monitor.count("read_bytes", source.size)
    spans = tuple(sorted(layout.spans, key=lambda span: (span.offset, span.name)))
    return Manifest(layout.format, source.size, digest.digest(), tuple(parts), spans, description.reason)


def _pieces(
    source: Source,
    spans: tuple[Span, ...],
    digest: hashlib._Hash,
    monitor: Monitor,
    buffers: _Buffers,
    passing: PassingDigests | None,
) -> Iterator[_Piece]:
    """Cut the file as docs/format.md says, reading and hashing each byte once, in order."""
    for region in tile(source.size, spans):
        if region.span is None:
            pieces = _glue(source, region.offset, region.length)
        else:
            pieces = _tensor(source, region, region.span, buffers)
        watch = None if passing is None else passing.watcher(region)
        for piece in pieces:
            digest.update(piece.data)
            if watch is not None:
                watch.update(piece.data)
            monitor.advance(len(piece.data))
            yield piece


def _glue(source: Source, offset: int, length: int) -> Iterator[_Piece]:
    if length <= INLINE_GLUE:
        yield _Piece(_read(source, offset, memoryview(bytearray(length))), offset, inline=True)
        return
    for view in content_pieces(source.read_into, offset, length):
        yield _Piece(bytes(view), offset, inline=False)
        offset += len(view)


def _tensor(source: Source, region: Region, span: Span, buffers: _Buffers) -> Iterator[_Piece]:
    if region.length <= INLINE_TENSOR:
        data = _read(source, region.offset, memoryview(bytearray(region.length)))
        yield _Piece(data, region.offset, inline=True)
        return
    position = 0
    for length in tensor_pieces(region.length, DTYPES[span.dtype].block):
        data = _read(source, region.offset + position, buffers.take(length))
        yield _Piece(data, region.offset + position, inline=False, span=span, position=position)
        position += length


def _read(source: Source, offset: int, target: memoryview) -> memoryview:
    if source.read_into(target, offset) != len(target):
        raise FileChanged("the file became shorter while it was read")
    return target


class _Buffers:
    """Memory for pieces of tensors, used again when a piece is stored.

    Fresh memory costs a page fault for each 4 KiB, more than reading into it from the page cache.
    """

    def __init__(self) -> None:
        self._free: deque[bytearray] = deque()  # filled by the workers, emptied by the reader

    def take(self, length: int) -> memoryview:
        """So many bytes of any content."""
        if length <= TENSOR_PIECE // 2:  # a batch may hold thousands of them
            return memoryview(bytearray(length))
        buffer = self._free.pop() if self._free else bytearray(TENSOR_PIECE)
        return memoryview(buffer)[:length]

    def give_back(self, data: Buffer) -> None:
        """Nobody needs these bytes any more; whatever :meth:`take` did not give is let go."""
        if isinstance(data, memoryview) and isinstance(data.obj, bytearray) and len(data.obj) == TENSOR_PIECE:
            self._free.append(data.obj)


def _encode(batch: list[_Piece], writer: Sink, bases: FileBases | None) -> list[_Done]:
    parts = [_part(piece) for piece in batch]
    plans = [
        None if part.blob is None or writer.known(part.blob) else _plan(piece, bases)
        for part, piece in zip(parts, batch, strict=True)
    ]
    if bases is not None:
        bases.read_ahead(plan for plan in plans if isinstance(plan, Hint))
    return [
        _Done(part, None if plan is None or part.blob is None else _record(part.blob, piece, plan, writer))
        for part, piece, plan in zip(parts, batch, plans, strict=True)
    ]


def _record(identity: ObjectId, piece: _Piece, plan: Hint | Choice, writer: Sink) -> Record:
    """Encode a piece; the first of a tensor that has several recipes tries them, and the best one stays."""
    if isinstance(plan, Hint):
        return writer.prepare(identity, piece.data, plan)
    with plan.lock:
        best, chosen = None, None
        for recipe, hint in plan.hints(piece.position, piece.data):
            record = writer.prepare(identity, piece.data, hint)
            if best is None or _length(record) < _length(best):
                best, chosen = record, recipe
            if recipe.exact and _length(record) * EXACT_PAYS < len(piece.data):
                break
        plan.settle(chosen)
    return best or writer.prepare(identity, piece.data, _alone(piece))


def _length(record: Record) -> int:
    return memoryview(record.stored).nbytes


def _part(piece: _Piece) -> Part:
    length = len(piece.data)
    if piece.inline:
        return Part(length, None, bytes(piece.data))
    return Part(length, BlobId.of(piece.data))


def _plan(piece: _Piece, bases: FileBases | None) -> Hint | Choice:
    """How to encode a piece, or what is still to choose from."""
    if piece.span is None:
        return NO_HINT if bases is None else bases.content_piece(piece.offset, len(piece.data))
    choice = None if bases is None else bases.choice(piece.span)
    if choice is None:
        return _alone(piece)
    if len(choice.recipes) > 1:
        return choice
    hint = next((hint for _recipe, hint in choice.hints(piece.position, piece.data)), None)
    return hint or _alone(piece)


def _alone(piece: _Piece) -> Hint:
    return NO_HINT if piece.span is None else Hint(DTYPES[piece.span.dtype])
