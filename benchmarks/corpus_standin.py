"""Runs that nobody trained, for machines without torch: weights that move at random."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.corpus_runs import Plan, Runs, State, shapes
from benchmarks.tensor_files import bf16, from_bf16

_MOVES = (0.003, 0.007, 0.014, 0.03, 0.05, 0.1)
_NO_TORCH = "made without torch, which alone can train"


def make(plan: Plan) -> Runs:
    """Each weight drawn from a normal distribution, each move too, in proportion to its tensor's size."""
    rng = np.random.default_rng(plan.seed)

    def moved(state: State, share: float) -> State:
        return {
            name: value + (share * _size(value) * rng.standard_normal(value.shape)).astype("<f4")
            for name, value in state.items()
        }

    def released(state: State) -> State:
        return {name: from_bf16(bf16(value)) for name, value in state.items()}

    first: State = {}
    for name, shape in shapes(plan).items():
        spread = 0.5 / math.sqrt(shape[-1])
        drawn = (
            rng.standard_normal(shape) * spread if len(shape) > 1 else 1 + 0.1 * rng.standard_normal(shape)
        )
        first[name] = drawn.astype("<f4")
    runs = Runs("numpy: random moves, not trained")
    runs.pretrain[plan.steps - 100] = first
    runs.pretrain[plan.steps - 10] = moved(first, 0.02)
    runs.pretrain[plan.steps] = moved(runs.pretrain[plan.steps - 10], 0.003)
    base = released(runs.base)
    for share in _MOVES:
        runs.finetunes[f"moved{share}/step-0001"] = moved(base, share)
    runs.pure_bf16 = released(moved(base, 0.001))
    for share in (1e-6, 1e-5):
        runs.one_step[f"moved{share:.0e}"] = moved(runs.base, share)
    runs.sparse = moved(runs.base, 5e-6)
    for name in ("optimizer state", "LoRA adapters", "torch files"):
        runs.missing[name] = _NO_TORCH
    return runs


def _size(value: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
