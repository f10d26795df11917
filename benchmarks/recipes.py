"""Recipes: how small a tensor gets that was made out of others, and how fast its prediction is.

    python -m benchmarks.recipes [FOLDER]

Made-up weights first: for each recipe a parent (or several) of 4 MiB and what a tool would make of it. With
FOLDER, a folder of safetensors checkpoints, also every file of it that is a recipe of another one, as the
largest tensor that both have tells, with the parent that gives most.

``ratio`` is plain bytes over stored ones in pieces of 1 MiB, with the 150 bytes that a record, an id and an
index entry cost; ``without``, that of the same bytes against the first parent where that fits, or alone.
``equal`` is the share of bytes that the prediction has right, ``MB/s`` the bytes predicted in a second, one
thread, the best of three. Compare within a table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from mvc.dtypes import DTYPES
from mvc.odb.encoder import encode_tensor
from mvc.predictors import PREDICTORS, absmax, cast, linear, lora, n_of_m, prune, q8_0, quantise
from mvc.predictors.floats import F32, load, store, width_of

PIECE = 1 << 20
FIXED = 150  # bytes of a record's header, an id and an index entry
COLUMNS = 1024
ROWS = 1024
SAMPLE_ROWS = 16


class Job(NamedTuple):
    """One tensor to predict: its dtype and bytes, the recipe, and each operand's bytes."""

    dtype: str
    plain: bytes
    name: str
    params: dict[str, Any]
    operands: list[bytes]


class Result(NamedTuple):
    """Bytes of some tensors: plain, stored with and without their recipe, predicted right; and seconds."""

    plain: int
    stored: int
    without: int
    equal: int
    seconds: float


def bits(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers, rounded to a float type."""
    out = np.empty(numbers.size, f"<u{width_of(dtype)}")
    store(np.array(numbers, F32).reshape(-1), dtype, out)
    return out


def numbers_of(data: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers that these bits are."""
    out = np.empty(data.size, F32)
    load(data, dtype, out)
    return out


def measure(job: Job) -> Result:
    """Code a tensor in pieces, each against its part of the whole prediction."""
    predictor = PREDICTORS[job.name, 1]
    seconds = []
    for _ in range(3):
        began = perf_counter()
        prediction = memoryview(predictor.predict(job.operands, job.params, len(job.plain))).cast("B")
        seconds.append(perf_counter() - began)
    dtype = DTYPES[job.dtype]
    step = PIECE - PIECE % dtype.block
    stored = without = 0
    same_size = len(job.operands[0]) == len(job.plain)
    for start in range(0, len(job.plain), step):
        piece = slice(start, start + step)
        plain = job.plain[piece]
        stored += FIXED + len(encode_tensor(plain, dtype, prediction[piece]).stored)
        parent = job.operands[0][piece] if same_size else None
        without += FIXED + len(encode_tensor(plain, dtype, parent).stored)
    equal = int(np.count_nonzero(np.frombuffer(prediction, "u1") == np.frombuffer(job.plain, "u1")))
    return Result(len(job.plain), stored, without, equal, min(seconds))


def report(what: str, results: list[Result]) -> None:
    """One row of the table."""
    plain, stored, without, equal, seconds = (sum(column) for column in zip(*results, strict=True))
    print(
        f"{what:72} {plain / stored:8.1f} {plain / without:8.2f} {100 * equal / plain:9.3f} "
        f"{plain / 1e6 / seconds:8.0f}"
    )


def heading(what: str) -> None:
    """The table's first row."""
    print(f"\n{what:72} {'ratio':>8} {'without':>8} {'equal %':>9} {'MB/s':>8}")


def made_up() -> Iterator[tuple[str, Job]]:
    """Each recipe on weights that are made here."""
    rng = np.random.default_rng(1)
    base = rng.standard_normal((ROWS, COLUMNS), np.float32) * np.float32(0.02)
    moved = [base + rng.standard_normal(base.shape, np.float32) * np.float32(0.0003) for _ in range(2)]
    half = bits(base, "BF16")
    wide = numbers_of(half, "BF16").reshape(base.shape)
    raw = [model.tobytes() for model in (half, *(bits(model, "BF16") for model in moved))]
    exact = [numbers_of(np.frombuffer(data, "<u2"), "BF16").reshape(base.shape) for data in raw]

    for to in ("BF16", "F16", "F8_E4M3"):
        plain = bits(base, to).tobytes()
        yield f"cast F32 to {to}", Job(to, plain, "cast", {"from": "F32", "to": to}, [base.tobytes()])
    upper = Job("F32", base.tobytes(), "cast", {"from": "BF16", "to": "F32"}, [raw[0]])
    yield "F32 from its BF16 sibling", upper

    merges = {
        "mean of two": ((exact[0] + exact[1]) / np.float32(2), 2),
        "task arithmetic, three models": (
            exact[0] + np.float32(0.6) * (exact[1] - exact[0]) + np.float32(0.4) * (exact[2] - exact[0]),
            3,
        ),
    }
    for what, (merged, count) in merges.items():
        target = bits(merged, "BF16")
        params = found(
            linear.fit(target[:4096], [np.frombuffer(r, "<u2")[:4096] for r in raw[:count]], "BF16")
        )
        yield f"linear, {what}", Job("BF16", target.tobytes(), "linear", params, raw[:count])
        native = params | {"compute": "native"}
        stepwise = bytes(memoryview(PREDICTORS["linear", 1].predict(raw[:count], native, target.nbytes)))
        yield f"linear, {what}, each step rounded", Job("BF16", stepwise, "linear", native, raw[:count])

    sizes = half & 0x7FFF
    pruned = np.where(sizes >= np.sort(sizes)[sizes.size // 2], half, 0).astype("<u2")
    yield (
        "prune, half of a BF16 tensor",
        Job("BF16", pruned.tobytes(), "prune", found(prune.find(pruned, half)), raw[:1]),
    )

    four_of = half.reshape(-1, 4)
    order = np.argsort(-(four_of & 0x7FFF).astype("i4"), axis=1, kind="stable")[:, :2]
    mask = np.zeros(four_of.shape, bool)
    np.put_along_axis(mask, order, True, axis=1)
    pattern = np.where(mask, four_of, 0).astype("<u2").reshape(-1)
    params = found(n_of_m.find(pattern[:4096], half[:4096]))
    yield "n_of_m, 2 of 4 of a BF16 tensor", Job("BF16", pattern.tobytes(), "n_of_m", params, raw[:1])

    scales = np.abs(wide).max(1, keepdims=True) / np.float32(127)
    whole = np.rint(wide / scales).astype("i1").reshape(-1)
    some = SAMPLE_ROWS * COLUMNS
    params = found(quantise.find(whole[:some].view("u1"), "I8", half[:some], "BF16", COLUMNS))
    yield "quantise BF16 to I8, by row", Job("I8", whole.tobytes(), "quantise", params, raw[:1])
    to_four = params | {"to": "I4", "group": 128, "scale": ["absmax", 7.0, "F32"], "low": -8, "high": 7}
    four = bytes(memoryview(PREDICTORS["quantise", 1].predict(raw[:1], to_four, half.size // 2)))
    yield "quantise BF16 to I4, by 128", Job("I4", four, "quantise", to_four, raw[:1])
    to_eight = params | {"to": "F8_E4M3", "scale": ["absmax", 448.0, "F32"], "low": -448, "high": 448}
    eight = bytes(memoryview(PREDICTORS["quantise", 1].predict(raw[:1], to_eight, half.size)))
    yield "quantise BF16 to F8_E4M3, by row", Job("F8_E4M3", eight, "quantise", to_eight, raw[:1])
    halves = bits(scales, "F16")
    params = found(absmax.find(halves, "F16", half, "BF16"))
    yield "absmax, the F16 scales of rows", Job("F16", halves.tobytes(), "absmax", params, raw[:1])
    blocks = bytes(memoryview(PREDICTORS["q8_0", 1].predict(raw[:1], {"from": "BF16"}, half.size // 32 * 34)))
    yield (
        "q8_0 of BF16",
        Job("Q8_0", blocks, "q8_0", found(q8_0.find(np.frombuffer(blocks, "u1"), half, "BF16")), raw[:1]),
    )

    inserted = raw[0][: PIECE // 2] + bytes(64 * COLUMNS) + raw[0][PIECE // 2 :]
    runs = {"runs": [PIECE // 2, -64 * COLUMNS, len(raw[0]) - PIECE // 2]}
    yield "rows, 32 of zeros inserted", Job("BF16", inserted, "rows", runs, raw[:1])

    for rank in (16, 64):
        down, up = (
            rng.standard_normal(shape, np.float32) * np.float32(0.02)
            for shape in ((rank, COLUMNS), (ROWS, rank))
        )
        merged = bits(wide + np.float32(2) * (up @ down), "BF16")
        params = found(
            lora.find(
                merged[:some],
                half[:some],
                "BF16",
                down.reshape(-1).view("<u4"),
                up[:SAMPLE_ROWS].reshape(-1).view("<u4"),
                "F32",
                rank,
            )
        )
        yield (
            f"lora, rank {rank}, merged by BLAS",
            Job("BF16", merged.tobytes(), "lora", params, [raw[0], down.tobytes(), up.tobytes()]),
        )


def found(params: dict[str, Any] | None) -> dict[str, Any]:
    """What a search must have found."""
    if params is None:
        raise SystemExit("a recipe is not found in what was made by it")
    return params


Tensors = dict[str, tuple[str, list[int], np.ndarray]]


def read(path: Path) -> Tensors:
    """Dtype, shape and elements of each tensor of a safetensors file that can be trusted."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, row in header.items():
        low, high = row["data_offsets"]
        if row["dtype"] in ("F32", "F16", "BF16", "I8"):
            kind = f"<u{DTYPES[row['dtype']].width}"
            tensors[name] = row["dtype"], row["shape"], np.frombuffer(data[start + low : start + high], kind)
    return tensors


def recipe(name: str, target: Tensors, parent: Tensors) -> Job | None:
    """How one tensor is made out of the other file's, if any recipe tells."""
    dtype, shape, elements = target[name]
    sibling = name.removesuffix("_scale")
    if sibling not in parent or not elements.size:
        return None
    before, before_shape, base = parent[sibling]
    some = SAMPLE_ROWS * (shape[-1] if shape else 1)
    if sibling != name:
        rows = base.size // elements.size * SAMPLE_ROWS
        params = (
            absmax.find(elements[:SAMPLE_ROWS], dtype, base[:rows], before)
            if base.size % elements.size == 0
            else None
        )
        kind = "absmax"
    elif shape != before_shape:
        return None
    elif dtype == "I8" and before != "I8":
        kind, params = "quantise", quantise.find(elements[:some], "I8", base[:some], before, shape[-1])
    elif dtype == before:
        kind, params = "prune", prune.find(elements, base)
    elif "I8" in (dtype, before):
        return None
    else:
        kind, params = "cast", cast.find(elements[:some], dtype, base[:some], before)
    return Job(dtype, elements.tobytes(), kind, params, [base.tobytes()]) if params else None


def merged(target: Tensors, parent: Tensors, adapter: Tensors) -> Iterator[Job]:
    """The tensors of a model that have an adapter merged into them."""
    for key, (dtype_a, shape_a, down) in adapter.items():
        name = key.removeprefix("base_model.model.").replace(".lora_A.", ".")
        if ".lora_A." not in key or name not in target or name not in parent:
            continue
        up = adapter[key.replace(".lora_A.", ".lora_B.")][2]
        dtype, shape, elements = target[name]
        if parent[name][:2] != (dtype, shape) or np.array_equal(elements, parent[name][2]):
            continue
        base, rank = parent[name][2], shape_a[0]
        some = SAMPLE_ROWS * shape[-1]
        params = lora.find(elements[:some], base[:some], dtype, down, up[: SAMPLE_ROWS * rank], dtype_a, rank)
        if params:
            yield Job(
                dtype, elements.tobytes(), "lora", params, [base.tobytes(), down.tobytes(), up.tobytes()]
            )


def of_folder(folder: Path) -> None:
    """Print what every file of a folder is a recipe of; for each kind, the parent that gives most."""
    files = {path.relative_to(folder): read(path) for path in sorted(folder.rglob("*.safetensors"))}
    adapters = {
        path: tensors for path, tensors in files.items() if any(".lora_A." in name for name in tensors)
    }
    best: dict[tuple[Path, str], tuple[float, str, list[Result]]] = {}

    def note(path: Path, kind: str, parents: str, results: list[Result]) -> None:
        ratio = sum(result.plain for result in results) / sum(result.stored for result in results)
        if ratio > best.get((path, kind), (0.0,))[0]:
            best[path, kind] = ratio, f"{path} := {kind}({parents})", results

    for (path, target), (other, parent) in permutations(files.items(), 2):
        shared = [name for name in target if name in parent]
        if not shared:
            continue
        largest = max(shared, key=lambda name: target[name][2].nbytes)
        if recipe(largest, target, parent):
            jobs = [job for name in target if (job := recipe(name, target, parent))]
            for kind in sorted({job.name for job in jobs}):
                note(path, kind, str(other), [measure(job) for job in jobs if job.name == kind])
        for adapter, tensors in adapters.items():
            results = [measure(job) for job in merged(target, parent, tensors)]
            if results:
                note(path, "lora", f"{other}, {adapter.parent.name}", results)
    for _ratio, what, results in best.values():
        report(what.replace(".safetensors", ""), results)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    options = parser.parse_args()
    heading("made-up weights")
    for what, job in made_up():
        report(what, [measure(job)])
    if options.folder:
        heading(str(options.folder))
        of_folder(options.folder)


if __name__ == "__main__":
    main()
