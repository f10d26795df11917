"""The files of a version as models: shards belong together, and tensors are looked up by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from mvc.history.reader import ObjectReader, PartTable
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from mvc.recipes.adapters import adapter_module, partner_name
from mvc.spans import Span

_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.|$)")


class StoredFile:
    """A file of a version, by its manifest; ``reader`` gives its blobs. Nothing is read before it is asked
    for."""

    def __init__(
        self, path: str, identity: ManifestId, reader: ObjectReader, load: Callable[[], Manifest]
    ) -> None:
        self.path = path
        self.identity = identity
        self.reader = reader
        self._load = load

    @cached_property
    def manifest(self) -> Manifest:
        """What it holds."""
        return self._load()

    @cached_property
    def parts(self) -> PartTable:
        """Its parts by offset."""
        return PartTable(self.manifest)


class Tensor(NamedTuple):
    """A tensor of a file."""

    file: StoredFile
    span: Span

    @property
    def content(self) -> tuple[object, ...]:
        """What is equal for tensors that are stored as the same pieces."""
        pieces = self.file.parts.pieces(self.span.offset, self.span.length)
        kept = (
            piece.part.blob or piece.part.inline[piece.start : piece.start + piece.length] for piece in pieces
        )
        return (self.span.dtype, self.span.strides, *kept)


@dataclass(frozen=True, slots=True)
class Version:
    """A version by its files; ``label`` is what people call it, ``merge`` what it says of the merge that made
    it, if one did."""

    label: str
    files: Mapping[str, StoredFile]
    merge: Mapping[str, Any] | None = None


class Unit:
    """One model of a version: a file, or its shards. ``name`` is the path without the number of a shard."""

    def __init__(self, version: Version, name: str, files: Iterable[StoredFile]) -> None:
        self.version = version
        self.name = name
        self.files = tuple(files)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """By name; of several of one name, as shared ones of pickles, the first."""
        found: dict[str, Tensor] = {}
        for file in self.files:
            for span in file.manifest.tensors:
                found.setdefault(span.name, Tensor(file, span))
        return found

    @property
    def formats(self) -> set[str]:
        """Of its files."""
        return {file.manifest.format for file in self.files}

    @cached_property
    def adapters(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The pairs (A, B) of low-rank adapters in it, by the module that each belongs to."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for name, tensor in self.tensors.items():
            module = adapter_module(name)
            other = None if module is None else self.tensors.get(partner_name(name))
            if module is not None and other is not None:
                found[module] = tensor, other
        return found

    @property
    def is_adapter(self) -> bool:
        """Whether it holds nothing but adapters."""
        return bool(self.adapters) and 2 * len(self.adapters) == len(self.tensors)

    def same_files(self, other: Unit) -> bool:
        """Whether both are the same bytes at the same paths."""
        mine = {file.path: file.identity for file in self.files}
        theirs = {file.path: file.identity for file in other.files}
        return mine == theirs


def units(version: Version) -> dict[str, Unit]:
    """The models of a version by name, in the order of their paths."""
    grouped: dict[str, list[StoredFile]] = {}
    for path, file in sorted(version.files.items()):
        grouped.setdefault(_SHARD.sub("", path), []).append(file)
    return {name: Unit(version, name, files) for name, files in grouped.items()}
