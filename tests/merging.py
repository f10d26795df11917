"""Three versions of a file, merged as a merge of commits would: one helper for all tests of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mvc.bases import BaseFinder, SketchStore, no_bases
from mvc.history.merge3 import Content
from mvc.history.reader import read_manifest, read_range
from mvc.ingest import ingest_source
from mvc.memoryfile import MemoryFile, Stretch
from mvc.merging.contents import ContentMerging
from mvc.merging.strategy import Strategies
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.objects import Manifest
from mvc.odb.writer import ObjectWriter
from mvc.ops.init import init
from mvc.repo import Repository
from mvc.transaction import begin
from tests.engine import ME, now
from tests.faults import FaultIO


class Result(NamedTuple):
    """A merged file."""

    data: bytes
    clean: bool
    details: tuple[str, ...]
    manifest: Manifest


class Bench:
    """A repository in which files are merged; nothing is published."""

    def __init__(self, repository: Repository, writer: ObjectWriter) -> None:
        self._repository = repository
        self._sketches = SketchStore(FaultIO(), repository.store)
        self.writer = writer
        self.monitor = Monitor()

    def put(self, path: str, data: bytes) -> ManifestId:
        """Store a version of a file."""
        finder = BaseFinder(self.writer.database, self._sketches, no_bases)
        source = MemoryFile(path, [Stretch.of(data)])
        return ingest_source(source, path, self.writer, finder, Monitor())[0]

    def merge(
        self,
        path: str,
        base: bytes | None,
        ours: bytes,
        theirs: bytes,
        strategies: Strategies | None = None,
    ) -> Result:
        """Merge three versions."""
        first = None if base is None else self.put(path, base)
        content = self.content(path, first, self.put(path, ours), self.put(path, theirs), strategies)
        manifest = read_manifest(self.writer.database, content.id)
        return Result(self.read(manifest), content.clean, content.details, manifest)

    def content(
        self,
        path: str,
        base: ManifestId | None,
        ours: ManifestId,
        theirs: ManifestId,
        strategies: Strategies | None = None,
    ) -> Content:
        """Merge three stored versions."""
        return self.merging(strategies)(path, base, ours, theirs)

    def merging(self, strategies: Strategies | None = None) -> ContentMerging:
        """What merges files."""
        return ContentMerging(
            self.writer, self._sketches, self.monitor, strategies or Strategies(), labels=("HEAD", "side")
        )

    def data(self, identity: ManifestId) -> bytes:
        """A stored file's bytes, by its id."""
        return self.read(read_manifest(self.writer.database, identity))

    def read(self, manifest: Manifest) -> bytes:
        """A stored file's bytes."""
        return b"".join(read_range(self.writer.database, manifest, 0, manifest.size))

    def stored_bytes(self, manifest: Manifest) -> int:
        """Bytes of the records of a file's blobs."""
        records = (self.writer.database.record(part.blob) for part in manifest.parts if part.blob is not None)
        return sum(memoryview(record.stored).nbytes for record in records)


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A repository of its own, which nothing is synced of."""
    repository = init(FaultIO(), folder, Monitor())
    with begin(repository, "merge", ME, now()) as tx:
        yield Bench(repository, tx.writer)


def tensors_of(result: Result) -> Mapping[str, bytes]:
    """The bytes of a merged file's tensors."""
    return {
        span.name: result.data[span.offset : span.offset + span.length] for span in result.manifest.tensors
    }
