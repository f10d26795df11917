"""Requests and bytes that a fetch, a push and a clone take, by the length of the history.

    python -m benchmarks.transfer [--versions 10 100 1000] [--json FILE]
    python -m benchmarks.transfer --verify 128

A version is one file of 24 pieces of 16 KiB, of which 6 are new in each; every version is a transaction of
its own, as commits are, so that packs and segments lie as they do in a shared store. The store is in memory
and counts what it is asked for. *fetch*: a copy that lacks the newest version gets it. *push*: the newest
version goes to a store that has all others. *clone*: everything goes to an empty copy. No clock: what
requests and bytes take depends on the link. ``--verify MEGABYTES`` has one: the processor time of a push and
a clone of so much bf16 in four versions, with every record decoded and without; the least of three,
interleaved.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import mvc
from benchmarks.related import bf16, safetensors
from mvc.backends.memory import MemoryBackend
from mvc.fileio import FileIO
from mvc.monitor import Monitor
from mvc.objectid import BlobId, CommitId, ManifestId, ObjectId, TreeId
from mvc.objects import Commit, Manifest, Part, Person, Timestamp, Tree, TreeEntry
from mvc.refs import encode_target
from mvc.remotes.direct import DirectSink
from mvc.remotes.negotiate import missing
from mvc.remotes.transfer import plan, transfer
from mvc.repo import Repository
from mvc.root import Root
from mvc.sharing.bucket import BucketStore
from mvc.store import Store
from mvc.transaction import Transaction, Update, begin

ME = Person("Benchmark", "")
PIECES, NEW, PIECE_BYTES = 24, 6, 16 << 10
FAR_BYTES = 128 << 10
MAIN = "refs/heads/main"
_VERSIONS = 4


class Counting(MemoryBackend):
    """Counts requests and bytes by the folder of what is read and written."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()
        self.read: Counter[str] = Counter()

    def _count(self, key: str, data: bytes) -> bytes:
        folder = key.partition("/")[0]
        self.requests[folder] += 1
        self.read[folder] += len(data)
        return data

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        return self._count(key, super().get(key))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        return self._count(key, MemoryBackend.get(self, key)[offset : offset + length])


def store(*, far: bool) -> tuple[BucketStore, Counting]:
    """An empty store."""
    backend = Counting()
    if far:
        backend.request_bytes = FAR_BYTES
    made = BucketStore(backend, Monitor())
    made.roots.swap(None, Root(extra={"default_branch": "main"}))
    return made, backend


def fill(target: Store, versions: int) -> None:
    """Make a history, each version in a transaction of its own."""
    rng = random.Random(1)
    pieces = [rng.randbytes(PIECE_BYTES) for _ in range(PIECES)]
    parents: tuple[CommitId, ...] = ()
    for number in range(versions):
        for at in rng.sample(range(PIECES), NEW):
            pieces[at] = rng.randbytes(PIECE_BYTES)
        with begin(target, "commit", ME, Timestamp(number, 0)) as tx:
            commit = _version(tx, pieces, parents, number)
            _publish(tx, {MAIN: commit, **({"refs/heads/older": parents[0]} if parents else {})})
        parents = (commit,)


def _version(tx: Transaction, pieces: list[bytes], parents: tuple[CommitId, ...], number: int) -> CommitId:
    blobs = [tx.writer.put(BlobId, piece) for piece in pieces]
    parts = tuple(Part(PIECE_BYTES, blob) for blob in blobs)
    digest = hashlib.sha256(b"".join(pieces)).digest()
    manifest = Manifest("opaque", PIECES * PIECE_BYTES, digest, parts)
    tree = Tree((TreeEntry("model.bin", 0, tx.writer.put(ManifestId, manifest.to_bytes())),))
    root = tx.writer.put(TreeId, tree.to_bytes())
    commit = Commit(root, parents, ME, Timestamp(number, 0), f"version {number}")
    return tx.writer.put(CommitId, commit.to_bytes())


def _publish(tx: Transaction, refs: dict[str, ObjectId]) -> None:
    values = {name: encode_target(identity) for name, identity in refs.items()}
    tx.publish(lambda _view: Update(refs=values))


def move(source: Store, target: Store, ref: str, *, verify: bool = True) -> int:
    """Bring a ref over; returns the bytes of the records."""
    with source.reading() as view, begin(target, "fetch", ME, Timestamp(0, 0)) as tx:
        tip = view.refs.get(ref)
        assert tip is not None
        heads = [head for name in tx.view.refs.names("refs/") if (head := tx.view.refs.get(name)) is not None]
        here, sink = tx.view.objects, DirectSink(target.backend)
        found = missing(view.objects, here, [tip], monitor=Monitor(), at_target=heads)
        planned = plan(view.objects, here, found, sink)
        tx.adopt(transfer(view.objects, here, planned, sink, Monitor(), verify=verify))
        _publish(tx, {ref: tip})
    return planned.bytes


def measure(versions: int) -> dict[str, dict[str, int]]:
    """Requests and bytes of each case."""
    rows = {}
    shared, backend = store(far=True)
    fill(shared, versions)
    copy, _ = store(far=False)
    move(shared, copy, "refs/heads/older")
    for name, target, ref in (("fetch", copy, MAIN), ("clone", store(far=False)[0], MAIN)):
        backend.requests.clear(), backend.read.clear()
        rows[name] = _row(move(shared, target, ref), backend)
    remote, remote_backend = store(far=True)
    move(shared, remote, "refs/heads/older")
    remote_backend.requests.clear(), remote_backend.read.clear()
    rows["push"] = _row(move(copy, remote, MAIN), remote_backend)
    return rows


def _row(count: int, backend: Counting) -> dict[str, int]:
    return {
        "records": count,
        "requests": sum(backend.requests.values()),
        "of_packs": backend.requests["packs"],
        "of_segments": backend.requests["segments"],
        "read_packs": backend.read["packs"],
        "read_segments": backend.read["segments"],
    }


def verification(megabytes: int) -> dict[str, dict[bool, float]]:
    """Seconds of processor time of a push and a clone, with every record decoded and without."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(megabytes * 1_000_000 // 2 // _VERSIONS, dtype=np.float32)
    seconds: dict[str, dict[bool, float]] = {"push": {}, "clone": {}}
    with tempfile.TemporaryDirectory() as folder:
        work = mvc.Repo.init(folder)
        for number in range(_VERSIONS):
            data = safetensors({"w": bf16(weights)})
            (Path(folder) / "model.safetensors").write_bytes(data)
            work.commit(message=f"version {number}", author="Benchmark <>")
            weights = weights * (1 + 0.001 * rng.standard_normal(weights.size, dtype=np.float32))
        mine = Repository.open(FileIO(), Path(folder), Monitor())
        for _ in range(3):
            for verify in (False, True):
                shared, _backend = store(far=True)
                copy, _near = store(far=False)
                for case, source, target in (("push", mine, shared), ("clone", shared, copy)):
                    for one in (source, target):
                        one.forget_decoded()
                    began = time.process_time()
                    move(source, target, MAIN, verify=verify)
                    took = time.process_time() - began
                    seconds[case][verify] = min(took, seconds[case].get(verify, took))
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--versions", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verify", type=int, metavar="MEGABYTES")
    options = parser.parse_args()
    if options.verify:
        print("| | without, s | with, s |")
        print("|---|---|---|")
        for case, took in verification(options.verify).items():
            print(f"| {case} | {took[False]:.2f} | {took[True]:.2f} |")
        return
    results = {versions: measure(versions) for versions in options.versions}
    print("| | versions | records, bytes | GET | of packs | of segments | pack bytes | segment bytes |")
    print("|---|---|---|---|---|---|---|---|")
    for case in ("fetch", "push", "clone"):
        for versions, rows in results.items():
            print(
                f"| {case} | {versions:,} | "
                + " | ".join(f"{value:,}" for value in rows[case].values())
                + " |"
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
