"""What is measured: pairs and triples of a base and what came of it, and whole folders as versions.

The real checkpoints and the benchmark's own corpus share their classes, so that a figure of one can be held
against the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.corpus_files import grown_file, mean_file, merged_names
from benchmarks.corpus_runs import Runs

MOVES = ((0.007, 4.5), (0.014, 3.5), (0.03, 2.9), (0.05, 2.5), (0.10, 2.1))
"""Goals for bf16: ‖Δ‖ ÷ ‖W‖, and the least ratio there."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a class should reach. ``of`` is what is compared with ``value``:

    - ``ratio``: raw ÷ records, at least;
    - ``move``: the same, the least of it following from how far the weights moved (``value`` is unused);
    - ``bound``: ratio ÷ the ratio of the order-0 bound over changes, at least, where under 1 % changed;
    - ``share``: records ÷ raw, at most;
    - ``rows``: records ÷ what the new rows cost alone, at most.

    ``best`` is what ``gc --best`` should make of a ratio, if anything.
    """

    of: str
    value: float = 0.0
    best: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Bases are committed first, then the target; ``over`` puts it in the place of the first base, as the
    next version of one file, else it lies beside them."""

    family: str
    title: str
    source: str
    target: Path
    bases: Sequence[Path] = ()
    over: bool = False
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder whose files are committed one after the other, in the order in which they came to be.

    ``apart`` names files by what they are, for those whose bytes are told apart.
    """

    title: str
    root: Path
    files: Sequence[Path]
    goal: float | None = None
    stretch: float | None = None
    apart: dict[str, Sequence[Path]] = field(default_factory=dict)


def move_goal(move: float) -> float | None:
    """The least ratio at some ‖Δ‖ ÷ ‖W‖: between the given ones along the logarithm of the move, below the
    first the first's; None beyond the last."""
    if move <= MOVES[0][0]:
        return MOVES[0][1]
    for (low, before), (high, after) in pairwise(MOVES):
        if move <= high:
            share = math.log(move / low) / math.log(high / low)
            return before + share * (after - before)
    return None


def shared_cases(root: Path, made: Path) -> Iterator[Case]:
    """The classes in the real checkpoints; files that have to be derived go to ``made``."""
    bf16, fp32, tuned = root / "pretrain-bf16", root / "pretrain-fp32", root / "finetune-bf16"
    base, late = bf16 / "step-0800.safetensors", bf16 / "step-0790.safetensors"
    long = [tuned / "lr2e-5" / f"{name}.safetensors" for name in ("step-0060", "step-0120", "final")]
    slow = tuned / "lr1e-5" / "final.safetensors"

    def case(
        family: str, title: str, target: Path, *bases: Path, over: bool = False, goal: Goal | None = None
    ) -> Case:
        return Case(family, title, "checkpoints", target, bases, over, goal)

    yield case("alone", "dense bf16", base, goal=Goal("ratio", 1.506))
    yield case("alone", "fp32 weights", fp32 / "step-0800.safetensors")
    yield case("alone", "AdamW state", fp32 / "step-0800.optim.safetensors")
    yield case("alone", "fp16", root / "fp16/step-0800.safetensors")
    yield case("alone", "int8", root / "int8/step-0800.safetensors")
    move = Goal("move")
    yield case(
        "bf16 moved", "pre-training 700 → 800", base, bf16 / "step-0700.safetensors", over=True, goal=move
    )
    yield case("bf16 moved", "pre-training 790 → 800", base, late, over=True, goal=move)
    yield case("bf16 moved", "fine-tune lr 1e-5 ← base", slow, base, over=True, goal=move)
    yield case("bf16 moved", "fine-tune lr 2e-5, step 60 ← base", long[0], base, over=True, goal=move)
    yield case("bf16 moved", "fine-tune lr 2e-5 ← base", long[2], base, over=True, goal=Goal("ratio", 3.3))
    yield case("bf16 moved", "fine-tune lr 2e-5, beside its base", long[2], base, goal=Goal("ratio", 3.3))
    yield case("bf16 moved", "fine-tune step 60 → 120", long[1], long[0], over=True, goal=move)
    yield case("bf16 moved", "fine-tune step 120 → 180", long[2], long[1], over=True, goal=Goal("ratio", 6.7))
    pure = tuned / "pure-bf16-lr2e-5/final.safetensors"
    yield case("bf16 mostly same", "pure bf16 fine-tune", pure, base, over=True, goal=Goal("ratio", 14))
    yield case(
        "fp32 and optimizer",
        "fp32 790 → 800",
        fp32 / "step-0800.safetensors",
        fp32 / "step-0790.safetensors",
        over=True,
        goal=Goal("ratio", 1.60, best=1.7),
    )
    yield case(
        "fp32 and optimizer",
        "AdamW 790 → 800",
        fp32 / "step-0800.optim.safetensors",
        fp32 / "step-0790.optim.safetensors",
        over=True,
        goal=Goal("ratio", 1.27, best=1.4),
    )
    yield case(
        "fp32 and optimizer",
        "torch training checkpoint 790 → 800",
        root / "torch-training/step-0800.pt",
        root / "torch-training/step-0790.pt",
        over=True,
    )
    yield case(
        "derived", "bf16 beside its fp32", base, fp32 / "step-0800.safetensors", goal=Goal("ratio", 500)
    )
    yield case("derived", "fp32 beside its bf16", fp32 / "step-0800.safetensors", base)
    yield case(
        "derived", "fp16 beside its fp32", root / "fp16/step-0800.safetensors", fp32 / "step-0800.safetensors"
    )
    average = mean_file(slow, long[2], made / "average.safetensors")
    yield case("derived", "average of two", average, slow, long[2], base, goal=Goal("ratio", 500))
    yield case(
        "derived", "int8 of its parent", root / "int8/step-0800.safetensors", base, goal=Goal("ratio", 100)
    )
    yield case(
        "derived",
        "pruned 50 % by magnitude",
        root / "pruned-bf16/mag50.safetensors",
        base,
        goal=Goal("ratio", 12),
    )
    adapters = [root / f"lora/step-{step}/adapter_model.safetensors" for step in ("0080", "0120")]
    yield case("derived", "LoRA adapter, step 80 → 120", adapters[1], adapters[0], over=True)
    merged = root / "lora-merged-bf16/model.safetensors"
    yield case("derived", "LoRA merged, its adapter beside", merged, base, adapters[1])
    yield case("same tensors", "torch file", root / "torch-bf16/step-0800.pt", base, goal=Goal("share", 0.01))
    for number in (1, 2):
        shard = root / f"sharded-bf16/model-{number:05d}-of-00002.safetensors"
        yield case("same tensors", f"shard {number}", shard, base, goal=Goal("share", 0.01))
    yield case(
        "vocabulary",
        "128 rows appended",
        root / "vocab-grown-bf16/append128.safetensors",
        base,
        over=True,
        goal=Goal("rows", 1.5),
    )
    inserted = grown_file(base, made / "insert64.safetensors", 64)
    yield case("vocabulary", "64 rows inserted", inserted, base, over=True, goal=Goal("rows", 3))


def corpus_cases(root: Path, runs: Runs) -> Iterator[Case]:
    """The classes in the benchmark's own corpus; what its maker could not make is left out."""
    steps = sorted(runs.pretrain)
    bf16 = [root / f"pretrain-bf16/step-{step:04d}.safetensors" for step in steps]
    fp32 = [root / f"pretrain-fp32/step-{step:04d}.safetensors" for step in steps]
    base = bf16[-1]

    def case(
        family: str, title: str, target: Path, *bases: Path, over: bool = False, goal: Goal | None = None
    ) -> Case:
        return Case(family, title, "corpus", target, bases, over, goal)

    move = Goal("move")
    yield case("alone", "dense bf16", base)
    yield case("alone", "fp32 weights", fp32[-1])
    yield case("alone", "fp8", root / "fp8/model.safetensors")
    for first, last in ((0, -1), (1, -1)):
        title = f"pre-training {steps[first]} → {steps[last]}"
        yield case("bf16 moved", title, bf16[last], bf16[first], over=True, goal=move)
    for name in sorted(runs.finetunes, key=_rate):
        tuned = root / f"finetune-bf16/{name}.safetensors"
        yield case("bf16 moved", f"fine-tune {name} ← base", tuned, base, over=True, goal=move)
    trail = [root / f"finetune-bf16/{name}.safetensors" for name in sorted(runs.finetunes) if "step" in name]
    by_run: dict[Path, list[Path]] = {}
    for path in trail:
        by_run.setdefault(path.parent, []).append(path)
    for run, paths in by_run.items():
        for before, after in pairwise(paths):
            title = f"fine-tune {run.name}, {before.stem} → {after.stem}"
            yield case("bf16 moved", title, after, before, over=True, goal=move)
    yield case(
        "bf16 mostly same", "pure bf16 fine-tune", root / "pure-bf16/final.safetensors", base, over=True
    )
    for name in sorted(runs.one_step, key=_rate):
        step = root / f"one-step-bf16/{name}.safetensors"
        yield case(
            "bf16 mostly same", f"one AdamW step {name}", step, base, over=True, goal=Goal("bound", 0.83)
        )
    yield case("bf16 mostly same", "sparse update", root / "sparse-bf16/final.safetensors", base, over=True)
    yield case("fp32 and optimizer", f"fp32 {steps[1]} → {steps[2]}", fp32[2], fp32[1], over=True)
    if runs.moments:
        states = [path.with_name(path.stem + ".optim.safetensors") for path in fp32]
        yield case("alone", "AdamW state", states[-1])
        yield case("fp32 and optimizer", f"AdamW {steps[1]} → {steps[2]}", states[2], states[1], over=True)
    for title, name, parents, goal in (
        ("fp16 beside its fp32", "fp16/model", fp32[-1:], None),
        ("int8 of its parent", "int8/model", [base], Goal("ratio", 100)),
        ("fp8 of its parent", "fp8/model", [base], None),
        ("pruned 50 % by magnitude", "pruned-bf16/magnitude50", [base], Goal("ratio", 12)),
        ("pruned 50 % at random", "pruned-bf16/random50", [base], None),
        ("pruned 2 of 4", "pruned-bf16/2of4", [base], None),
    ):
        yield case("derived", title, root / f"{name}.safetensors", *parents, goal=goal)
    yield case("derived", "bf16 beside its fp32", base, fp32[-1], goal=Goal("ratio", 500))
    yield case("derived", "fp32 beside its bf16", fp32[-1], base)
    first, second = (root / f"finetune-bf16/{name}.safetensors" for name in merged_names(runs))
    merged = root / "merged-bf16"
    yield case(
        "derived",
        "average of two",
        merged / "average.safetensors",
        first,
        second,
        base,
        goal=Goal("ratio", 500),
    )
    yield case("derived", "task arithmetic", merged / "arithmetic.safetensors", first, second, base)
    if runs.adapters:
        adapters = [
            root / f"lora/step-{step:04d}/adapter_model.safetensors" for step in sorted(runs.adapters)
        ]
        yield case("derived", "LoRA adapter, half → end", adapters[-1], adapters[0], over=True)
        whole = root / "lora-merged-bf16/model.safetensors"
        yield case("derived", "LoRA merged, its adapter beside", whole, base, adapters[-1])
    for number in (1, 2):
        shard = root / f"sharded-bf16/model-{number:05d}-of-00002.safetensors"
        yield case("same tensors", f"shard {number}", shard, base, goal=Goal("share", 0.01))
    if (root / "torch/model.pt").is_file():
        yield case("same tensors", "torch file", root / "torch/model.pt", base, goal=Goal("share", 0.01))
        old, new = sorted((root / "torch").glob("checkpoint-*.pt"))
        yield case("fp32 and optimizer", "torch training checkpoint", new, old, over=True)
    grown = root / "vocab-grown-bf16"
    yield case(
        "vocabulary",
        "128 rows appended",
        grown / "append128.safetensors",
        base,
        over=True,
        goal=Goal("rows", 1.5),
    )
    yield case(
        "vocabulary",
        "64 rows inserted",
        grown / "insert64.safetensors",
        base,
        over=True,
        goal=Goal("rows", 3),
    )


def _rate(name: str) -> tuple[float, str]:
    """By the number in a run's name, then by step."""
    run = name.partition("/")[0]
    return float(run.removeprefix("lr").removeprefix("moved")), name


ORDER = (
    "config.json",
    "README.md",
    "pretrain-bf16/step-0700.safetensors",
    "pretrain-fp32/step-0790.safetensors",
    "pretrain-fp32/step-0790.optim.safetensors",
    "torch-training/step-0790.pt",
    "pretrain-bf16/step-0790.safetensors",
    "pretrain-fp32/step-0800.safetensors",
    "pretrain-fp32/step-0800.optim.safetensors",
    "torch-training/step-0800.pt",
    "pretrain-bf16/step-0800.safetensors",
    "torch-bf16/step-0800.pt",
    "sharded-bf16/model-00001-of-00002.safetensors",
    "sharded-bf16/model-00002-of-00002.safetensors",
    "sharded-bf16/model.safetensors.index.json",
    "fp16/step-0800.safetensors",
    "int8/step-0800.safetensors",
    "pruned-bf16/mag50.safetensors",
    "finetune-bf16/lr1e-5/final.safetensors",
    "finetune-bf16/lr2e-5/step-0060.safetensors",
    "finetune-bf16/lr2e-5/step-0120.safetensors",
    "finetune-bf16/lr2e-5/final.safetensors",
    "finetune-bf16/pure-bf16-lr2e-5/final.safetensors",
    "lora/step-0040/adapter_config.json",
    "lora/step-0040/adapter_model.safetensors",
    "lora/step-0080/adapter_config.json",
    "lora/step-0080/adapter_model.safetensors",
    "lora/step-0120/adapter_config.json",
    "lora/step-0120/adapter_model.safetensors",
    "lora-merged-bf16/model.safetensors",
    "vocab-grown-bf16/append128.safetensors",
)
"""The real checkpoints as a project makes them: pre-training with its snapshots, the base in other forms,
then what is made from the base."""


def files_below(root: Path) -> list[Path]:
    """Every file, by path."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def shared_folders(root: Path) -> Iterator[Folder]:
    """The real checkpoints, without and with those whose bits are mostly noise."""
    known = [root / name for name in ORDER if (root / name).is_file()]
    files = known + [path for path in files_below(root) if path not in set(known)]
    noisy = {"pretrain-fp32", "torch-training"}
    calm = [path for path in files if path.relative_to(root).parts[0] not in noisy]
    yield Folder("checkpoints without pretrain-fp32 and torch-training", root, calm, 0.17, 0.16)
    fp32 = [path for path in files if path.parent.name == "pretrain-fp32"]
    apart = {
        "fp32 weights": [path for path in fp32 if ".optim" not in path.name],
        "AdamW state": [path for path in fp32 if ".optim" in path.name],
        "torch training checkpoints": [path for path in files if path.parent.name == "torch-training"],
        "all others": calm,
    }
    yield Folder("checkpoints, all of them", root, files, 0.29, apart=apart)


_CORPUS_ORDER = (
    "pretrain-fp32",
    "pretrain-bf16",
    "torch",
    "sharded-bf16",
    "fp16",
    "int8",
    "fp8",
    "pruned-bf16",
    "finetune-bf16",
    "pure-bf16",
    "one-step-bf16",
    "sparse-bf16",
    "lora",
    "lora-merged-bf16",
    "merged-bf16",
    "vocab-grown-bf16",
)


def corpus_folder(root: Path) -> Folder:
    """The benchmark's own corpus, pre-training first."""
    files = files_below(root)
    files.sort(key=lambda path: (_CORPUS_ORDER.index(path.relative_to(root).parts[0]), path))
    noisy = {"pretrain-fp32", "torch"}
    calm = [path for path in files if path.relative_to(root).parts[0] not in noisy]
    return Folder("corpus without fp32, AdamW and torch files", root, calm)
