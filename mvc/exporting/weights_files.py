"""The tensors of stored files, whatever their formats, as safetensors files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mvc.dtypes import DTYPES
from mvc.errors import CorruptFile, CorruptObject, UserError, damage_in
from mvc.exporting.files import File
from mvc.exporting.naming import joined_names
from mvc.exporting.output import OutputFile, refuse_taken
from mvc.fileio import FileIO, storage_errors
from mvc.formats import NotThisFormat, sound
from mvc.formats.safetensors import Described, Safetensors, emit_header, read_metadata
from mvc.history.reader import PartTable, read_range
from mvc.monitor import Monitor
from mvc.objects import Manifest
from mvc.paths import shown
from mvc.registry.metadata import MAX_READ_BYTES
from mvc.spans import NotTileable, Span, check_span, element_count
from mvc.view import View
from mvc.weights import (
    MOST_STRIDED_BYTES,
    MOST_TIMES_HASHED,
    SUFFIX_BIG_ENDIAN,
    digests,
    fits_in_memory,
    row_major_bytes,
)

SUFFIX = ".safetensors"
MOST_SHARDS = 500
"""Files that are open at once, until all are whole."""


class _Tensor(NamedTuple):
    """A tensor of a file, as it is to be written."""

    described: Described
    span: Span
    file: _Opened

    @property
    def length(self) -> int:
        return element_count(self.described.shape) * DTYPES[self.described.dtype].width


class _Opened(NamedTuple):
    """A stored file that tensors are read from."""

    path: str
    parts: PartTable


class Weights(NamedTuple):
    """What an export wrote: its files, the tensors in them, and files without tensors, which were left
    out."""

    files: tuple[Path, ...]
    tensors: int
    plain_bytes: int
    left_out: tuple[str, ...]


def write_weights(
    io: FileIO,
    view: View,
    files: Iterable[File],
    path: Path,
    monitor: Monitor,
    *,
    shard_bytes: int | None = None,
    replace: bool = False,
) -> Weights:
    """Write the tensors of files as ``path``, which ends in ``.safetensors``, or, where they have more than
    ``shard_bytes``, as several files beside an index, as the Hub has them.

    Tensors come row-major and little-endian, each in full (aliases are copied), under the names of
    :func:`joined_names`. The metadata of a single safetensors file is kept. Every piece is checked against
    its id, and what was written is read back and compared before it gets its name.

    Raises:
        UserError: there are no tensors, or safetensors files cannot hold one of them, or there is a file
            already.
        DamageError: a tensor cannot be had.
        StorageError: the disk refuses.
    """
    manifests = {file.path: file.read(view) for file in files}
    tables = {name: manifest.tensors for name, manifest in manifests.items()}
    tensors = list(_tensors(manifests, joined_names(tables)))
    left_out = tuple(name for name, table in tables.items() if not table)
    if not tensors:
        raise UserError("there are no tensors to export", hint="'mvc ls --tensors REV' lists what there is")
    metadata = _metadata(view, manifests)
    total = sum(tensor.length for tensor in tensors)
    shards = list(_shards(tensors, shard_bytes))
    if len(shards) > MOST_SHARDS:
        raise UserError(f"{len(shards):,} files are too many", hint="name a greater --shard-size")
    paths = _shard_paths(path, len(shards))
    index = path.with_name(f"{path.name}.index.json") if len(shards) > 1 else None
    for place in [*paths, *([index] if index else [])]:
        if not replace:
            refuse_taken(io, place)
    with ExitStack() as stack:
        # all of them are whole before the first gets its name, and the index, which names them, comes last
        written = [
            stack.enter_context(_written(io, view, shard, place, metadata, monitor, replace))
            for place, shard in zip(paths, shards, strict=True)
        ]
        if index is not None:
            written.append(stack.enter_context(OutputFile(io, index, replace=replace)))
            written[-1].write(_index(paths, shards, total))
        for out in written:
            out.finish()
    made = (*paths, *([index] if index else []))
    return Weights(made, len(tensors), total, left_out)


def _tensors(manifests: Mapping[str, Manifest], names: Mapping[str, Mapping[Span, str]]) -> Iterator[_Tensor]:
    """What is to be written, file by file in the order in which tensors lie there."""
    for path, manifest in manifests.items():
        opened = _Opened(path, PartTable(manifest))
        left = MOST_TIMES_HASHED * manifest.size + MOST_STRIDED_BYTES
        for span in manifest.tensors:
            name = names[path].get(span)
            if name is None:
                continue
            _check(path, manifest, span)
            tensor = _Tensor(
                Described(name, span.dtype.removesuffix(SUFFIX_BIG_ENDIAN), span.shape), span, opened
            )
            # before anything is written, and tensor by tensor, so that the message names the one
            emit_header([tensor.described])
            left -= tensor.length
            if left < 0:
                raise UserError(f"{path}: its tensors, views of shared storage, take much more than the file")
            yield tensor


def _check(path: str, manifest: Manifest, span: Span) -> None:
    if span.dtype not in DTYPES:
        raise UserError(
            f"{path}: tensor {shown(span.name)} has the unknown type {shown(span.dtype)}", hint="upgrade mvc"
        )
    try:
        check_span(manifest.size, span)
    except NotTileable as error:
        raise CorruptObject(f"{path}: {error}") from None
    if not fits_in_memory(span):
        raise UserError(
            f"{path}: tensor {shown(span.name)} is a strided view of more than "
            f"{MOST_STRIDED_BYTES >> 20} MiB, which is not put in order"
        )


def _metadata(view: View, manifests: Mapping[str, Manifest]) -> Mapping[str, str] | None:
    """``__metadata__`` of the one safetensors file that there is."""
    if len(manifests) != 1:
        return None
    ((path, manifest),) = manifests.items()
    if manifest.format != Safetensors().name:
        return None
    with damage_in(path):
        try:
            return read_metadata(_Stored(view, path, manifest))
        except NotThisFormat as error:
            raise CorruptObject(f"it is not the safetensors file that its manifest says: {error}") from None


class _Stored:
    """A stored file's head, as a scanner reads it."""

    def __init__(self, view: View, path: str, manifest: Manifest) -> None:
        self.name = path
        self.size = manifest.size
        self._view = view
        self._parts = PartTable(manifest)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        if offset < 0 or length < 0 or offset + length > self.size or length > MAX_READ_BYTES:
            raise NotThisFormat("truncated")
        return b"".join(read_range(self._view.objects, self._parts, offset, length))


def _shards(tensors: Sequence[_Tensor], most: int | None) -> Iterator[list[_Tensor]]:
    """As many tensors in each file as fit; one that is too large has a file of its own."""
    shard: list[_Tensor] = []
    size = 0
    for tensor in tensors:
        if shard and most is not None and size + tensor.length > most:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor.length
    yield shard


def _shard_paths(path: Path, count: int) -> list[Path]:
    if count == 1:
        return [path]
    stem = path.name.removesuffix(SUFFIX)
    return [path.with_name(f"{stem}-{n:05}-of-{count:05}{SUFFIX}") for n in range(1, count + 1)]


def _index(paths: Sequence[Path], shards: Sequence[Sequence[_Tensor]], total: int) -> bytes:
    """``NAME.safetensors.index.json`` as transformers reads it."""
    where = {
        tensor.described.name: path.name
        for path, shard in zip(paths, shards, strict=True)
        for tensor in shard
    }
    value = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _written(
    io: FileIO,
    view: View,
    tensors: Sequence[_Tensor],
    path: Path,
    metadata: Mapping[str, str] | None,
    monitor: Monitor,
    replace: bool,
) -> OutputFile:
    """One file, whole and read back, that has not its name yet."""
    by_name = {tensor.described.name: tensor for tensor in tensors}
    header, ordered = emit_header((tensor.described for tensor in tensors), metadata)
    with ExitStack() as stack:
        out = stack.enter_context(OutputFile(io, path, replace=replace))
        out.write(header)
        expected = {}
        for described in ordered:
            expected[described.name] = _write_tensor(view, by_name[described.name], out, monitor)
        _read_back(io, out.temporary, path, expected, by_name)
        stack.pop_all()
        return out


def _write_tensor(view: View, tensor: _Tensor, out: OutputFile, monitor: Monitor) -> bytes:
    """Append a tensor's elements; returns their digest."""
    digest = blake3()

    def read(offset: int, length: int) -> bytes:
        return b"".join(read_range(view.objects, tensor.file.parts, offset, length))

    with damage_in(f"{tensor.file.path}, tensor {shown(tensor.span.name)}"):
        for block in row_major_bytes(tensor.span, read):
            digest.update(block)
            out.write(block)
            monitor.advance(len(block))
    return digest.digest()


def _read_back(
    io: FileIO, temporary: Path, path: Path, expected: Mapping[str, bytes], tensors: Mapping[str, _Tensor]
) -> None:
    """Read a written file as anybody would, and compare every tensor.

    Raises:
        CorruptFile: the disk gave back something else.
    """
    with storage_errors(f"cannot read {path}"):
        handle = io.open_read(temporary, follow=False)
        try:
            written = _Written(io, handle, path.name)
            try:
                layout = sound(written.size, Safetensors().scan(written, lambda _name: None)[path.name])
            except NotThisFormat as error:
                raise CorruptFile(f"{path} was not written as it should be: {error}") from None
            found = zip(layout.spans, digests(layout.spans, written.read), strict=True)
            for span, digest in found:
                described = tensors[span.name].described
                if (span.dtype, span.shape, digest) != (*described[1:], expected[span.name]):
                    raise CorruptFile(
                        f"{path}: the disk gave back another tensor {shown(span.name)}",
                        hint="check the disk and try again",
                    )
            if len(layout.spans) != len(tensors):
                raise CorruptFile(f"{path} lacks tensors that were written", hint="check the disk")
        finally:
            io.close(handle)


class _Written:
    """An open file, as a scanner reads it."""

    def __init__(self, io: FileIO, handle: int, name: str) -> None:
        self.name = name
        self.size = io.stat_handle(handle).st_size
        self._io = io
        self._handle = handle

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        data = self._io.read_at(self._handle, length, offset)
        if len(data) != length:
            raise NotThisFormat("truncated")
        return data
