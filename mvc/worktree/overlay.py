"""Reads objects, and pieces of one work file that are not stored yet."""

from __future__ import annotations

from pathlib import Path

from mvc.errors import FileChanged
from mvc.fileio import FileIO
from mvc.objectid import BlobId, ObjectId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase


class WorkFileReader:
    """An object reader that takes a work file's own blobs from the file, checked against their ids."""

    def __init__(self, io: FileIO, path: Path, manifest: Manifest, objects: ObjectDatabase) -> None:
        self._io = io
        self._path = path
        self._objects = objects
        self._places = {
            part.blob: (offset, part.length) for offset, part in manifest.placed_parts() if part.blob
        }

    def get(self, identity: ObjectId) -> bytes:
        """Plain bytes.

        Raises:
            FileChanged: the work file no longer holds them.
        """
        place = self._places.get(identity) if isinstance(identity, BlobId) else None
        if place is None:
            return self._objects.get(identity)
        fd = self._io.open_read(self._path)
        try:
            data = self._io.read_at(fd, place[1], place[0])
        finally:
            self._io.close(fd)
        if BlobId.of(data) != identity:
            raise FileChanged(
                f"{self._path.name} changed while it was compared", hint="wait until it is written"
            )
        return data

    def find_prefix(self, hex_prefix: str) -> set[ObjectId]:
        """Stored ids that begin so."""
        return self._objects.find_prefix(hex_prefix)
