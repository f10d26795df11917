"""Merging weights: what each strategy takes, beside storing one more fine-tune.

    python -m benchmarks.merging [BASE OURS THEIRS] [--quick] [--json FILE] [--docs docs]

Three safetensors files, or a made-up bf16 model of 64 MiB and two fine-tunes of it. Each is committed; then,
in turn, a fine-tune that is new (theirs and half of ours, element by element) is stored, and the two are
merged by each strategy. ``seconds`` are medians of three, ``ratio`` is over those of storing the fine-tune;
``stored`` are the bytes of the records of the result's pieces, and their share of the file. Nothing is
published, so that every run stores anew. Compare within a table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks import report
from benchmarks.timing import interleaved
from mvc.bases import BaseFinder, SketchStore
from mvc.fileio import FileIO
from mvc.formats.safetensors import Described, emit_header
from mvc.history.reader import read_manifest
from mvc.ingest import ingest_source
from mvc.memoryfile import MemoryFile, Stretch
from mvc.merging.contents import ContentMerging
from mvc.merging.strategy import Strategies
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.objects import Manifest, Person, Timestamp
from mvc.odb.writer import ObjectWriter
from mvc.ops.commit import Request, commit
from mvc.ops.init import init
from mvc.predictors.floats import F32, store
from mvc.repo import Repository
from mvc.transaction import begin
from mvc.workspace import files_of

PATH = "model.safetensors"
WHO = Person("bench", "bench@example.org")
REPETITIONS = 3
ROWS = 2048
TENSORS = 8


def made_up(rows: int) -> list[bytes]:
    """A model of square matrices, and two fine-tunes: each element moved by a hundredth of the spread."""
    rng = np.random.default_rng(0)
    base = [rng.standard_normal(rows * rows, np.float32) * np.float32(0.03) for _ in range(TENSORS)]
    files = []
    for step in (0.0, 3e-4, 3e-4):
        moved = [values + np.float32(step) * rng.standard_normal(values.size, np.float32) for values in base]
        header, _order = emit_header(
            Described(f"layers.{number}.weight", "BF16", (rows, rows)) for number in range(TENSORS)
        )
        files.append(header + b"".join(map(_bf16, moved)))
    return files


def _bf16(values: np.ndarray) -> bytes:
    out = np.empty(values.size, "<u2")
    store(np.array(values, F32), "BF16", out)
    return out.tobytes()


def mixed(ours: bytes, theirs: bytes) -> bytes:
    """Every other two bytes behind the header from the one file, the rest from the other: a fine-tune that
    is no combination."""
    start = 8 + int.from_bytes(theirs[:8], "little")
    count = (len(theirs) - start) // 2
    mine, others = (np.frombuffer(data, "<u2", count, len(data) - 2 * count) for data in (ours, theirs))
    chosen = np.where(np.random.default_rng(1).random(count) < 0.5, mine, others)
    return theirs[:start] + chosen.astype("<u2").tobytes()


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="BASE OURS THEIRS")
    options = parser.parse_args()
    if len(options.files) not in (0, 3):
        parser.error("three files, or none")
    page = report.Page("merging", options)
    files = [path.read_bytes() for path in options.files] or made_up(512 if options.quick else ROWS)
    options.files = [path.name for path in options.files]
    with tempfile.TemporaryDirectory() as folder:
        repository = init(FileIO(), Path(folder), Monitor())
        ids = [_commit(repository, data, number) for number, data in enumerate(files)]
        sketches = SketchStore(repository.io, repository.store)
        stored: dict[str, int] = {}

        def measure(name: str, job: Callable[[ObjectWriter], ManifestId]) -> float:
            with begin(repository, name, WHO, Timestamp(0, 0)) as tx:
                began = perf_counter()
                identity = job(tx.writer)
                seconds = perf_counter() - began
                stored[name] = _stored(tx.writer, read_manifest(tx.writer.database, identity))
            return seconds

        def tune(writer: ObjectWriter) -> ManifestId:
            finder = BaseFinder(writer.database, sketches, lambda _path: ids[2])
            source = MemoryFile(PATH, [Stretch.of(mixed(files[1], files[2]))])
            return ingest_source(source, PATH, writer, finder, Monitor())[0]

        def merge(strategy: str, writer: ObjectWriter) -> ManifestId:
            merging = ContentMerging(
                writer, sketches, Monitor(), Strategies.parse(strategy), labels=("ours", "theirs")
            )
            return merging(PATH, ids[0], ids[1], ids[2]).id

        jobs: dict[str, Callable[[ObjectWriter], ManifestId]] = {"a fine-tune": tune}
        for strategy in ("theirs", "average", "task-arithmetic", "ties", "slerp"):
            jobs[strategy] = partial(merge, strategy)
        seconds = interleaved({name: partial(measure, name, job) for name, job in jobs.items()}, REPETITIONS)
    size = len(files[1])
    page.say(f"A file of {size:,} bytes\n")
    rows = [
        [
            name,
            report.figure(value),
            report.figure(value / seconds["a fine-tune"]),
            f"{stored[name]:,}",
            f"{100 * stored[name] / size:.3f} %",
        ]
        for name, value in seconds.items()
    ]
    page.say(report.table(["", "seconds", "× a fine-tune", "stored bytes", "of the file"], rows))
    page.finish({"bytes": size, "seconds": seconds, "stored": stored})


def _commit(repository: Repository, data: bytes, number: int) -> ManifestId:
    (repository.worktree / PATH).write_bytes(data)
    made = commit(repository, Request(f"version {number}", WHO, Timestamp(number, 0)))
    with repository.reading() as view:
        return ManifestId(files_of(view, made.id)[PATH].id)


def _stored(writer: ObjectWriter, manifest: Manifest) -> int:
    """Bytes of the records of a file's pieces."""
    blobs = {part.blob for part in manifest.parts if part.blob is not None}
    return sum(memoryview(writer.database.record(blob).stored).nbytes for blob in blobs)


if __name__ == "__main__":
    main()
