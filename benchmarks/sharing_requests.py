"""What it takes to open a repository in a bucket and to read one tensor of one version.

    python -m benchmarks.sharing_requests [--versions 100,1000,10000] [--megabytes 8] [--latency 0.03]
        [--quick] [--json FILE]

A store like one in a bucket, in memory, into which versions go one after the other, each with a swap of
root of its own and an index that nobody but they themselves merge: a tensor of ``--megabytes`` that the first
of them change a little, sixteen small ones and a note that each changes. Then somebody who knows nothing but
the address reads the large tensor of the newest version, of one in the middle and of the oldest. *Requests*
are those of the backend, *rounds* those of them that no other was under way with; with ``--latency`` each
takes so many seconds, as from another town. *Bytes* of packs stand next to what the tensor's records take
with all that they lean on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import report
from mvc.backends import MemoryBackend
from mvc.dtypes import DTYPES
from mvc.history.gather import Wanted, gather
from mvc.history.reader import PartTable
from mvc.history.revisions import lookup_path
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import FILE, Commit, Manifest, Part, Person, Timestamp, Tree, TreeEntry
from mvc.odb.record import Base
from mvc.odb.writer import Hint
from mvc.refs import encode_target
from mvc.sharing.bucket import BucketStore
from mvc.spans import Span
from mvc.transaction import Update, begin
from mvc.view import View
from tests.requests import CountingBackend

PIECE = 1 << 20
SMALL, SMALL_COUNT = 300, 16
WHO = Person("Ada", "ada@example.org")
LARGE = "model.layers.0.mlp.up_proj.weight"
GOAL = 1.1


class Growing:
    """A store into which versions of a model go, each with a root of its own."""

    def __init__(self, store: BucketStore, pieces: int) -> None:
        self._store = store
        self._rng = np.random.default_rng(7)
        self._large = [self._rng.standard_normal(PIECE // 4, np.float32) for _ in range(pieces)]
        self._blobs: list[BlobId] = []
        self._depth = 0
        self.commits: list[CommitId] = []

    def grow(self, count: int) -> None:
        """Make as many versions as there are then to be."""
        while len(self.commits) < count:
            self._version(len(self.commits))
            if len(self.commits) % 100 == 0:
                self._tidy()

    def _tidy(self) -> None:
        """Delete what was replaced, as a collection of the store does; the index stays in its runs."""
        view = self._store.read()
        for item in view.root.retired:
            self._store.backend.delete(item.key)
        self._store.roots.swap(view.raw, view.root.with_changes(retired=()))

    def _version(self, number: int) -> None:
        now = Timestamp(1_700_000_000_000_000 + number * 1_000_000, 0)
        with begin(self._store, "push", WHO, now) as tx:
            put = tx.writer.put
            if (number % 10 == 0 and number < 40) or not number:
                self._train(put)
            small = [put(BlobId, self._rng.bytes(SMALL), Hint(DTYPES["U8"])) for _ in range(SMALL_COUNT)]
            note = put(BlobId, self._rng.bytes(5000))
            large = len(self._blobs) * PIECE
            spans = (
                Span(0, large, LARGE, "F32", (large // 4,)),
                *(
                    Span(large + SMALL * at, SMALL, f"model.layers.{at}.norm.weight", "U8", (SMALL,))
                    for at in range(SMALL_COUNT)
                ),
            )
            parts = (*(Part(PIECE, blob) for blob in self._blobs), *(Part(SMALL, blob) for blob in small))
            size = large + SMALL_COUNT * SMALL
            model = put(ManifestId, Manifest("safetensors", size, bytes(32), parts, spans).to_bytes())
            notes = put(ManifestId, Manifest("opaque", 5000, bytes(32), (Part(5000, note),)).to_bytes())
            tree = Tree.of([TreeEntry("model", FILE, model), TreeEntry("notes", FILE, notes)])
            parents = tuple(self.commits[-1:])
            commit = Commit(put(TreeId, tree.to_bytes()), parents, WHO, now, f"version {number}")
            identity = put(CommitId, commit.to_bytes())

            def update(_view: View) -> Update:
                return Update({"refs/heads/main": encode_target(identity)}, locate=(identity, parents))

            tx.publish(update)
        self.commits.append(identity)

    def _train(self, put: Any) -> None:
        """The large tensor a step on; each piece as a difference from what it was."""
        for number, values in enumerate(self._large):
            step = self._rng.standard_normal(values.size, np.float32) * np.float32(0.001)
            self._large[number] = values = values + step
            hint = Hint(DTYPES["F32"])
            if len(self._blobs) > number:
                hint = Hint(DTYPES["F32"], (Base(self._blobs[number], 0, PIECE),), self._depth)
            blob = put(BlobId, values.astype("<f4").tobytes(), hint)
            self._blobs[number : number + 1] = [blob]
        self._depth += 1


def read_tensor(store: BucketStore, commit: CommitId) -> bytes:
    """The large tensor of a version, as :meth:`mvc.api.Tensors.load` reads it."""
    with store.reading() as view:
        entry = lookup_path(view.objects, view.commit(commit).tree, "model")
        assert entry is not None
        manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
        out = bytearray(manifest.tensors[0].length)
        gather(view.objects, [Wanted(PartTable(manifest), 0, memoryview(out))])
        return bytes(out)


def stored_bytes(store: BucketStore, commit: CommitId) -> int:
    """What the tensor's records take, and those that they lean on."""
    with store.reading() as view:
        entry = lookup_path(view.objects, view.commit(commit).tree, "model")
        assert entry is not None
        manifest = Manifest.from_bytes(view.objects.get(ManifestId(entry.id)))
        wanted: list[ObjectId] = [
            part.blob for part in manifest.parts if part.blob is not None and part.length == PIECE
        ]
        seen: dict[ObjectId, int] = {}
        while wanted:
            one = wanted.pop()
            if one not in seen:
                seen[one] = view.objects.entries(one)[0].length
                wanted += [base.id for base in view.objects.record(one).bases]
        return sum(seen.values())


def measure(counts: Sequence[int], megabytes: int, latency: float) -> list[dict[str, Any]]:
    """A row for each number of versions and each version that is read."""
    memory = MemoryBackend()
    backend = CountingBackend(memory, latency)
    near = BucketStore.create(memory, Monitor(), "memory", branch="main")
    growing = Growing(near, megabytes)
    rows = []
    for count in counts:
        growing.grow(count)
        for which, at in (("newest", count - 1), ("middle", count // 2), ("oldest", 0)):
            commit = growing.commits[at]
            backend.reset()
            began = time.perf_counter()
            far = BucketStore(backend, Monitor())
            far.looked_at = True  # as mvc.Repo.open and mvc -R do
            read_tensor(far, commit)
            seconds = time.perf_counter() - began
            stored = stored_bytes(near, commit)
            rows.append(
                {
                    "versions": count,
                    "read": which,
                    "runs": len({row.run for row in near.read().root.segments}),
                    "requests": backend.total,
                    "by": dict(backend.requests),
                    "rounds": backend.rounds,
                    "pack_bytes": backend.read["packs"],
                    "stored_bytes": stored,
                    "ratio": backend.read["packs"] / stored,
                    "segment_bytes": backend.read["segments"],
                    "root_bytes": backend.read["root"],
                    "seconds": seconds,
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as people read them."""
    heads = (
        "versions",
        "read",
        "requests",
        "of segments",
        "of packs",
        "rounds",
        "packs ÷ stored",
        "segments KB",
        "s",
    )
    return report.table(
        heads,
        [
            [
                f"{row['versions']:,}",
                row["read"],
                str(row["requests"]),
                str(row["by"]["segments"]),
                str(row["by"]["packs"]),
                str(row["rounds"]),
                report.figure(row["ratio"], 3),
                report.figure(row["segment_bytes"] / 1000, 0),
                report.figure(row["seconds"]),
            ]
            for row in rows
        ],
    )


def main() -> None:
    """Print the table."""
    parser = report.parser(__doc__, page=False)
    parser.add_argument("--versions")
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--latency", type=float, default=0.03)
    options = parser.parse_args()
    options.versions = options.versions or ("30,100" if options.quick else "100,1000,10000")
    options.megabytes = options.megabytes or (2 if options.quick else 8)
    load = os.getloadavg()[0]
    rows = measure([int(one) for one in options.versions.split(",")], options.megabytes, options.latency)
    print(table(rows))
    worst = max(row["ratio"] for row in rows)
    print(f"\npacks ÷ stored at most {worst:.3f} (goal: {GOAL})")
    report.keep("sharing_requests", options, {"rows": rows}, load)


if __name__ == "__main__":
    main()
