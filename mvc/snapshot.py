"""The work tree's files as a job of committing: what the stat cache is certain of is not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mvc.bases import BaseFinder
from mvc.committing import Job, Request
from mvc.describing import Describer
from mvc.errors import DamageError, FileChanged, ObjectPurged, UserError, refused
from mvc.fileio import storage_errors
from mvc.history.reader import read_manifest
from mvc.history.treediff import overlay
from mvc.ingest import ATTEMPTS, Ingested, ingest_file
from mvc.objectid import CommitId, ManifestId
from mvc.objects import TreeEntry
from mvc.paths import is_below, shown
from mvc.repo import Repository
from mvc.transaction import Transaction
from mvc.workspace import Workspace, files_left, refuse_names
from mvc.worktree.compare import index_entry, mode_of, was_skipped
from mvc.worktree.index import IndexEntry
from mvc.worktree.recheck import same_content
from mvc.worktree.scan import ScanResult, WorkFile


class WorkTreeJob(Job):
    """The files of the work tree that were ``found``, to be stored and committed."""

    what = "the work tree is"

    def __init__(
        self,
        repository: Repository,
        workspace: Workspace,
        tx: Transaction,
        request: Request,
        found: ScanResult,
    ) -> None:
        super().__init__(repository, tx, request, len(found.files))
        self._found = found
        self._workspace = workspace
        self._describer = Describer(workspace.io, workspace.root)
        self.fresh: dict[str, IndexEntry] = {}

    def store(self) -> dict[str, TreeEntry]:
        """Store the content of every file; returns their entries by path."""
        monitor, found, finder = self._repository.monitor, self._found, self.finder
        files: dict[str, TreeEntry] = {}
        monitor.start("commit", sum(file.stat.st_size for file in found.files.values()))
        for path, file in found.files.items():
            known = self._known(path, file)
            if known is not None:
                identity = known
                self.fresh[path] = index_entry(file, identity)
                monitor.advance(file.stat.st_size)
            else:
                stored = self._ingest(file, finder)
                if stored is None:
                    continue
                identity = stored.id
                self._weigher.remember(identity, stored.manifest, stored.digests)
                self._read_bytes += stored.manifest.size
                self.fresh[path] = index_entry(replace(file, stat=stored.status), identity)
            name = path.rsplit("/", 1)[-1]
            files[path] = TreeEntry(name, mode_of(file), identity)
        monitor.finish()
        return files

    def _known(self, path: str, file: WorkFile) -> ManifestId | None:
        """The manifest of a file that need not be stored: the stat cache is certain of it, or its bytes are
        those of the last version."""
        if self._request.rescan:
            return None
        cached = self._workspace.cache.get(path, file.stat)
        if cached is not None and self._tx.writer.known(ManifestId(cached)):
            return ManifestId(cached)
        entry = self.before.get(path)
        if entry is None or self._tx.view.objects.is_gone(entry.id) or not self._tx.writer.known(entry.id):
            return None
        try:
            manifest = read_manifest(self._tx.view.objects, ManifestId(entry.id))
            if manifest.size and same_content(self._workspace.io, self._workspace.root / path, manifest):
                return ManifestId(entry.id)
        except (DamageError, ObjectPurged, OSError):
            return None  # it is read, and stored, like any other; what is wrong is told there
        return None

    def _ingest(self, file: WorkFile, finder: BaseFinder) -> Ingested | None:
        """Store one file; None if it has gone since the scan. What has taken its place is looked at
        afresh."""
        path, workspace = file.path, self._workspace
        now: WorkFile | None = file
        for attempt in range(ATTEMPTS):
            if now is None:
                return None
            try:
                with storage_errors(f"cannot store {shown(path)}"):
                    return ingest_file(
                        workspace.io,
                        workspace.root / (now.link_target or path),
                        path,
                        self._tx.writer,
                        finder,
                        workspace.monitor,
                        describer=self._describer,
                        seen=now.stat,
                        beneath=workspace.root,
                    )
            except ObjectPurged as error:
                raise refused(shown(path), error) from error
            except FileChanged:
                if attempt == ATTEMPTS - 1:
                    raise
                # from the top, so that a folder that has become a link is seen and refused
                found = workspace.scan((path.partition("/")[0],))
                refuse_names(found)
                now = found.files.get(path)
        return None

    def _after(
        self, head: CommitId | None, before: dict[str, TreeEntry], files: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        kept = self.kept(before, files)
        return self._selected(before, kept) if self._request.paths else self._joined(head, before, kept)

    def kept(self, before: Mapping[str, TreeEntry], files: dict[str, TreeEntry]) -> dict[str, TreeEntry]:
        """What could not be looked at stays as it was: unreadable is not deleted. So does what need not lie
        in the work tree."""
        skipped = {
            path: entry
            for path, entry in before.items()
            if was_skipped(self._found, path) or self._workspace.left_out(self._found, path)
        }
        return {**skipped, **files} if skipped else files

    def _selected(self, before: dict[str, TreeEntry], files: dict[str, TreeEntry]) -> dict[str, TreeEntry]:
        for wanted in self._request.paths:
            if not any(is_below(path, wanted) for path in (*before, *files)):
                raise UserError(
                    f"no file is called {wanted!r}", hint="'mvc status' and 'mvc ls' list what there is"
                )
        outside = {
            path: entry
            for path, entry in before.items()
            if not any(is_below(path, wanted) for wanted in self._request.paths)
        }
        return overlay(outside, files)

    def _joined(
        self, head: CommitId | None, theirs: dict[str, TreeEntry], ours: dict[str, TreeEntry]
    ) -> dict[str, TreeEntry]:
        """Our snapshot on top of commits that others made while it was taken: what we found as it was when we
        began, but they changed since, stays as they left it."""
        began = self._tx.view.head_commit()
        if head == began:
            return ours
        base = files_left(self._tx.view, began)
        kept = {path: entry for path, entry in theirs.items() if ours.get(path) == base.get(path)}
        return overlay(kept, {path: entry for path, entry in ours.items() if entry != base.get(path)})
