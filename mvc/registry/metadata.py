"""What a stored file says beside its tensors: safetensors' metadata, GGUF's keys, values of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from mvc.formats import OPAQUE, NotThisFormat, Value, read_values
from mvc.history.reader import ObjectReader, PartTable, read_manifest
from mvc.objectid import ManifestId
from mvc.registry.card.contents import StoredView

MAX_READ_BYTES = 64 << 20
"""Bytes that are read of one file and of those beside it; behind them it says nothing more."""


def metadata_of(reader: ObjectReader, path: str, files: Mapping[str, ManifestId]) -> Mapping[str, Value]:
    """What the file at ``path`` says, by dotted names; ``files`` are those of its version, of which a format
    may read some in the same folder. Tensors are not decoded. Nothing of a file that no format knows.

    Raises:
        ObjectMissing, CorruptObject: it cannot be read.
    """
    folder = path.rpartition("/")[0]
    left = MAX_READ_BYTES

    def charge(length: int) -> None:
        nonlocal left
        left -= length
        if left < 0:
            raise NotThisFormat(f"more than {MAX_READ_BYTES >> 20} MiB to read")

    def view(name: str) -> StoredView | None:
        place = f"{folder}/{name}" if folder else name
        if "/" in name or place not in files:
            return None
        manifest = read_manifest(reader, files[place])
        return StoredView(name, manifest.size, PartTable(manifest), reader, charge)

    found = view(path.rpartition("/")[2])
    kind = read_manifest(reader, files[path]).format
    return {} if found is None or kind == OPAQUE else read_values(kind, found, view)
