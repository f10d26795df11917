"""The files that a repository holds, for those who look for recipes among them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mvc.errors import DamageError, ObjectPurged, UnsupportedFeature
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.recipes.known import KnownFile
from mvc.sketches import Rows, SketchIndex, short_name

ReadManifest = Callable[[ManifestId], Manifest]

_KEPT_TENSORS = 100_000  # of files whose tables stay in memory


class Library:
    """The files that a repository holds, by the first bytes of their manifests' ids. Thread-safe.

    ``read`` gives manifests, for who has parsed some of them already.
    """

    def __init__(
        self, database: ObjectDatabase, index: SketchIndex, read: ReadManifest | None = None
    ) -> None:
        self.database = database
        self._manifest = read or (lambda identity: Manifest.from_bytes(database.get(identity)))
        self.index = index
        self._files: dict[int, KnownFile | None] = {}
        self._kept = 0
        self._new: dict[int, ManifestId] = {}
        self._lock = threading.Lock()

    def file(self, identity: ManifestId) -> KnownFile | None:
        """A file by its manifest's id; None where it cannot be read, which the monitor hears."""
        return self._file(short_name(identity), identity)

    def short(self, name: int) -> KnownFile | None:
        """A file by what a row of the index keeps of its id; None where there is none."""
        return self._file(name, None)

    def learn(self, identity: ManifestId, manifest: Manifest, rows: Rows) -> None:
        """A file was stored, with these rows for the index: from now on others find it."""
        name = short_name(identity)
        with self._lock:
            self._new[name] = identity
            self._keep(name, KnownFile(identity, manifest))
        self.index.add(rows, self._lives)

    def save(self) -> None:
        """Store the sketches of what was learned."""
        self.index.save()

    def _file(self, name: int, identity: ManifestId | None) -> KnownFile | None:
        with self._lock:
            if name not in self._files:
                self._keep(name, self._read(name, identity or self._new.get(name)))
            return self._files[name]

    def _keep(self, name: int, file: KnownFile | None) -> None:
        self._drop(name)
        while self._kept > _KEPT_TENSORS:
            self._drop(next(iter(self._files)))
        self._files[name] = file
        self._kept += 0 if file is None else 1 + len(file.tensors)

    def _drop(self, name: int) -> None:
        file = self._files.pop(name, None)
        self._kept -= 0 if file is None else 1 + len(file.tensors)

    def _lives(self, name: int) -> bool:
        return name in self._new or stored_file(self.database, name) is not None

    def _read(self, name: int, identity: ManifestId | None) -> KnownFile | None:
        identity = identity or stored_file(self.database, name)
        if identity is None:
            return None
        try:
            return KnownFile(identity, self._manifest(identity))
        except (DamageError, ObjectPurged, UnsupportedFeature) as error:
            if not isinstance(error, ObjectPurged):
                self.database.note_damage(f"{error.message}; stored without it as a base")
            return None


def stored_file(database: ObjectDatabase, name: int) -> ManifestId | None:
    """The manifest of which a row of the index keeps this much of the id; None where it is gone."""
    found = database.find_prefix(name.to_bytes(8, "little").hex())
    return next((one for one in found if isinstance(one, ManifestId)), None)
