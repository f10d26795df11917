"""Stores versions that come from elsewhere: several in one change of root, each whole or not at all."""

from __future__ import annotations

import time as clock
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from mvc.bases import BaseFinder, SketchStore, text_hint
from mvc.describing import Describer
from mvc.errors import FileChanged, ObjectPurged, UserError, refused
from mvc.fileio import storage_errors
from mvc.formats import NotThisFormat
from mvc.history.reader import read_manifest
from mvc.history.treediff import build_tree
from mvc.importing.checking import Checked
from mvc.importing.known import UNDER_WAY, Known, imported_value
from mvc.importing.survey import content_of, is_known, usable
from mvc.importing.version import Content, Item, Origin, Version
from mvc.ingest import ingest_source
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import EXECUTABLE, FILE, Commit, Person, Timestamp, Tree, TreeEntry
from mvc.odb.effort import Effort
from mvc.paths import shown
from mvc.refs import encode_target
from mvc.repo import Repository
from mvc.transaction import Transaction, Update, begin
from mvc.weighing import Weigher
from mvc.workspace import files_left

BATCH_SECONDS, BATCH_BYTES, BATCH_VERSIONS = 10.0, 1 << 30, 256
"""When the versions so far are published: what an interruption costs at most is this, and a change of root
costs as much as twenty small versions."""

MAX_PARENTS = 64
_KEPT_VERSIONS = 16


@dataclass(slots=True)
class Stored:
    """What was done. ``versions`` are all that are there now, by the source's names; ``tip`` is the last one
    of a line. ``stored_bytes`` were added to packs, ``read_bytes`` were read."""

    versions: dict[str, CommitId]
    tip: CommitId | None
    new: int = 0
    same: int = 0
    read_bytes: int = 0
    stored_bytes: int = 0
    under_way: set[str] = field(default_factory=set)


class Storing:
    """Stores the versions of a source behind each other. ``ground`` is what the first of a line follows;
    ``under_way`` are refs that an interrupted import left."""

    def __init__(
        self,
        repository: Repository,
        origin: Origin,
        known: Mapping[str, Known],
        ground: CommitId | None,
        under_way: Iterable[str],
        command: str,
        who: Person,
        now: Timestamp,
        *,
        fast: bool = False,
    ) -> None:
        self.repository = repository
        self._origin = origin
        self._known = known
        self._command = command
        self._who, self._now = who, now
        self._fast = fast
        self._entries: dict[tuple[Hashable, str], ManifestId] = {}
        self._files: OrderedDict[CommitId, dict[str, TreeEntry]] = OrderedDict()
        versions = {name: one.id for name, one in known.items()}
        self.done = Stored(versions, ground, under_way=set(under_way))

    def run(self, finish: Callable[[Transaction, Update], None]) -> Stored:
        """Store all that is new. The last versions are published by ``finish``, from what would have been
        their update, so that an import that is not long is one operation.

        Raises:
            UserError: a file of the source is damaged, or gone since it was looked for.
            ObjectPurged: something was purged here, and may not come back.
        """
        versions = (one for one in self._origin.versions(self._known) if not is_known(one, self._known))
        while True:
            with begin(self.repository, self._command, self._who, self._now) as tx:
                batch = _Batch(self, tx)
                more = batch.take(versions)
                update = Update(refs=batch.refs, locate=batch.last)
                if not more:
                    finish(tx, update)
                elif batch.last is not None:
                    tx.publish(lambda _view, update=update: update)  # type: ignore[misc]
                if batch.last is not None:
                    batch.finder.save()
                self.done.stored_bytes += tx.writer.written_bytes
            if not more:
                return self.done


class _Batch:
    """Some versions, in one transaction."""

    def __init__(self, storing: Storing, tx: Transaction) -> None:
        self._all = storing
        self._tx = tx
        self._repository = storing.repository
        self._weigher = Weigher(self._repository, tx.view.objects)
        self._before: dict[str, TreeEntry] = {}
        self.refs: dict[str, bytes | None] = {}
        self.last: tuple[CommitId, tuple[CommitId, ...]] | None = None
        if storing._fast:
            tx.writer.effort = Effort.FAST
        self.finder = BaseFinder(
            tx.writer.database,
            SketchStore(self._repository.io, self._repository.store),
            self._earlier,
            compare=not storing._fast,
        )

    def take(self, versions: Iterable[Version]) -> bool:
        """Store versions until it is time to publish them; returns whether there may be more."""
        done = self._all.done
        began, read, new = clock.perf_counter(), done.read_bytes, done.new
        for version in versions:
            self._store(version)
            if (
                clock.perf_counter() - began > BATCH_SECONDS
                or done.read_bytes - read > BATCH_BYTES
                or done.new - new >= BATCH_VERSIONS
            ):
                return True
        return False

    def _store(self, version: Version) -> None:
        done, view = self._all.done, self._tx.view
        parents: tuple[CommitId, ...]
        if version.parents is None:
            parents = () if done.tip is None else (done.tip,)
        else:
            parents = tuple(done.versions[name] for name in version.parents)
        if len(parents) > MAX_PARENTS:
            raise UserError(
                f"{version.name[:12]} has {len(parents)} parents; a version may have {MAX_PARENTS}"
            )
        self._before = self._files_of(parents[0]) if parents else {}
        if version.parents:
            self._learn(version)
        files = self._ingest(version)
        tree = self._tree(files, parents)
        earlier = self._all._known.get(version.name)
        if earlier is not None and view.commit(earlier.id).tree == tree:
            done.same += 1  # only dates of its files changed
            return
        made = Commit(
            tree,
            parents,
            version.author,
            version.time,
            version.message,
            dict(version.metrics),
            code=None if version.code is None else version.code.redacted(),
            extra=imported_value(self._all._origin.kind, version.name, version.stamp),
        )
        identity = self._tx.writer.put(CommitId, made.to_bytes())
        done.versions[version.name] = identity
        done.tip = identity
        done.new += 1
        self._keep_files(identity, files)
        self._note(version, identity)
        self.last = identity, parents

    def _note(self, version: Version, identity: CommitId) -> None:
        """Keep the version by a ref of its own until another one leads to it, or names do."""
        done, line = self._all.done, self._all._origin.line
        own = UNDER_WAY + (version.name if line is None else line)
        self.refs[own] = encode_target(identity)
        done.under_way.add(own)
        for ref in (UNDER_WAY + parent for parent in version.parents or ()):
            if ref in done.under_way:
                done.under_way.discard(ref)
                self.refs.pop(ref, None)
                if self._tx.view.refs.value(ref) is not None:
                    self.refs[ref] = None

    # --- files ---------------------------------------------------------------------------------------------
    def _ingest(self, version: Version) -> dict[str, TreeEntry]:
        describer = None if version.root is None else Describer(self._repository.io, version.root)
        files: dict[str, TreeEntry] = {}
        for path, item in usable(version.listing()).files.items():
            identity = self._stored(item, path)
            if identity is None:
                content = content_of(item)
                if content is None:
                    continue
                identity = self._ingest_one(content, path, describer)
            mode = EXECUTABLE if item.executable else FILE
            files[path] = TreeEntry(path.rsplit("/", 1)[-1], mode, identity)
        return files

    def _stored(self, item: Item, path: str) -> ManifestId | None:
        """The manifest of a file that was stored under this path before, by this run or as a parent's."""
        known = self._all._entries.get((item.content.key, path))
        try:
            return known if known is not None and self._tx.writer.known(known) else None
        except ObjectPurged as error:
            raise refused(shown(path), error) from error

    def _ingest_one(self, content: Content, path: str, describer: Describer | None) -> ManifestId:
        monitor, writer, done = self._repository.monitor, self._tx.writer, self._all.done
        with storage_errors(f"cannot read {shown(path)}"), content.opened(path.rsplit("/", 1)[-1]) as opened:
            source = Checked(opened, content.digest)
            description = None if describer is None else describer.describe(path, source)
            try:
                identity, manifest, digests = ingest_source(
                    source, path, writer, self.finder, monitor, description
                )
                source.refuse_other(path, manifest)
            except ObjectPurged as error:
                raise refused(shown(path), error) from error
            except NotThisFormat:
                raise FileChanged(
                    f"{shown(path)} became shorter while it was read", hint="run it again"
                ) from None
        self._weigher.remember(identity, manifest, digests)
        self._all._entries[content.key, path] = identity
        done.read_bytes += manifest.size
        return identity

    def _learn(self, version: Version) -> None:
        """Learn from an earlier run's version that this one follows what its files are stored as: whatever
        did not change since need not be read."""
        origin, done = self._all._origin, self._all.done
        name = (version.parents or ("",))[0]
        listing = origin.listing_of(name) if name in self._all._known else None
        if listing is None:
            return
        files = self._files_of(done.versions[name])
        for path, item in listing.files.items():
            entry = files.get(path)
            if (
                entry is None
                or not isinstance(entry.id, ManifestId)
                or (item.content.key, path) in self._all._entries
            ):
                continue
            manifest = read_manifest(self._tx.view.objects, entry.id)
            digest = item.content.digest
            # a pointer may stand there, whose object was missing then
            same = manifest.size == item.content.size and (
                digest is None or digest.kind != "sha256" or digest.hex == manifest.sha256.hex()
            )
            if same:
                self._all._entries[item.content.key, path] = entry.id

    def _earlier(self, path: str) -> ManifestId | None:
        entry = self._before.get(path)
        return entry.id if entry is not None and isinstance(entry.id, ManifestId) else None

    def _files_of(self, commit: CommitId) -> dict[str, TreeEntry]:
        kept = self._all._files
        if commit not in kept:
            self._keep_files(commit, files_left(self._tx.view, commit))
        kept.move_to_end(commit)
        return kept[commit]

    def _keep_files(self, commit: CommitId, files: dict[str, TreeEntry]) -> None:
        kept = self._all._files
        kept[commit] = files
        while len(kept) > _KEPT_VERSIONS:
            kept.popitem(last=False)

    def _tree(self, files: Mapping[str, TreeEntry], parents: tuple[CommitId, ...]) -> TreeId:
        previous = self._tx.view.commit(parents[0]).tree if parents else None

        def put(tree: Tree) -> TreeId:
            data = tree.to_bytes()
            return self._tx.writer.put(TreeId, data, text_hint(self._tx.view.objects, previous, len(data)))

        return build_tree(files, put)
