"""What the index costs: look-ups, commits, merges, memory and disk, on the code that the program uses.

    python benchmarks/segments.py [--ids 10000000] [--commits 1000] [--quick]

Prints Markdown tables; docs/design/0001-index-segments.md holds those of a full run. Ids come from BLAKE3's
stream, so every run sees the same ones. Files go to a temporary folder (--folder) and are removed; nothing is
synced to the disk, because what a sync costs is the disk's affair. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from mvc.fileio import FileIO
from mvc.odb import index as index_module
from mvc.odb import segment as segment_module
from mvc.odb.index import Index, Merge, SegmentRow, merge, plan_full_merge, plan_merge
from mvc.odb.segment import Entry, Segment, build_segments, segment_name

IDS_PER_PACK = 128  # a 32 MiB pack of 1 MiB chunks stored at a quarter
LOOKUPS = 20_000
COMMIT_SIZES_SEED = 2026


# --- what is looked up -------------------------------------------------------------------------------------
def id_stream(start: int, count: int, seed: bytes = b"ids") -> list[bytes]:
    """Ids number ``start`` … of a stream that never changes."""
    raw = blake3(seed).digest(length=32 * count, seek=32 * start)
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def entries_of(start: int, count: int) -> list[Entry]:
    """Entries as one commit makes them: packs filled one after the other."""
    entries = []
    for at, id in enumerate(id_stream(start, count), start):
        pack = at // IDS_PER_PACK if count >= IDS_PER_PACK else start
        place = at % IDS_PER_PACK
        name = blake3(b"pack" + pack.to_bytes(8, "little")).digest()
        entries.append(Entry(id, 0, name, 24 + place * 262_144, 262_144, place % 3))
    return entries


def commit_sizes(shape: str, ids: int, commits: int) -> list[int]:
    """How many new ids each commit brings."""
    if shape == "equal":
        return [ids // commits] * commits
    if shape == "tiny":
        return [5] * (10 * commits)
    if shape == "import":
        return [ids * 9 // 10] + [max(1, ids // 10 // commits)] * commits
    weights = [random.Random(COMMIT_SIZES_SEED + at).lognormvariate(0, 2) for at in range(commits)]
    return [max(1, int(ids * weight / sum(weights))) for weight in weights]


# --- measuring ---------------------------------------------------------------------------------------------
def memory(field: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS, VmHWM (peak), RssFile (maps)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {field} in /proc/self/status")


def reset_peak() -> None:
    """Let the peak start from here."""
    Path("/proc/self/clear_refs").write_text("5")


def microseconds(ask: Callable[[bytes], object], ids: Sequence[bytes]) -> float:
    """Median over ten rounds of the mean time of one look-up."""
    rounds = []
    step = len(ids) // 10
    for low in range(0, step * 10, step):
        part = ids[low : low + step]
        start = time.perf_counter()
        for id in part:
            ask(id)
        rounds.append((time.perf_counter() - start) / step * 1e6)
    return statistics.median(rounds)


def in_child(work: Callable[..., Any], *args: object) -> Any:
    """Run in a fresh process, so that memory and start-up are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |"
        )


def mib(count: float) -> str:
    """Bytes in MiB."""
    return f"{count / (1 << 20):.1f}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# --- a store of segments on disk ---------------------------------------------------------------------------
class Store:
    """Segments in a folder, and the rows that are live."""

    def __init__(self, folder: Path, rows: Sequence[SegmentRow] = ()) -> None:
        self.folder = folder
        self.rows = tuple(rows)
        self.io = FileIO()
        self.written_bytes = 0

    def path(self, name: bytes) -> Path:
        """Where a segment lies."""
        return self.folder / f"{name.hex()}.seg"

    def put(self, name: bytes, data: bytes) -> None:
        """Write a segment, unsynced."""
        self.path(name).write_bytes(data)
        self.written_bytes += len(data)

    def index(self) -> Index:
        """A fresh index, as each command makes one; segments are mapped."""
        return Index(self.rows, lambda name: Segment.open(name, self.io.map_read(self.path(name))))

    def commit(self, new: list[Entry], plan: Merge) -> None:
        """What a commit does to the index, and the removal of what it replaced."""
        merged = merge(plan, new, self.index(), self.put)
        rows = merged.apply(self.rows)
        if rows is None:
            raise SystemExit("the rows changed under the benchmark")
        for row in {row.name for row in self.rows} - {row.name for row in rows}:
            self.path(row).unlink()
        self.rows = rows

    @property
    def runs(self) -> int:
        """How many runs there are: probes of a miss."""
        return len({row.run for row in self.rows})

    @property
    def disk_bytes(self) -> int:
        """Bytes of the live segments."""
        return sum(self.path(row.name).stat().st_size for row in self.rows)


# --- 1. the layout -----------------------------------------------------------------------------------------
def bucket_sizes(folder: Path) -> None:
    """Fan-out slots against look-up time, on one segment."""
    usual = segment_module.IDS_PER_BUCKET
    entries = entries_of(0, 150_000)
    hits = random.Random(1).sample([entry.id for entry in entries], LOOKUPS)
    misses = id_stream(0, LOOKUPS, b"absent")
    rows = []
    for least in (1, 2, 4, 8, 16, 32):
        segment_module.IDS_PER_BUCKET = least
        (data,) = build_segments(entries)
        path = folder / "buckets"
        path.write_bytes(data)
        segment = Segment.open(segment_name(data), FileIO().map_read(path))
        slots = (segment.ids_at - 64 - 32 * len(segment.packs)) // 4 - 1
        rows.append((f"{least}–{2 * least}", len(entries) / slots, 4 * slots / len(entries),
                     microseconds(segment.find, hits), microseconds(segment.find, misses)))  # fmt: skip
    segment_module.IDS_PER_BUCKET = usual
    head = ("ids a bucket, aimed at", "real", "bytes per id", "hit µs", "miss µs")
    table("Ids a bucket (one segment of 150,000 ids)", head, rows)


def _ready(start: float, before: int) -> tuple[float, int]:
    return time.perf_counter() - start, memory("VmRSS") - before


def ask_segments(
    folder: Path, rows: Sequence[SegmentRow], hits: list[bytes], misses: list[bytes]
) -> tuple[Any, ...]:
    """Segments as the program reads them."""
    before, start = memory("VmRSS"), time.perf_counter()
    store = Store(folder, rows)
    index = store.index()
    index.find(hits[0])
    ready, _ = _ready(start, before)
    times = (
        microseconds(index.__contains__, hits),
        microseconds(index.find, hits),
        microseconds(index.find, misses),
    )
    return ready, *times, memory("VmRSS") - before, store.disk_bytes


def ask_numpy(
    folder: Path, rows: Sequence[SegmentRow], hits: list[bytes], misses: list[bytes]
) -> tuple[Any, ...]:
    """One sorted 64-bit prefix column in memory, searched with searchsorted; the ids beside it."""
    before, start = memory("VmRSS"), time.perf_counter()
    import numpy as np  # part of what is measured

    store = Store(folder, rows)
    index = store.index()
    columns = [index.segment(row.name) for row in sorted(rows, key=lambda row: row.first)]
    ids = b"".join(segment.data[segment.ids_at : segment.rows_at] for segment in columns)
    prefixes = np.frombuffer(ids, ">u8").reshape(-1, 4)[:, 0].astype(np.uint64)
    search = prefixes.searchsorted

    def ask(id: bytes) -> bool:
        at = int(search(np.uint64(int.from_bytes(id[:8], "big"))))
        return ids[32 * at : 32 * at + 32] == id  # a full look-up would go on where prefixes are equal

    if not ask(hits[0]):
        raise SystemExit("numpy does not find what is there")
    ready, _ = _ready(start, before)
    return (
        ready,
        microseconds(ask, hits),
        "",
        microseconds(ask, misses),
        memory("VmRSS") - before,
        54 * len(prefixes),
    )


def ask_dict(
    folder: Path, rows: Sequence[SegmentRow], hits: list[bytes], misses: list[bytes]
) -> tuple[Any, ...]:
    """Everything in one dictionary."""
    before, start = memory("VmRSS"), time.perf_counter()
    packs: dict[bytes, bytes] = {}
    known = {
        entry.id: entry._replace(pack=packs.setdefault(entry.pack, entry.pack))
        for entry in Store(folder, rows).index().entries()
    }
    ready, _ = _ready(start, before)
    times = (
        microseconds(known.__contains__, hits),
        microseconds(known.get, hits),
        microseconds(known.get, misses),
    )
    return ready, *times, memory("VmRSS") - before, 0


def build_sqlite(folder: Path, rows: Sequence[SegmentRow]) -> None:
    """A table with the id as its key, filled in the order of the ids (the best case)."""
    path = folder / "index.sqlite"
    database = sqlite3.connect(path)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
        "CREATE TABLE packs (number INTEGER PRIMARY KEY, name BLOB);"
        "CREATE TABLE entries (id BLOB PRIMARY KEY, kind, pack, offset, length, depth) WITHOUT ROWID;"
    )
    numbers: dict[bytes, int] = {}
    values = (
        (e.id, e.kind, numbers.setdefault(e.pack, len(numbers)), e.offset, e.length, e.depth)
        for e in Store(folder, sorted(rows, key=lambda row: row.first)).index().entries()
    )
    database.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?)", values)
    database.executemany(
        "INSERT INTO packs VALUES (?,?)", [(number, name) for name, number in numbers.items()]
    )
    database.commit()
    database.close()


def ask_sqlite(
    folder: Path, rows: Sequence[SegmentRow], hits: list[bytes], misses: list[bytes]
) -> tuple[Any, ...]:
    """The table of :func:`build_sqlite`, which another process has filled."""
    path = folder / "index.sqlite"
    before, start = memory("VmRSS"), time.perf_counter()
    database = sqlite3.connect(path)
    question = (
        "SELECT kind, name, offset, length, depth FROM entries JOIN packs ON number = pack WHERE id = ?"
    )

    def find(id: bytes) -> object:
        return database.execute(question, (id,)).fetchone()

    def contains(id: bytes) -> object:
        return database.execute("SELECT 1 FROM entries WHERE id = ?", (id,)).fetchone()

    if find(hits[0]) is None:
        raise SystemExit("sqlite does not find what is there")
    ready, _ = _ready(start, before)
    times = microseconds(contains, hits), microseconds(find, hits), microseconds(find, misses)
    used, size = memory("VmRSS") - before, path.stat().st_size
    inserts = []
    for at in range(5):
        more = [(id, 0, 0, 24, 26, 0) for id in id_stream(at * 10_000, 10_000, b"more")]
        start = time.perf_counter()
        database.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?)", more)
        database.commit()
        inserts.append(time.perf_counter() - start)
    database.close()
    print(f"\nsqlite3: a commit of 10,000 ids, not synced, takes {statistics.median(inserts) * 1e3:.0f} ms "
          f"(median of 5, at most {max(inserts) * 1e3:.0f})", flush=True)  # fmt: skip
    return ready, *times, used, size


def compare(
    store: Store, hits: list[bytes], misses: list[bytes], runs_before: Sequence[tuple[str, Any]]
) -> None:
    """Look-ups in segments and in what they were chosen over, each in a fresh process, same entries."""
    count = sum(row.entries for row in store.rows)
    in_child(build_sqlite, store.folder, store.rows)
    peers = [(f"segments, {store.runs} run after gc", ask_segments), ("numpy searchsorted", ask_numpy),
             ("dict", ask_dict), ("sqlite3", ask_sqlite)]  # fmt: skip
    answers = [
        *runs_before,
        *((name, in_child(ask, store.folder, store.rows, hits, misses)) for name, ask in peers),
    ]
    rows = [
        (name, ready * 1e3, known, hit, miss, mib(used), disk / count if disk else "none")
        for name, (ready, known, hit, miss, used, disk) in answers
    ]
    head = ("what", "ready ms", "known? µs", "hit µs", "miss µs", f"MiB after {len(hits)} hits and misses",
            "disk bytes per id")  # fmt: skip
    table(f"Look-up among {count:,} ids", head, rows)


# --- 2. the merging policy, on sizes alone -----------------------------------------------------------------
def _tiered(rows: list[SegmentRow], new: int, width: int, most: int) -> list[SegmentRow]:
    """The policy not taken: merge when so many runs have reached one size class."""
    taken: list[SegmentRow] = []
    total = new
    while True:
        level = int(math.log(total, width) + 1e-9)
        alike = [
            row for row in rows if row not in taken and int(math.log(row.entries, width) + 1e-9) <= level
        ]
        gathered = total + sum(row.entries for row in alike)
        if len(alike) < width - 1 or gathered > most:
            return taken
        taken += alike
        total = gathered


def policies(ids: int, commits: int) -> None:
    """Write amplification, runs and spikes of each policy; the plans are those of the real code."""
    usual = index_module.GROWTH, index_module.COMMIT_ENTRIES
    unlimited = 1 << 60
    limits = (unlimited, 700_000, 1_400_000, 2_800_000, 5_600_000)
    choices = [("geometric", growth, most) for growth in (2, 4, 8) for most in limits]
    choices += [("tiered", width, unlimited) for width in (2, 4, 8)]
    for shape in ("equal", "uneven", "tiny", "import"):
        sizes = commit_sizes(shape, ids, commits)
        rows = []
        for policy, factor, most in choices:
            if shape in ("tiny", "import") and most != unlimited:
                continue  # what is merged never comes near a limit
            index_module.GROWTH, index_module.COMMIT_ENTRIES = factor, most
            live: list[SegmentRow] = []
            written, runs = [], []
            for at, new in enumerate(sizes):
                taken = (
                    list(plan_merge(live, new).replaced)
                    if policy == "geometric"
                    else _tiered(live, new, factor, most)
                )
                total = new + sum(row.entries for row in taken)
                name = at.to_bytes(32, "big")
                live = [
                    SegmentRow(name, at, total, bytes(8), bytes(8)),
                    *(row for row in live if row not in taken),
                ]
                written.append(total)
                runs.append(len(live))
            limit = "none" if most == unlimited else f"{most:,}"
            rows.append((policy, factor, limit, sum(written) / sum(sizes),
                         statistics.mean(runs), max(runs), quantile(written, 0.5), quantile(written, 0.99),
                         max(written)))  # fmt: skip
        head = ("policy", "factor", "limit", "written ÷ new", "runs, mean", "most", "entries, median", "p99",
                "most")  # fmt: skip
        table(f"Policies: {len(sizes):,} commits, {shape}, {sum(sizes):,} ids", head, rows)
    index_module.GROWTH, index_module.COMMIT_ENTRIES = usual


# --- 3. the real thing -------------------------------------------------------------------------------------
def history(folder: Path, ids: int, commits: int) -> tuple[Any, ...]:
    """Commit after commit through the real code; returns the rows left and the tables' numbers."""
    store = Store(folder)
    store.commit(entries_of(1 << 40, 20_000), Merge(()))  # imports numpy and warms up
    store.commit(entries_of(1 << 41, 10), plan_full_merge(store.rows))
    store = Store(folder)
    seconds, written, runs, peaks, looks = [], [], [], [], []
    start = 0
    each = ids // commits
    for at in range(commits):
        new = entries_of(start, each)
        start += each
        before = store.written_bytes
        reset_peak()
        base, began = memory("VmRSS"), time.perf_counter()
        store.commit(new, plan_merge(store.rows, len(new)))
        seconds.append(time.perf_counter() - began)
        peaks.append(memory("VmHWM") - base)
        written.append(store.written_bytes - before)
        runs.append(store.runs)
        if at % max(1, commits // 20) == commits // 40:
            index = store.index()
            misses = id_stream(0, 5000, b"absent")
            index.find(misses[0])
            looks.append((store.runs, microseconds(index.find, misses)))
    return store.rows, start, seconds, written, runs, peaks, looks


def small_commits(
    folder: Path, rows: Sequence[SegmentRow]
) -> tuple[list[float], list[int], tuple[SegmentRow, ...]]:
    """Five ids a commit, into a store that has many."""
    store = Store(folder, rows)
    seconds, written = [], []
    for at in range(500):
        new = entries_of((1 << 42) + at * 5, 5)
        before, began = store.written_bytes, time.perf_counter()
        store.commit(new, plan_merge(store.rows, 5, light=True))
        seconds.append(time.perf_counter() - began)
        written.append(store.written_bytes - before)
    return seconds, written, store.rows


def collect(folder: Path, rows: Sequence[SegmentRow]) -> tuple[Any, ...]:
    """What gc does: everything into one run."""
    import numpy  # noqa: F401  (its memory is not the merge's)

    store = Store(folder, rows)
    reset_peak()
    base, began = memory("VmRSS"), time.perf_counter()
    store.commit([], plan_full_merge(store.rows))
    return store.rows, time.perf_counter() - began, memory("VmHWM") - base, store.written_bytes


def run(folder: Path, ids: int, commits: int) -> None:
    """History, light commits, gc, then the look-ups."""
    rows, count, seconds, written, runs, peaks, looks = in_child(history, folder, ids, commits)
    milliseconds = [value * 1e3 for value in seconds]
    head = ("per commit", "median", "p90", "p99", "most", "total")

    def line(name: str, values: Sequence[float], total: object, scale: float = 1.0) -> tuple[object, ...]:
        return (name, *(f"{quantile(values, q) / scale:.3g}" for q in (0.5, 0.9, 0.99, 1)), total)

    table(
        f"{commits:,} commits of {ids // commits:,} ids: plan, merge, write (not synced)",
        head,
        [
            line("milliseconds", milliseconds, f"{sum(seconds):.1f} s"),
            line("KiB written", written, f"{mib(sum(written))} MiB", 1024),
            line("runs afterwards", runs, f"mean {statistics.mean(runs):.2f}"),
            line("memory above what was there, MiB", peaks, "", 1 << 20),
        ],
    )
    store = Store(folder, rows)
    print(f"\nAt the end: {len(rows)} segments in {store.runs} runs, {mib(store.disk_bytes)} MiB, "
          f"{store.disk_bytes / count:.1f} bytes per id; bytes written ÷ bytes kept "
          f"{sum(written) / store.disk_bytes:.2f}")  # fmt: skip
    print("Misses on the way (runs: µs): " + ", ".join(f"{r}: {us:.2f}" for r, us in looks), flush=True)
    chosen = random.Random(1)
    hits = [id_stream(chosen.randrange(count), 1)[0] for _ in range(LOOKUPS)]
    misses = id_stream(0, LOOKUPS, b"absent")
    many = (f"segments, {store.runs} runs before gc", in_child(ask_segments, folder, rows, hits, misses))
    small_seconds, small_written, rows = in_child(small_commits, folder, rows)
    table(
        "500 light commits of 5 ids on top (no numpy)",
        head,
        [
            line("milliseconds", [value * 1e3 for value in small_seconds], f"{sum(small_seconds):.2f} s"),
            line("bytes written", small_written, f"{mib(sum(small_written))} MiB"),
        ],
    )
    rows, took, peak, size = in_child(collect, folder, rows)
    print(f"\ngc merges all into one run of {len(rows)} segments: {took:.1f} s, {mib(size)} MiB written, "
          f"{mib(peak)} MiB of memory above what was there")  # fmt: skip
    began = time.perf_counter()
    damaged = list(Store(folder, rows).index().damage())
    print(f"Verifying every segment: {time.perf_counter() - began:.1f} s, {len(damaged)} damaged", flush=True)
    compare(Store(folder, rows), hits, misses, [many])


def main() -> None:
    """Parse the options and print everything."""
    parser = argparse.ArgumentParser(description="What the index costs.")
    parser.add_argument("--ids", type=int, default=10_000_000)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="200,000 ids in 100 commits")
    parser.add_argument("--folder", type=Path, help="where the segments go (a temporary folder)")
    options = parser.parse_args()
    if options.quick:
        options.ids, options.commits = 200_000, 100
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; "
          f"growth {index_module.GROWTH}, a commit merges at most {index_module.COMMIT_ENTRIES:,} entries, "
          f"{IDS_PER_PACK} ids a pack")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        bucket_sizes(folder)
        policies(options.ids, options.commits)
        run(folder, options.ids, options.commits)


if __name__ == "__main__":
    main()
