"""Lost objects out of the work tree: a file that still holds a piece, or is what a version had."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from mvc.describing import Describer
from mvc.errors import MvcError
from mvc.fileio import FileIO
from mvc.formats import NotThisFormat
from mvc.history.treediff import build_tree
from mvc.ingest import measure_file
from mvc.monitor import Monitor
from mvc.objectid import BlobId, ManifestId, ObjectId, TreeId
from mvc.objects import Tree, TreeEntry
from mvc.odb.record import Record
from mvc.odb.writer import Hint
from mvc.paths import shown
from mvc.repairing.kept import Kept
from mvc.repairing.walk import Where
from mvc.worktree.compare import mode_of
from mvc.worktree.scan import ScanResult, scan

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_MOST_CANDIDATES = 8


class WorkFiles:
    """The files of a work tree, as a source of what was lost."""

    def __init__(self, io: FileIO, root: Path, monitor: Monitor) -> None:
        self._io = io
        self._root = root
        self._monitor = monitor
        self._found: ScanResult | None = None

    def _files(self) -> ScanResult:
        if self._found is None:
            try:
                self._found = scan(self._io, self._root)
            except MvcError as error:
                self._monitor.warn(f"{error.message}; the work tree is not asked")
                self._found = ScanResult()
        return self._found

    # --- where a version had it ---------------------------------------------------------------------------
    def ranges(self, places: Mapping[BlobId, Iterable[Where]], kept: Kept) -> None:
        """Look for pieces in the stretches of files where versions had them: at the same path first, then in
        files of the same size."""
        by_size: dict[int, list[str]] = {}
        for path, file in self._files().files.items():
            by_size.setdefault(file.stat.st_size, []).append(path)
        for identity, known in places.items():
            for where in known:
                others = by_size.get(where.size, [])[:_MOST_CANDIDATES]
                path, data = self._first(identity, where, [where.path, *others])
                if data is not None:
                    kept.keep(identity, data, path, where.dtype)
                    break

    def _first(self, identity: BlobId, where: Where, paths: Iterable[str]) -> tuple[str, bytes | None]:
        for path in paths:
            if path in self._files().files:
                data = self._stretch(path, where.offset, where.length)
                if BlobId.of(data) == identity:
                    return path, data
        return "", None

    def _stretch(self, path: str, offset: int, length: int) -> bytes:
        try:
            fd = self._io.open_read(self._root / path, follow=False)
            try:
                if not S_ISREG(self._io.stat_handle(fd).st_mode):
                    return b""
                return self._io.read_at(fd, length, offset)
            finally:
                self._io.close(fd)
        except OSError as error:
            self._monitor.warn(f"cannot read {shown(path)}: {error.strerror}")
            return b""

    # --- cut as a commit would cut them -------------------------------------------------------------------
    def whole(self, wanted: Collection[ObjectId], kept: Kept) -> None:
        """Look for lost pieces, files and folders in what a commit of the work tree would store."""
        describer = Describer(self._io, self._root)
        entries: dict[str, TreeEntry] = {}
        for path, file in self._files().files.items():
            sink = _Lost(wanted, kept, path)
            try:
                manifest = measure_file(
                    self._io, self._root / path, path, self._monitor, describer=describer, sink=sink
                )
            except (MvcError, NotThisFormat, OSError):
                continue  # it changes, or cannot be read: no source
            data = manifest.to_bytes()
            identity = ManifestId.of(data)
            if identity in wanted:
                kept.keep(identity, data, path)
            entries[path] = TreeEntry(path.rsplit("/", 1)[-1], mode_of(file), identity)
        self._folders(entries, wanted, kept)

    def _folders(self, entries: Mapping[str, TreeEntry], wanted: Collection[ObjectId], kept: Kept) -> None:
        def put(tree: Tree) -> TreeId:
            data = tree.to_bytes()
            identity = TreeId.of(data)
            if identity in wanted:
                kept.keep(identity, data, "the folder's files")
            return identity

        if any(isinstance(identity, TreeId) for identity in wanted):
            try:
                build_tree(entries, put)
            except MvcError as error:
                self._monitor.warn(f"{error.message}; lost folders are not looked for in the work tree")


class _Lost:
    """Takes the pieces of a file that were lost, and no others."""

    def __init__(self, wanted: Collection[ObjectId], kept: Kept, path: str) -> None:
        self._wanted = wanted
        self._kept = kept
        self._path = path

    def known(self, identity: ObjectId) -> bool:
        return identity not in self._wanted

    def prepare(self, identity: ObjectId, plain: Buffer, hint: Hint) -> Record:
        return self._kept.prepare(identity, plain, hint)

    def add(self, record: Record) -> None:
        self._kept.add(record, self._path)
