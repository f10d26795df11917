"""What a store costs that is far larger than any here: requests, index, root, swaps, money.

    python -m benchmarks.scale [--ids 10000000] [--quick] [--json FILE] [--docs docs]

A store with so many ids is made with the real index and the real merges, on this disk, and asked through a
backend that counts: what publishing a version, pushing, pulling and cloning one ask for, before and after a
collection. The policy of merging then runs at full scale on sizes alone, root is made with as many rows and
refs as it would have, and a small simulation lets writers meet at it. The rest is multiplied from these and
from the assumptions that are printed first. docs/scale.md holds a full run.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.scale_store import Simulated, empty, look_bases_up, negotiate
from benchmarks.scale_swaps import simulate
from mvc.backends.memory import MemoryBackend
from mvc.history.reader import read_commit, read_manifest, read_tree
from mvc.objectid import BlobId, CommitId, ManifestId
from mvc.odb.index import Merged, SegmentRow, plan_merge
from mvc.odb.segment import MAX_BYTES, capacity
from mvc.refs import RefTable, encode_target
from mvc.remotes.filters import Filter
from mvc.root import Root
from mvc.transaction import ATTEMPTS
from mvc.view import View

# --- what is assumed ---------------------------------------------------------------------------------------
STORED_BYTES = 10**15
VERSIONS = 10**6
PIECES = 10**9
CLIENTS = 10**4
REFS = 10**5

NEW_PER_VERSION = PIECES // VERSIONS
PUSHES_A_DAY = 1_000
PULLS_OF_A_VERSION = 10
LOOKS_A_DAY = 24
"""Of each client: fetches that mostly find nothing new."""

LATENCY = 0.03
"""Seconds of a small request, in the median."""

PUT, GET = 5.0 / 1_000_000, 0.4 / 1_000_000
"""Dollars a request; a list price of object storage, taken as an assumption, like the next two."""
STORAGE = 0.023
"""Dollars a GB and month."""
EGRESS = 0.09
"""Dollars a GB that leaves the provider's region."""

DAYS = 30


class Asked(NamedTuple):
    """What one command asked of the bucket."""

    gets: int
    got_bytes: int
    index_gets: int
    index_bytes: int
    puts: int
    put_bytes: int


def asked(requests: Counter[str], count_bytes: Counter[str]) -> Asked:
    """The counters of a backend, added up."""

    def total(counted: Counter[str], how: str, what: str = "") -> int:
        return sum(count for key, count in counted.items() if key.startswith(f"{how} {what}"))

    return Asked(
        total(requests, "get"),
        total(count_bytes, "get"),
        total(requests, "get", "segments"),
        total(count_bytes, "get", "segments"),
        total(requests, "put"),
        total(count_bytes, "put"),
    )


class State(NamedTuple):
    """An index as it was measured."""

    ids: int
    segments: int
    runs: int
    run_entries: list[int]
    index_bytes: int
    root_bytes: int
    locator_bytes: int
    asked: dict[str, Asked]


HEADS = "a push: what is new"
BEHIND = "by who lacks the heads"
ALONE = "with no version in common"
NEW_BASES = "a push: bases, of the last version"
OLD_BASES = "bases, of many old ones"
PULL = "negotiate a pull"
WAYS = ("publish", HEADS, BEHIND, ALONE, NEW_BASES, OLD_BASES, PULL, "clone --depth 1")


def measure(simulated: Simulated, rounds: int) -> State:
    """Publish some versions, and count what the last of them asked for."""
    backend = simulated.backend
    found: dict[str, Asked] = {}

    def count(name: str, action: Callable[..., object], *some: Any, **more: Any) -> None:
        backend.forget()
        action(*some, **more)
        found[name] = asked(backend.requests, backend.bytes)

    elsewhere = [CommitId.of(b"what somebody else pushed")]
    simulated.commit(NEW_PER_VERSION + 100, shared=100)
    for _ in range(rounds):
        parent, before = simulated.versions[-1], simulated.near()
        # each has nothing in memory
        cold = [simulated.far() for _ in range(4)]
        count("publish", simulated.commit, NEW_PER_VERSION + 100, shared=100)
        tip, after = simulated.versions[-1], simulated.near()
        count(HEADS, negotiate, after, cold[0].objects, tip, heads=[parent])
        count(BEHIND, negotiate, after, cold[1].objects, tip, heads=elsewhere)
        count(NEW_BASES, look_bases_up, cold[2].objects, _pieces(before, parent)[-NEW_PER_VERSION:])
        count(OLD_BASES, look_bases_up, cold[3].objects, simulated.old(NEW_PER_VERSION))
        count(PULL, negotiate, simulated.far(), before.objects, tip)
        count("clone --depth 1", negotiate, simulated.far(), empty(), tip, Filter(depth=1))
        backend.sweep()
    view = simulated.near()
    rows = view.root.segments
    runs = Counter[int]()
    for row in rows:
        runs[row.run] += row.entries
    state = State(
        sum(runs.values()),
        len(rows),
        len(runs),
        sorted(runs.values()),
        sum(size for _key, size in backend.inner.list("segments/")),
        len(view.raw),
        simulated.locator_bytes(simulated.versions[-1]),
        found,
    )
    target = simulated.far().objects
    alone = simulated.commit(NEW_PER_VERSION + 100, shared=100, alone=True)
    count(ALONE, negotiate, simulated.near(), target, alone, heads=elsewhere)
    backend.sweep()
    return state


def _pieces(view: View, commit: CommitId) -> list[BlobId]:
    """The pieces of the one file that a version has."""
    (entry,) = read_tree(view.objects, read_commit(view.objects, commit).tree).entries
    if not isinstance(entry.id, ManifestId):
        raise SystemExit("a version of the benchmark has one file")
    return [part.blob for part in read_manifest(view.objects, entry.id).parts if part.blob is not None]


# --- merging, on sizes alone -------------------------------------------------------------------------------
class Merging(NamedTuple):
    """What the policy does with so many equal commits."""

    written: float
    runs: int
    most_entries: int


def merging(commits: int, each: int) -> Merging:
    """Let the policy plan every merge of a store's life, without a collection."""
    small: tuple[SegmentRow, ...] = ()
    full, written, most = 0, 0, 0
    largest = 0
    for number in range(commits):
        plan = plan_merge(small, each)
        total = each + sum(row.entries for row in plan.replaced)
        written += total
        most = max(most, total)
        row = SegmentRow(number.to_bytes(32, "big"), 0, total, bytes(8), b"\xff" * 8)
        small = Merged(plan.replaced, (row,)).apply(small) or ()
        largest = max(largest, total)
        # a run so large that no commit may take it along any more is only counted
        kept = tuple(row for row in small if row.entries < _FULL)
        full += len(small) - len(kept)
        small = kept
    return Merging(written / (commits * each), full + len(small), most)


_FULL = 2_100_000
"""Entries from which on a run stays: three quarters of what one commit merges at most."""


# --- root --------------------------------------------------------------------------------------------------
def root_bytes(segments: int, refs: int) -> int:
    """Size of a root with so many segments and refs, made as the program makes it."""
    backend = MemoryBackend()
    target = encode_target(CommitId.of(b""))
    named = {f"refs/heads/team-{number % 100:02}/experiment-{number:06}": target for number in range(refs)}
    pieces, _ = RefTable(Root().refs, backend).changed(dict(named))
    rows = tuple(
        SegmentRow(number.to_bytes(32, "big"), number // 18, 160_000, number.to_bytes(8, "big"), b"\xff" * 8)
        for number in range(segments)
    )
    return len(Root(refs=pieces, segments=rows).to_bytes())


# --- the page ----------------------------------------------------------------------------------------------
def size(count: float) -> str:
    """Bytes for a table."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def dollars(amount: float) -> str:
    """Money for a table."""
    return f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def assumptions(page: report.Page) -> None:
    """Print what is taken for granted."""
    rows = [
        ["stored", size(STORED_BYTES)],
        ["versions", f"{VERSIONS:,}"],
        ["pieces (records)", f"{PIECES:,}, {NEW_PER_VERSION:,} new ones a version"],
        ["refs", f"{REFS:,}"],
        ["clients", f"{CLIENTS:,}, each looks {LOOKS_A_DAY} times a day"],
        ["pushes a day", f"{PUSHES_A_DAY:,}, each version pulled {PULLS_OF_A_VERSION} times"],
        ["a small request", f"{LATENCY * 1000:.0f} ms"],
        ["1,000 writing requests", f"${PUT * 1000:.3f}"],
        ["1,000 reading requests", f"${GET * 1000:.4f}"],
        ["a GB for a month", f"${STORAGE:.3f}"],
        ["a GB out of the region", f"${EGRESS:.3f}"],
    ]
    page.say("### What is assumed\n")
    page.say(report.table(["what", "how much"], rows))


def measured(page: report.Page, states: dict[str, State]) -> None:
    """Print what was counted."""
    page.say("\n### What was measured\n")
    rows = [
        [
            name,
            f"{state.ids:,}",
            f"{state.segments:,}",
            f"{state.runs}",
            size(state.index_bytes),
            f"{state.index_bytes / state.ids:.1f}",
            size(state.root_bytes),
            size(state.locator_bytes),
        ]
        for name, state in states.items()
    ]
    heads = ["state", "ids", "segments", "runs", "index", "bytes an id", "root", "locator"]
    page.say(report.table(heads, rows))
    rows = [
        [
            f"{way}, {name}",
            f"{one.gets:,}",
            size(one.got_bytes),
            f"{one.index_gets:,}",
            size(one.index_bytes),
            f"{one.puts:,}",
            size(one.put_bytes),
        ]
        for way in WAYS
        for name, one in ((name, state.asked[way]) for name, state in states.items())
    ]
    page.say(
        f"\nA version of {NEW_PER_VERSION + 100:,} pieces, of which {NEW_PER_VERSION:,} are new, by a client "
        "that has nothing of the bucket's index in memory; pieces themselves are not counted:\n"
    )
    heads = ["what", "GETs", "bytes", "of the index", "bytes", "PUTs", "bytes"]
    page.say(report.table(heads, rows))


class Probes(NamedTuple):
    """What looking one id up in one run takes of requests and bytes, as it was measured."""

    requests: float
    bytes: float

    @classmethod
    def of(cls, state: State) -> Probes:
        """From what a push asked about old pieces that its own lean on: each in one run after the other, the
        smaller first, until it was found."""
        asked, probes = state.asked[OLD_BASES], NEW_PER_VERSION * runs_asked(state.run_entries)
        return cls(asked.index_gets / probes, asked.index_bytes / probes)

    def push(self, runs: int) -> tuple[float, float]:
        """Requests and bytes of these look-ups where there are so many runs of equal size."""
        probes = NEW_PER_VERSION * runs_asked([1] * runs)
        return probes * self.requests, probes * self.bytes


def runs_asked(entries: list[int]) -> float:
    """Of runs with so many entries, how many are asked in the mean for an id that is in one of them."""
    ordered = sorted(entries)
    return sum(number * count for number, count in enumerate(ordered, 1)) / sum(ordered)


def in_merged(segments: int) -> tuple[float, float]:
    """Requests and bytes of looking as many ids up as a version has new pieces, all over an index that is
    merged into so many full segments: two requests for each id, and for the head of each segment that has
    one of them, in which nearly every entry's pack has its name."""
    touched = segments * (1 - (1 - 1 / segments) ** NEW_PER_VERSION)
    head = MAX_BYTES - ROW_BYTES * capacity(MAX_BYTES, 0, MAX_BYTES)
    return 2 * NEW_PER_VERSION + 2 * touched, touched * head


ROW_BYTES = 46
"""Of an entry in a segment, next to its share of the fan-out table and of the names of packs."""


def at_scale(page: report.Page, states: dict[str, State], life: Merging, commits: int) -> dict[str, float]:
    """Print what follows for the whole store; returns it."""
    before = next(iter(states.values()))
    # where ids of all packs are merged, each names a pack that hardly another one of its segment names
    each = capacity(MAX_BYTES, 0, MAX_BYTES)
    segments = round(PIECES / each)
    index = segments * MAX_BYTES
    root = root_bytes(segments, REFS)
    bare = root_bytes(0, REFS)
    locator = 34 * segments + 50
    cold, cold_bytes = Probes.of(before).push(life.runs)
    merged, merged_bytes = in_merged(segments)
    page.say(f"\n### The same for {PIECES:,} pieces\n")
    rows = [
        ["runs without a collection", f"{life.runs:,}", f"the policy, {commits:,} commits on sizes alone"],
        ["entries written ÷ new", f"{life.written:.2f}", f"at most {life.most_entries:,} by one commit"],
        ["index, all merged", size(index), f"{index / PIECES:.0f} bytes an id: 46, and mostly a pack's name"],
        ["index, not merged", size(PIECES * before.index_bytes / before.ids), "bytes an id as measured"],
        ["segments, all merged", f"{segments:,}", f"{each:,} entries in each"],
        ["root", size(root), f"made with {segments:,} rows and {REFS:,} refs ({size(bare)})"],
        ["a locator that names all segments", size(locator), f"all of them {size(locator * VERSIONS)}"],
        [
            "look-ups of what it leans on, not merged",
            f"{cold:,.0f} requests",
            f"{size(cold_bytes)}; {AS_MEASURED}",
        ],
        ["the same, all merged", f"{merged:,.0f} requests", f"{size(merged_bytes)}: heads of segments"],
        ["marks of a collection", size(PIECES), "a byte for each row, in memory"],
    ]
    page.say(report.table(["what", "how much", "from"], rows))
    return {
        "segments": segments,
        "index": index,
        "root": root,
        "push requests": cold,
        "push bytes": cold_bytes,
        "push requests, merged": merged,
        "push bytes, merged": merged_bytes,
    }


AS_MEASURED = "so many a run and old piece as measured"


def swaps(page: report.Page, root: float, seconds: float) -> list[tuple[float, int, Any]]:
    """Print what happens at the root when many write."""
    page.say("\n### Many writers at one root\n")
    rows, found = [], []
    for root_size in (2_000, round(root)):
        for arrivals in (1, 3, 6, 10, 20):
            one = simulate(arrivals, seconds, LATENCY, root_size, 4, ATTEMPTS)
            found.append((arrivals, root_size, one._asdict()))
            rows.append(
                [
                    f"{size(root_size)}, {arrivals} a second",
                    f"{one.per_second:.1f}",
                    f"{one.tries:.1f}",
                    f"{one.most}",
                    f"{one.median:.2f}",
                    f"{one.slowest:.1f}",
                    f"{one.gave_up}",
                ]
            )
    heads = ["root, arrivals", "commits a second", "tries", "most", "median s", "p99 s", "gave up"]
    page.say(report.table(heads, rows))
    return found


def money(page: report.Page, scale: dict[str, float], state: State) -> dict[str, float]:
    """Print what a month costs."""
    publish, push, pull = (state.asked[way] for way in ("publish", HEADS, PULL))
    packs = NEW_PER_VERSION * (STORED_BYTES / PIECES) / (32 << 20)
    pushes = PUSHES_A_DAY * DAYS
    looks = CLIENTS * LOOKS_A_DAY * DAYS
    version = NEW_PER_VERSION * (STORED_BYTES / PIECES)
    bills = {
        "the data": STORED_BYTES / 1e9 * STORAGE,
        "the index": scale["index"] / 1e9 * STORAGE,
        f"{pushes:,} pushes: packs, segments, roots": pushes * (packs + publish.puts) * PUT,
        "what is new in them": pushes * push.gets * GET,
        "what they lean on, all merged": pushes * scale["push requests, merged"] * GET,
        "what they lean on, if that is old, not merged": pushes * scale["push requests"] * GET,
        f"{looks:,} looks that find nothing new": looks * GET,
        f"{pushes * PULLS_OF_A_VERSION:,} pulls": pushes * PULLS_OF_A_VERSION * (packs + pull.gets) * GET,
        "a collection's merge of the whole index": scale["segments"] * (GET + PUT),
        "egress of pulls, if all clients are outside": pushes * PULLS_OF_A_VERSION * version / 1e9 * EGRESS,
        "egress of the looks' roots, likewise": looks * scale["root"] / 1e9 * EGRESS,
        "egress of those look-ups, likewise, not merged": pushes * scale["push bytes"] / 1e9 * EGRESS,
    }
    page.say("\n### A month's bill\n")
    page.say(report.table(["what", "dollars"], [[name, dollars(bill)] for name, bill in bills.items()]))
    return bills


def limits(page: report.Page, states: dict[str, State], life: Merging) -> None:
    """Print which bound is met first, in order."""
    before = next(iter(states.values()))
    row = (root_bytes(10_000, 0) - root_bytes(0, 0)) / 10_000
    each = capacity(MAX_BYTES, 0, MAX_BYTES)
    one = NEW_PER_VERSION * Probes.of(before).bytes
    a_run = PIECES / life.runs  # where they are many, most are of about this size
    heads = next(number for number in itertools.count(1) if in_merged(number)[1] > 1e9)
    bounds = [
        ("many old pieces are looked up: 1 GB, all merged", heads * each),
        ("the same, not merged", (2e9 / one - 1) * a_run),
        ("the same: 10 GB, not merged", (2e10 / one - 1) * a_run),
        ("a locator that names all segments is 64 kB", 64_000 / 34 * each),
        ("root is 1 MB", 1e6 / row * each),
        ("the marks of a collection take 4 GB", 4e9),
        ("the index is 1 TB", 1e12 / (ROW_BYTES + 33)),
    ]
    page.say("\n### What is met first\n")
    rows = [
        [what, f"{ids:.1e}", size(ids * STORED_BYTES / PIECES)]
        for what, ids in sorted(bounds, key=lambda bound: bound[1])
    ]
    page.say(report.table(["bound", "pieces", "stored"], rows))


def main() -> None:
    """Measure, multiply, print."""
    parser = report.parser(__doc__)
    parser.add_argument("--ids", type=int, default=10_000_000, help="pieces in the store that is made")
    parser.add_argument("--kept", type=Path, help="what was counted in an earlier run (its --json)")
    options = parser.parse_args()
    if options.quick:
        options.ids = min(options.ids, 200_000)
    page = ScalePage("scale", options)
    commits = max(10, options.ids // 100_000)
    options.kept = options.kept and str(options.kept)
    states, entries, built = kept(Path(options.kept)) if options.kept else counted(options.ids, commits)
    assumptions(page)
    measured(page, states)
    page.say(
        f"\n{options.ids:,} ids by {commits:,} commits: {entries:,} entries merged and written in "
        f"{built:.0f} s, {entries / built:,.0f} a second."
    )
    life_commits = VERSIONS // 100 if options.quick else VERSIONS
    life = merging(life_commits, NEW_PER_VERSION)
    scale = at_scale(page, states, life, life_commits)
    met = swaps(page, scale["root"], 20 if options.quick else 120)
    bills = money(page, scale, next(iter(states.values())))
    limits(page, states, life)
    page.finish(
        {
            "built": [entries, built],
            "states": {name: _plain(state) for name, state in states.items()},
            "life": life._asdict(),
            "scale": scale,
            "swaps": met,
            "bills": bills,
        }
    )


def counted(ids: int, commits: int) -> tuple[dict[str, State], int, float]:
    """Make the store and ask it; also how many entries were written for it, and in how many seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mvc-scale-") as folder:
        simulated = Simulated(Path(folder) / "bucket", ids, commits)
        built = time.perf_counter() - started
        states = {"before a collection": measure(simulated, 1)}
        simulated.collect()
        simulated.backend.sweep()
        states["after one"] = measure(simulated, 1)
    return states, simulated.written_entries, built


def kept(path: Path) -> tuple[dict[str, State], int, float]:
    """The same from an earlier run."""
    found = json.loads(path.read_text())["measured"]
    states = {}
    for name, state in found["states"].items():
        asked_of = {way: Asked(**one) for way, one in state.pop("asked").items()}
        states[name] = State(**state, asked=asked_of)
    return states, *found["built"]


def _plain(state: State) -> dict[str, Any]:
    return {**state._asdict(), "asked": {way: one._asdict() for way, one in state.asked.items()}}


class ScalePage(report.Page):
    """The page whose section stands in docs/scale.md."""

    def _document(self, docs: Path) -> None:
        path = docs / "scale.md"
        path.write_text(report.replaced(path.read_text(), self.name, "\n".join(self._said).strip()))


if __name__ == "__main__":
    main()
