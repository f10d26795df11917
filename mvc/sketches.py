"""The sketches of all tensors that a repository has taken in, by number of elements: a local file of fixed
rows for each bucket of keys (docs/format.md, local files).

Derived, and only a help: a row that is lost, torn or wrong costs a better prediction and nothing else. Rows
are appended, so that a commit costs what is new in it; the newest are looked at first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mvc.fileio import FileIO, TemporaryNames, make_folders, write_durable
from mvc.objectid import ID_BYTES, BlobId, ManifestId
from mvc.sketch import KINDS, VALUES, Sketch

FOLDER_NAME = "sketches"

ROW = np.dtype(
    [
        ("key", "<u8"),
        ("manifest", "<u8"),  # the first bytes of its id
        ("blob", "u1", (ID_BYTES,)),  # the tensor's first piece
        ("tensor", "<u4"),  # its place in the manifest's table
        ("kind", "u1"),  # its place in KINDS
        ("zero", "V3"),
        ("values", "<u2", (VALUES,)),
    ]
)
"""One tensor."""

Rows = NDArray[Any]
"""An array of :data:`ROW`."""

BUCKETS = 16
MOST_ROWS = 48_000
"""Rows of a bucket that are read, the newest; about 6 MB."""

_SPREAD = 0x9E3779B97F4A7C15  # Knuth's multiplicative hash for 64 bits
_MASK = (1 << 64) - 1
_FACTORS = np.array([pow(_SPREAD, power, 1 << 64) for power in range(1, 1 + VALUES // 4)], np.uint64)


class SketchIndex:
    """Finds tensors by a key. What is added is found at once, and stored by :meth:`save`.

    Safe to use from several threads.
    """

    def __init__(self, io: FileIO, store: Path) -> None:
        self._io = io
        self._folder = store / FOLDER_NAME
        self._stored: dict[int, tuple[NDArray[np.uint64], Rows]] = {}
        self._new: dict[int, list[Rows]] = {}
        self._found: dict[int, Rows] = {}
        self._lock = threading.Lock()

    def find(self, key: int) -> Rows:
        """The rows of a key, newest last."""
        with self._lock:
            return self._find(key)

    def add(self, rows: Rows, lives: Callable[[int], bool]) -> None:
        """Tensors of a file that was stored; those that the index has already, in a manifest that lives, are
        left out. ``lives`` is as for :meth:`keep`."""
        with self._lock:
            for key in np.unique(rows["key"]).tolist():
                new = rows[rows["key"] == key]
                tags = _tags(new)
                new = new[np.sort(np.unique(tags, return_index=True)[1])]
                known = self._find(key)
                known = known[np.isin(_tags(known), tags)]
                alive = [name for name in np.unique(known["manifest"]).tolist() if lives(name)]
                known = known[np.isin(known["manifest"], np.array(alive, np.uint64))]
                new = new[~np.isin(_tags(new), _tags(known))]
                if new.size:
                    self._found[key] = _joined([self._find(key), new])
                    self._new.setdefault(key, []).append(new)

    def _find(self, key: int) -> Rows:
        found = self._found.get(key)
        if found is None:
            bucket = bucket_of(key)
            if bucket not in self._stored:
                rows = self._read(bucket)
                # sorted once, because a file asks for as many keys as it has matrices
                rows = rows[np.argsort(rows["key"], kind="stable")]
                self._stored[bucket] = rows["key"].copy(), rows
            keys, rows = self._stored[bucket]
            first, last = (
                np.searchsorted(keys, np.uint64(key)),
                np.searchsorted(keys, np.uint64(key), "right"),
            )
            found = _joined([rows[first:last], *self._new.get(key, ())])
            self._found[key] = found
        return found

    def save(self) -> None:
        """Append what was added. Where the store takes no files, later versions go without."""
        with self._lock:
            rows = _joined(rows for listed in self._new.values() for rows in listed)
            self._new, self._stored, self._found = {}, {}, {}
        buckets = np.array([bucket_of(int(key)) for key in rows["key"]])
        for bucket in np.unique(buckets):
            with suppress(OSError):
                self._append(int(bucket), rows[buckets == bucket].tobytes())

    def keep(self, temporary: TemporaryNames, lives: Callable[[int], bool]) -> None:
        """Drop the rows of manifests that are gone; ``lives`` takes the first eight bytes of an id, as an
        integer.

        Raises:
            OSError: the store refuses; then all rows stay.
        """
        for bucket in range(BUCKETS):
            rows = self._read(bucket)
            alive = [name for name in np.unique(rows["manifest"]).tolist() if lives(name)]
            kept = rows[np.isin(rows["manifest"], np.array(alive, np.uint64))]
            if kept.size < rows.size or rows.size == MOST_ROWS:  # what is older is not read
                write_durable(self._io, temporary.new(), self._path(bucket), [kept.tobytes()], replace=True)

    def _append(self, bucket: int, data: bytes) -> None:
        path = self._path(bucket)
        try:
            fd = self._io.open_append(path)
        except FileNotFoundError:
            make_folders(self._io, path.parent)
            fd = self._io.open_append(path)
        try:
            torn = self._io.stat_handle(fd).st_size % ROW.itemsize
            # one write, so that rows of two commits do not mix
            self._io.write(fd, bytes(-torn % ROW.itemsize) + data)
        finally:
            self._io.close(fd)

    def _read(self, bucket: int) -> Rows:
        data = b""
        with suppress(OSError):
            fd = self._io.open_read(self._path(bucket), follow=False)
            try:
                count = self._io.stat_handle(fd).st_size // ROW.itemsize
                first = max(count - MOST_ROWS, 0)
                data = self._io.read_at(fd, (count - first) * ROW.itemsize, first * ROW.itemsize)
            finally:
                self._io.close(fd)
        return np.frombuffer(data, ROW, len(data) // ROW.itemsize)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:x}"


def _joined(parts: Iterable[Rows]) -> Rows:
    """Some rows end to end. numpy's own way compares the fields of each part, which takes far longer."""
    return np.frombuffer(b"".join(rows.tobytes() for rows in parts), ROW)


def _tags(rows: Rows) -> NDArray[np.uint64]:
    """A number for each tensor: the same for the same sketch and first piece."""
    blobs = np.ascontiguousarray(rows["blob"]).view("<u8").reshape(rows.size, ID_BYTES // 8)
    values = np.ascontiguousarray(rows["values"]).view("<u8").reshape(rows.size, VALUES // 4)
    tags: NDArray[np.uint64] = blobs[:, 0] + (values * _FACTORS).sum(axis=1, dtype=np.uint64)
    return tags


def bucket_of(key: int) -> int:
    """The bucket of a key."""
    return (key * _SPREAD & _MASK) * BUCKETS >> 64


def kind_of(dtype: str) -> int:
    """What a row keeps of an element type; one number for all that are not sketched."""
    return KINDS.index(dtype) if dtype in KINDS else len(KINDS)


def short_name(manifest: ManifestId) -> int:
    """What a row keeps of a manifest's id."""
    return int.from_bytes(bytes(manifest)[:8], "little")


class NewRow(NamedTuple):
    """A tensor to be added: its key, its place in the manifest's table, its first piece, dtype and sketch."""

    key: int
    tensor: int
    blob: BlobId
    dtype: str
    values: Sketch | None


def rows_of(manifest: ManifestId, found: Iterable[NewRow]) -> Rows:
    """Rows for tensors of one file."""
    listed = list(found)
    rows = np.zeros(len(listed), ROW)
    for row, (key, tensor, blob, dtype, values) in zip(rows, listed, strict=True):
        row["key"], row["manifest"], row["tensor"] = key, short_name(manifest), tensor
        row["blob"] = np.frombuffer(blob, np.uint8)
        row["kind"] = kind_of(dtype)
        if values is not None:
            row["values"] = values
    return rows
