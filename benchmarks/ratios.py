"""How small: stored bytes of each class of version, next to peers, bounds and the goals.

    python -m benchmarks.ratios [--quick] [--data FOLDER] [--corpus FOLDER] [--peers-python PYTHON]
        [--small-corpus] [--only TEXT] [--json FILE]

``FOLDER`` of ``--data`` holds ``checkpoints`` and ``weights`` with real files; a corpus is trained besides
(:mod:`benchmarks.corpus`). Every class goes through the real path: its bases, then the target, are committed
into a fresh repository. Its ratio is the target's bytes ÷ all records that its commit added, those of the
manifest, the tree and the commit too. Peers get whole files and no container; those with a base get the
first of the bases that mvc gets. Ratios are the same in every run, so nothing is repeated. ``--peers-python``
names the Python whose zipnn and blosc2 are used, if not this one's. A peer that is missing, and data that is
not there, is a row that says so.

``--quick`` trains a smaller model and leaves out zstd's patches and level 19, and the histories.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import zstandard

from benchmarks import coders, corpus, machine, ratio_cases, ratio_table
from benchmarks.coders import File, Pairs, Peer
from benchmarks.corpus_runs import FULL, QUICK, parameters
from benchmarks.ratio_cases import Case, Folder, move_goal
from benchmarks.ratio_sizes import Sizes
from benchmarks.ratio_store import Store
from benchmarks.tensor_files import Bits, safetensors

PEERS = ("zipnn", "blosc2")
CHAINS = {
    "rot": ["rot", "planes"],
    "residual": ["residual", "planes"],
    "ig": ["ig", "planes"],
    "tokens": ["tokens"],
}
BOUNDS = ("alone", "residual", "grouped", "changes")
Row = dict[str, object]
_file = lru_cache(12)(File)


class Bench:
    """What every measurement needs: peers, sizes that are known already, and how much to do."""

    def __init__(self, peers: dict[str, Peer], sizes: Sizes, *, quick: bool) -> None:
        self.peers = peers
        self.sizes = sizes
        self.quick = quick

    def alone(self, file: File, *, highest: bool = False) -> dict[str, int | None]:
        """Sizes of a file under what knows no base; with zstd's highest level where that is asked for."""
        out: dict[str, int | None] = {}
        for level in (3, 9, 19) if highest and not self.quick else (3, 9):
            out[f"zstd -{level}"] = self._zstd(file, level)
        for name, peer in self.peers.items():
            key = f"{name} {peer.version}"
            out[name] = (
                None
                if peer.missing is not None
                else self.sizes.get(key, [file.data], lambda peer=peer: peer.file_size(file))
            )
        return out

    def _zstd(self, file: File, level: int) -> int | None:
        key = f"zstd {zstandard.ZSTD_VERSION} -{level}"
        return self.sizes.get(key, [file.data], lambda: coders.zstd(file.data, level))

    def with_base(self, file: File, base: File | None, pairs: Pairs) -> dict[str, int | None]:
        """Sizes of a file under what knows a base; without one as they are alone."""
        out: dict[str, int | None] = {}
        if not self.quick:
            if base is None:
                out["zstd -9 --patch-from"] = self._zstd(file, 9)
            else:
                key = f"zstd {zstandard.ZSTD_VERSION} -9 --patch-from"
                out["zstd -9 --patch-from"] = self.sizes.get(
                    key, [file.data, base.data], lambda: coders.zstd(file.data, 9, base.data)
                )
        out["XOR planes, zstd -3"] = coders.xor_planes(file, pairs)
        return out


def measure_case(case: Case, bench: Bench) -> Row:
    """One class of version."""
    file = _file(case.target)
    bases = [_file(path) for path in case.bases]
    pairs = file.beside(bases)
    raw = len(file.data)
    places = {path: f"base-{number}{path.suffix}" for number, path in enumerate(case.bases)}
    if case.over:
        places[case.bases[0]] = f"model{case.target.suffix}"
    with Store() as store:
        for path in reversed(case.bases):  # the first base last, as the nearest version
            store.commit([(places[path], path)])
        bases_store = store.bytes()
        grown = store.commit([(f"model{case.target.suffix}", case.target)])
        best: int | str | None = None
        if case.goal is not None and case.goal.best is not None:
            best = store.collect("--best")
            best = best - bases_store if isinstance(best, int) else best
    # level 19 gains next to nothing on weights, and takes longer than all the rest of a run
    sizes = bench.alone(file, highest=not bases) | bench.with_base(file, bases[0] if bases else None, pairs)
    sizes |= {f"codec {name}": coders.forced(file, pairs, chain) for name, chain in CHAINS.items()}
    sizes |= {f"bound {which}": _whole(coders.bound(file, pairs, which)) for which in BOUNDS}
    row: Row = {
        "source": case.source,
        "family": case.family,
        "title": case.title,
        "dtype": max(file.streams, key=lambda dtype: len(file.streams[dtype]), default=None),
        "raw": raw,
        "records": grown.records,
        "blobs": grown.blobs,
        "store": grown.store,
        "move": coders.moved(pairs),
        "unchanged": coders.unchanged(pairs),
        "sizes": sizes,
        "grown after gc --best": best,  # over what the bases took before; words if there is no such command
    }
    if case.goal is not None and case.goal.best is not None:
        row["stretch"] = case.goal.best
    return row | _verdict(case, row, file, bases)


def _whole(size: float | None) -> int | None:
    return None if size is None else round(size)


def _verdict(case: Case, row: Row, file: File, bases: list[File]) -> Row:
    """The goal in words, what was reached, and whether that is enough."""
    goal, raw, records = case.goal, row["raw"], max(1, row["records"])  # type: ignore[type-var]
    if goal is None:
        return {}
    if goal.of in ("ratio", "move"):
        least = goal.value if goal.of == "ratio" else move_goal(row["move"] or 0.0)
        if least is None:
            return {}
        return _reached(f"≥ {least:.4g}", raw / records, raw / records >= least)
    if goal.of == "bound":
        if (row["unchanged"] or 0.0) <= 0.99:
            return {}
        share = row["sizes"]["bound changes"] / records
        return _reached(f"≥ {goal.value} of the bound", share, share >= goal.value)
    if goal.of == "share":
        share = row["records"] / raw
        return _reached(f"≤ {goal.value:.0%} new", share, share <= goal.value)
    own = _cost_of_new_rows(file, bases[0])
    return _reached(f"≤ {goal.value} × the rows alone", records / own, records / own <= goal.value)


def _reached(goal: str, reached: float, met: bool) -> Row:
    return {"goal": goal, "reached": reached, "met": bool(met)}


def _cost_of_new_rows(file: File, base: File) -> int:
    """Records of a commit that brings nothing but the rows that the base has not."""
    new: dict[str, Bits] = {}
    for name, tensor in file.tensors.items():
        other = base.tensors.get(name)
        if other is None or other.shape == tensor.shape:
            continue
        known = {row.tobytes() for row in other.elements.reshape(other.shape)}
        rows = [row for row in tensor.elements.reshape(tensor.shape) if row.tobytes() not in known]
        new[name] = Bits(tensor.dtype, np.array(rows))
    with tempfile.TemporaryDirectory() as place, Store() as store:
        path = Path(place) / "rows.safetensors"
        path.write_bytes(safetensors(new))
        return store.commit([("rows.safetensors", path)]).records


def measure_folder(folder: Folder, bench: Bench) -> Row:
    """Files as versions: one after the other, and all in one commit; peers file by file, those with a base
    with the earlier file that shares most."""
    placed = [(path.relative_to(folder.root).as_posix(), path) for path in folder.files]
    raw = sum(path.stat().st_size for path in folder.files)
    with Store() as store:
        start = store.bytes()
        growths = {path: store.commit([(name, path)]) for name, path in placed}
        stored = store.bytes() - start
        best = store.collect("--best")
    with Store() as store:
        at_once = store.commit(placed)
    peers: dict[str, int | None] = {}
    for number, path in enumerate(folder.files):
        file = _file(path)
        base = _nearest(file, folder.files[:number])
        pairs = file.beside([] if base is None else [base])
        for name, size in (bench.alone(file) | bench.with_base(file, base, pairs)).items():
            if bench.peers[name].missing is not None if name in bench.peers else False:
                peers[name] = None
            else:  # what a peer cannot code it stores
                peers[name] = (peers.get(name) or 0) + min(len(file.data), size or len(file.data))
    known = [size for size in peers.values() if size]
    share = stored / raw
    row: Row = {
        "title": folder.title,
        "files": len(placed),
        "raw": raw,
        "store": stored,
        "records": sum(growth.records for growth in growths.values()),
        "store at once": at_once.store,
        "store after gc --best": best,
        "peers": peers,
        "of the best peer": stored / min(known) if known else None,
        "apart": {
            name: {
                "raw": sum(growths[path].raw for path in paths),
                "records": sum(growths[path].records for path in paths),
            }
            for name, paths in folder.apart.items()
        },
        "each": {name: [growths[path].raw, growths[path].records] for name, path in placed},
    }
    if folder.goal is not None:
        wanted = f"≤ {folder.goal}" + ("" if folder.stretch is None else f" (stretch {folder.stretch})")
        row |= _reached(wanted, share, share <= folder.goal)
        row["below every peer by a quarter"] = bool(known and stored <= 0.75 * min(known))
    return row


def _nearest(file: File, earlier: Iterable[Path]) -> File | None:
    """The file that shares most bytes of tensors by name, type and shape; the latest of equals."""
    best, most = None, 0
    for path in earlier:
        other = _tensors_of(path)
        common = sum(
            len(tensor.data)
            for name, tensor in file.tensors.items()
            if other.get(name) == (tensor.dtype, tensor.shape)
        )
        if common and common >= most:
            best, most = path, common
    return None if best is None else _file(best)


@lru_cache(200)
def _tensors_of(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in File(path).tensors.items()}


def histories(weights: Path, bench: Bench) -> Iterable[Row]:
    """Each real history, its versions committed one after the other in place of each other."""
    from benchmarks.histories import versions

    for source in sorted(weights.glob("hist_*")):
        with Store() as store:
            start = store.bytes()
            raw = 0
            peers: dict[str, int | None] = {}
            before: dict[str, Path] = {}
            for files in versions(source):
                store.commit(list(files.items()))
                for name, path in files.items():
                    file = _file(path)
                    base = _file(before[name]) if name in before else None
                    pairs = file.beside([] if base is None else [base])
                    raw += len(file.data)
                    for peer, size in (bench.alone(file) | bench.with_base(file, base, pairs)).items():
                        if peer in bench.peers and bench.peers[peer].missing is not None:
                            peers[peer] = None
                        else:
                            peers[peer] = (peers.get(peer) or 0) + min(len(file.data), size or len(file.data))
                    before[name] = path
            stored = store.bytes() - start
        known = [size for size in peers.values() if size]
        yield {
            "title": source.name.removeprefix("hist_"),
            "raw": raw,
            "store": stored,
            "peers": peers,
            "of the best peer": stored / min(known) if known else None,
        }


def run(options: argparse.Namespace, say: Callable[[str], None]) -> Row:
    """Everything; kept as JSON after each row, so that a run which is ended has not been in vain."""
    peers = {name: Peer(name, options.peers_python) for name in PEERS}
    sizes = Sizes(options.corpus / "sizes.json")
    bench = Bench(peers, sizes, quick=options.quick)
    plan = QUICK if options.quick or options.small_corpus else FULL
    files, runs = corpus.corpus(options.corpus, plan, stand_in=options.stand_in, say=say)
    out: Row = {
        "machine": machine.describe(Path(tempfile.gettempdir())),
        "quick": options.quick,
        "corpus": {
            "maker": runs.maker,
            "parameters": parameters(plan),
            "losses": runs.losses,
            "missing": runs.missing,
        },
        "peers": {name: peer.version or f"missing: {peer.missing}" for name, peer in peers.items()}
        | {"zstandard": version("zstandard")},
        "missing": {},
        "cases": [],
        "folders": [],
        "histories": [],
        "complete": False,
    }

    def keep() -> None:
        sizes.save()
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")

    with tempfile.TemporaryDirectory(prefix="mvc-ratios-") as made:
        cases: list[Case] = []
        folders: list[Folder] = []
        checkpoints, weights = (options.data / name for name in ("checkpoints", "weights"))
        if checkpoints.is_dir():
            cases += ratio_cases.shared_cases(checkpoints, Path(made))
            folders += ratio_cases.shared_folders(checkpoints)
        else:
            out["missing"]["checkpoints"] = "no folder of that name under --data"
        cases += ratio_cases.corpus_cases(files, runs)
        folders.append(ratio_cases.corpus_folder(files))
        for case in cases:
            if options.only in f"{case.source} {case.family} {case.title}":
                row = measure_case(case, bench)
                out["cases"].append(row)
                say(ratio_table.case_line(row))
                keep()
        for folder in folders:
            if options.only in folder.title:
                out["folders"].append(measure_folder(folder, bench))
                say(ratio_table.folder_line(out["folders"][-1]))
                keep()
    if not weights.is_dir():
        out["missing"]["weights"] = "no folder of that name under --data"
    elif options.quick:
        out["missing"]["histories"] = "left out by --quick"
    elif options.only in "histories":
        for row in histories(weights, bench):
            out["histories"].append(row)
            say(ratio_table.folder_line(row))
            keep()
    for peer in peers.values():
        peer.close()
    out["complete"] = not options.only
    keep()
    return out


def main() -> None:
    """Print the tables, and keep them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stand-in", action="store_true", help="do not train, even where torch is installed")
    parser.add_argument("--small-corpus", action="store_true", help="the model that --quick trains")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--corpus", type=Path, default=corpus.default_folder())
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--only", default="", help="classes whose source, family and title contain this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    print(ratio_table.as_text(run(options, say)))


if __name__ == "__main__":
    main()
