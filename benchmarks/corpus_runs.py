"""What a corpus is made of, whoever makes it: the sizes of a model, and the weights that runs left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[np.float32]]
"""A model's weights by name, as Hugging Face names those of Llama."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of the model and of its runs. All of it is part of the corpus's fingerprint."""

    vocabulary: int = 2048
    width: int = 160
    hidden: int = 448
    layers: int = 3
    heads: int = 5
    context: int = 128
    batch: int = 8
    steps: int = 1200
    rate: float = 3e-3
    text_bytes: int = 12_000_000
    finetune_steps: int = 60
    finetune_rates: tuple[float, ...] = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 4e-4, 8e-4)
    long_rate: float = 2e-5  # this one also runs three times as long, and is kept at each third
    small_rates: tuple[float, ...] = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5)  # one step each
    sparse_rate: float = 3e-7
    sparse_steps: int = 20
    lora_rate: float = 2e-3
    lora_rank: int = 8
    seed: int = 20261121


FULL = Plan()
QUICK = Plan(
    width=128,
    hidden=384,
    heads=4,
    layers=4,
    batch=8,
    steps=300,
    text_bytes=3_000_000,
    finetune_steps=20,
    finetune_rates=(2e-5, 1e-4, 4e-4, 2e-3),
    small_rates=(1e-6, 1e-5),
    sparse_steps=10,
)


@dataclass(slots=True)
class Runs:
    """Weights in float32 that runs left behind; what a maker cannot make stays empty, and ``missing`` says
    why."""

    maker: str
    pretrain: dict[int, State] = field(default_factory=dict)
    """By step; the last is the base of everything below."""
    moments: dict[int, dict[str, State]] = field(default_factory=dict)
    """By step: AdamW's ``exp_avg`` and ``exp_avg_sq``."""
    finetunes: dict[str, State] = field(default_factory=dict)
    """From the base's bf16 weights; by rate and step, such as ``lr2e-05/step-0060``."""
    pure_bf16: State = field(default_factory=dict)
    """Fine-tuned with weights that are rounded to bf16 after each step."""
    one_step: dict[str, State] = field(default_factory=dict)
    """One more AdamW step on the base's float32 weights, by rate."""
    sparse: State = field(default_factory=dict)
    """Some steps at a very small rate on the base's float32 weights."""
    adapters: dict[int, State] = field(default_factory=dict)
    """LoRA adapters along one run, by step, as PEFT names them."""
    missing: dict[str, str] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def base(self) -> State:
        """The last pre-training step."""
        return self.pretrain[max(self.pretrain)]


LORA_ALPHA = 16
LORA_TARGETS = ("q_proj", "v_proj")
"""Adapters are scaled by alpha ÷ rank when they are merged."""


def shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Every weight of the model; the output shares the embedding."""
    out: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (plan.vocabulary, plan.width)}
    for layer in range(plan.layers):
        place = f"model.layers.{layer}"
        for name in "qkvo":
            out[f"{place}.self_attn.{name}_proj.weight"] = (plan.width, plan.width)
        out[f"{place}.mlp.gate_proj.weight"] = (plan.hidden, plan.width)
        out[f"{place}.mlp.up_proj.weight"] = (plan.hidden, plan.width)
        out[f"{place}.mlp.down_proj.weight"] = (plan.width, plan.hidden)
        out[f"{place}.input_layernorm.weight"] = (plan.width,)
        out[f"{place}.post_attention_layernorm.weight"] = (plan.width,)
    out["model.norm.weight"] = (plan.width,)
    return out


def parameters(plan: Plan) -> int:
    """How many numbers the model has."""
    return sum(int(np.prod(shape)) for shape in shapes(plan).values())


def save(runs: Runs, folder: Path) -> None:
    """Keep runs as files, so that they need not be made again."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for field_name, key, state in _states(runs):
        arrays |= {"|".join((field_name, key, name)): value for name, value in state.items()}
    np.savez(folder / "runs.npz", **arrays)
    about = {"maker": runs.maker, "missing": runs.missing, "losses": runs.losses}
    (folder / "runs.json").write_text(json.dumps(about, indent=1) + "\n")


def load(folder: Path) -> Runs:
    """What :func:`save` kept."""
    about = json.loads((folder / "runs.json").read_text())
    runs = Runs(about["maker"], missing=about["missing"], losses=about["losses"])
    with np.load(folder / "runs.npz", allow_pickle=False) as arrays:
        for place in arrays.files:
            field_name, key, name = place.split("|")
            held = getattr(runs, field_name)
            if field_name == "moments":
                step, _, moment = key.partition(" ")
                held = held.setdefault(int(step), {}).setdefault(moment, {})
            elif field_name in ("pretrain", "adapters"):
                held = held.setdefault(int(key), {})
            elif key:
                held = held.setdefault(key, {})
            held[name] = arrays[place]
    return runs


def _states(runs: Runs) -> Iterator[tuple[str, str, State]]:
    """Every set of weights with its field and its place in it."""
    for name in ("pretrain", "finetunes", "one_step", "adapters"):
        yield from ((name, str(key), state) for key, state in getattr(runs, name).items())
    for step, moments in runs.moments.items():
        yield from (("moments", f"{step} {moment}", state) for moment, state in moments.items())
    yield "pure_bf16", "", runs.pure_bf16
    yield "sparse", "", runs.sparse
