"""A version's files as the card looks at them: manifests, small documents, and values beside the tensors.

Everything that is read comes out of one budget, and tensors are not decoded: what is needed of a file is in
its manifest and in the bytes between its tensors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mvc.formats import OPAQUE, NotThisFormat, Value, View, read_values
from mvc.formats.wire import jsontext
from mvc.history.reader import GAP, ObjectReader, PartTable, read_or_gap, read_range
from mvc.history.treediff import flatten
from mvc.objectid import ManifestId, TreeId
from mvc.objects import Manifest
from mvc.registry.card.documents import flatten as flatten_document
from mvc.registry.card.roles import Role, file_role, tensor_role
from mvc.spans import Span, element_count

MAX_MANIFESTS = 1_000
"""Files that are looked at; of the rest only the names count."""

MAX_OTHERS = 200
"""Files among them whose names do not look like a model's."""

MAX_TENSORS = 300_000
"""Of all these files together; behind the one that goes beyond it no other is looked at."""

MAX_VALUE_FILES = 64
"""Files whose values are read."""

MAX_READ_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 8 << 20

Number = int | float

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
"""Files that people hand to ``torch.load``, which also unpickles what it did not write."""

_OTHERS = (".json", ".safetensors", ".gguf", ".onnx", ".h5", ".keras", ".npz", ".pkl", ".pickle", ".zip")
_FIRST = (*TORCH_SUFFIXES, *_OTHERS)
_BARE_PICKLE = "pickle"
_NUMBERS = {"F32": "<f", "F64": "<d", "I32": "<i", "I64": "<q", "U8": "<B", "I16": "<h"}


def looks_like_model(path: str) -> bool:
    """Whether a file's name is that of weights or of what is saved beside them."""
    return path.lower().endswith(_FIRST)


class _Spent(NotThisFormat):
    """The budget does not allow to read so much."""


@dataclass(slots=True)
class StoredView:
    """A stored file as formats read it; what is read goes off ``charge``."""

    name: str
    size: int
    parts: PartTable
    reader: ObjectReader
    charge: Callable[[int], None]

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotThisFormat("truncated")
        self.charge(length)
        return b"".join(read_range(self.reader, self.parts, offset, length))


@dataclass(slots=True)
class File:
    """A file of the version, what its name says that it is for, and each of its tensors."""

    path: str
    manifest: Manifest
    role: Role | None
    roles: tuple[Role, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.roles = tuple(tensor_role(span, self.role) for span in self.manifest.tensors)

    def tensors(self, *roles: Role) -> Iterator[Span]:
        """The tensors that are for one of these purposes."""
        return (span for span, role in zip(self.manifest.tensors, self.roles, strict=True) if role in roles)

    @property
    def folder(self) -> str:
        """The folder that it lies in; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name in that folder."""
        return self.path.rpartition("/")[2]


@dataclass(slots=True)
class Contents:
    """The files of a tree. ``notes`` say in one line each what was not looked at."""

    reader: ObjectReader
    tree: TreeId
    notes: list[str] = field(default_factory=list)
    paths: dict[str, ManifestId] = field(init=False)
    files: dict[str, File] = field(init=False)
    _left: int = field(default_factory=lambda: MAX_READ_BYTES)
    _values: dict[str, Mapping[str, Value]] = field(default_factory=dict)
    _documents: dict[str, Any] = field(default_factory=dict)
    _spent: bool = False

    def __post_init__(self) -> None:
        entries = flatten(self.reader, self.tree)
        self.paths = {path: ManifestId(entry.id) for path, entry in entries.items()}
        likely = [path for path in self.paths if looks_like_model(path)]
        others = [path for path in self.paths if not looks_like_model(path)]
        self.files = {}
        tensors = 0
        for path in sorted([*likely, *others[:MAX_OTHERS]][:MAX_MANIFESTS]):
            if tensors > MAX_TENSORS:
                break
            manifest = read_or_gap(self.reader, self.paths[path])
            if manifest.format == GAP:
                del self.paths[path]
                self.notes.append(f"{path} was purged")
                continue
            tensors += len(manifest.tensors)
            self.files[path] = File(path, manifest, file_role(path))
        if len(self.files) < len(self.paths):
            self.notes.append(f"looked at {len(self.files):,} of {len(self.paths):,} files")

    def named(self, *names: str) -> Iterator[File]:
        """The files that are called so, in whatever folder."""
        return (file for file in self.files.values() if file.name in names)

    def document(self, file: File) -> Any:
        """What a JSON file holds; None for one that is too large, or no JSON."""
        if file.path not in self._documents:
            self._documents[file.path] = self._parse(file)
        return self._documents[file.path]

    def mapping(self, file: File) -> dict[str, Any]:
        """What a JSON file holds, if it is an object; else nothing."""
        found = self.document(file)
        return found if isinstance(found, dict) else {}

    def values(self, file: File) -> Mapping[str, Value]:
        """What a file says beside its tensors, by dotted names, and what a JSON file of its name does: the
        Python API commits a state as both. Of a document, what it says; a single value by the document's
        name."""
        if file.path not in self._values:
            told: dict[str, Value] = {}
            beside = self.files.get(file.path.removesuffix(".safetensors").removesuffix(".json") + ".json")
            if beside is not None:
                stem = beside.name.removesuffix(".json")
                told = {
                    name or stem: value for name, value in flatten_document(self.document(beside)).items()
                }
            self._values[file.path] = {
                **told,
                **self._format_values(file),
                **dict(_inline_numbers(file.manifest)),
            }
        return self._values[file.path]

    def stands_alone(self, file: File) -> bool:
        """Whether a document is none that belongs to tensors, as the Python API writes both."""
        return file.path.removesuffix(".json") + ".safetensors" not in self.files

    def may_be_pickle(self, file: File) -> bool:
        """Whether a file that no format describes may be a bare pickle under the name of a checkpoint."""
        return file.manifest.format == OPAQUE and file.name.lower().endswith(TORCH_SUFFIXES)

    def _parse(self, file: File) -> Any:
        if file.manifest.size > MAX_DOCUMENT_BYTES:
            self.notes.append(f"{file.path} is too large to be read for the card")
            return None
        try:
            return jsontext.parse(self._view(file).read(0, file.manifest.size))
        except NotThisFormat:
            return None  # a file of the user's that only looks like ours; or the budget is spent, as noted

    def _format_values(self, file: File) -> Mapping[str, Value]:
        name = _BARE_PICKLE if self.may_be_pickle(file) else file.manifest.format
        if name == OPAQUE:
            return {}
        if len(self._values) >= MAX_VALUE_FILES or self._spent:
            self._note_spent()
            return {}
        return read_values(name, self._view(file), lambda bare: self._sibling(file, bare))

    def _sibling(self, file: File, name: str) -> View | None:
        found = self.files.get(f"{file.folder}/{name}" if file.folder else name)
        return None if found is None or "/" in name else self._view(found)

    def _view(self, file: File) -> StoredView:
        return StoredView(file.name, file.manifest.size, PartTable(file.manifest), self.reader, self._charge)

    def _charge(self, count: int) -> None:
        if count > self._left:
            self._spent = True
            self._note_spent()
            raise _Spent(f"more than {MAX_READ_BYTES >> 20} MiB to read")
        self._left -= count

    def _note_spent(self) -> None:
        note = "too many or too large files: not all of them were looked into"
        if note not in self.notes:
            self.notes.append(note)


def number_of(value: object) -> Number | None:
    """A number, also one that is written as text (metadata of safetensors are texts); not NaN."""
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = int(value) if value.strip().lstrip("-").isdecimal() else float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _inline_numbers(manifest: Manifest) -> Iterator[tuple[str, Value]]:
    """Tensors of one number that stand in the manifest itself, such as an optimizer's ``step``."""
    wanted = {span.offset: span for span in manifest.tensors if _is_number(span)}
    if not wanted:
        return
    for offset, part in manifest.placed_parts():
        span = wanted.get(offset)
        if span is not None and part.blob is None and len(part.inline) >= span.length:
            yield span.name, struct.unpack(_NUMBERS[span.dtype], part.inline[: span.length])[0]


def _is_number(span: Span) -> bool:
    # of one dimension at most: larger ones are weights that happen to be small
    return span.dtype in _NUMBERS and len(span.shape) <= 1 and element_count(span.shape) == 1
