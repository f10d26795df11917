"""Trains a small Llama-style language model with torch on the processor, with fixed seeds.

Float32 weights, AdamW, rotary positions, RMS norm, gated feed-forward, tied embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.corpus_runs import LORA_ALPHA, LORA_TARGETS, Plan, Runs, State, shapes
from benchmarks.corpus_text import Vocabulary, read_text

Weights = dict[str, Tensor]
_THREADS = (
    1  # sums come out the same whatever the cores, and a busy machine makes threads wait for each other
)
_BETAS = (0.9, 0.95)


def train(plan: Plan, folder: Path, say: Callable[[str], None]) -> Runs:
    """Pre-train, then fine-tune in several ways; torch's own files are written to ``folder``."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(_THREADS)
    text, other = read_text(plan.text_bytes)
    vocabulary = Vocabulary(text, plan.vocabulary)
    trainer = _Trainer(plan, vocabulary.encode(text), vocabulary.encode(other), say)
    runs = Runs(f"torch {torch.__version__.partition('+')[0]}")
    optimizer = _pretrain(trainer, runs, folder)
    base = {name: torch.from_numpy(value) for name, value in runs.base.items()}
    released = {name: value.bfloat16().float() for name, value in base.items()}
    torch.save({name: value.bfloat16() for name, value in base.items()}, folder / "model.pt")
    _finetunes(trainer, runs, released)
    _small_steps(trainer, runs, base, optimizer)
    _adapters(trainer, runs, released)
    return runs


class _Trainer:
    """A model's sizes and its data; every run draws its batches from its own seed."""

    def __init__(
        self, plan: Plan, text: NDArray[np.uint16], other: NDArray[np.uint16], say: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.text = torch.from_numpy(text.astype(np.int64))
        self.other = torch.from_numpy(other.astype(np.int64))
        self.say = say
        half = plan.width // plan.heads // 2
        rates = 10000 ** (-torch.arange(half) / half)
        angles = torch.arange(plan.context)[:, None] * rates
        self._cos, self._sin = angles.cos(), angles.sin()

    def initial(self) -> Weights:
        """Normally distributed, norms at one."""
        source = torch.Generator().manual_seed(self.plan.seed)
        out: Weights = {}
        for name, shape in shapes(self.plan).items():
            if len(shape) == 1:
                out[name] = torch.ones(shape)
            else:
                spread = (
                    0.02 / math.sqrt(2 * self.plan.layers) if "o_proj" in name or "down" in name else 0.02
                )
                out[name] = torch.randn(shape, generator=source) * spread
        return out

    def batches(self, tokens: Tensor, run: int) -> Callable[[], Tensor]:
        """Random stretches of the text, one more token than the context."""
        source = torch.Generator().manual_seed(self.plan.seed + run)
        window = torch.arange(self.plan.context + 1)

        def batch() -> Tensor:
            starts = torch.randint(len(tokens) - len(window), (self.plan.batch, 1), generator=source)
            return tokens[starts + window]

        return batch

    def loss(self, weights: Weights, batch: Tensor) -> Tensor:
        """Mean cross-entropy of the next token, in nats."""
        plan = self.plan
        embedding = weights["model.embed_tokens.weight"]
        x = functional.embedding(batch[:, :-1], embedding)
        for layer in range(plan.layers):
            place = f"model.layers.{layer}"
            x = x + self._attention(weights, place, _norm(x, weights[f"{place}.input_layernorm.weight"]))
            y = _norm(x, weights[f"{place}.post_attention_layernorm.weight"])
            gate = functional.silu(y @ weights[f"{place}.mlp.gate_proj.weight"].T)
            up = y @ weights[f"{place}.mlp.up_proj.weight"].T
            x = x + (gate * up) @ weights[f"{place}.mlp.down_proj.weight"].T
        logits = _norm(x, weights["model.norm.weight"]) @ embedding.T
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def _attention(self, weights: Weights, place: str, x: Tensor) -> Tensor:
        rows, length, width = x.shape

        def heads(name: str) -> Tensor:
            y = x @ weights[f"{place}.self_attn.{name}_proj.weight"].T
            return y.view(rows, length, self.plan.heads, -1).transpose(1, 2)

        q, k, v = self._rotated(heads("q")), self._rotated(heads("k")), heads("v")
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(rows, length, width) @ weights[f"{place}.self_attn.o_proj.weight"].T

    def _rotated(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        cos, sin = self._cos, self._sin
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

    def run(
        self,
        weights: Weights,
        optimizer: torch.optim.Optimizer,
        tokens: Tensor,
        rates: list[float],
        run: int,
        after: Callable[[int, float], None],
        model: Callable[[], Weights] | None = None,
    ) -> None:
        """A step for each rate; ``after`` is told the step, from 1, and its loss."""
        batch = self.batches(tokens, run)
        for number, rate in enumerate(rates, 1):
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = self.loss(weights if model is None else model(), batch())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for group in optimizer.param_groups for p in group["params"]], 1.0
            )
            optimizer.step()
            after(number, float(loss.detach()))


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


def _adamw(weights: Weights, decay: float = 0.1) -> torch.optim.AdamW:
    for value in weights.values():
        value.requires_grad_(True)
    matrices = [value for value in weights.values() if value.dim() > 1]
    vectors = [value for value in weights.values() if value.dim() == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], betas=_BETAS)


def _copy(weights: Weights) -> Weights:
    return {name: value.detach().clone() for name, value in weights.items()}


def _state(weights: Weights) -> State:
    return {name: value.detach().numpy().copy() for name, value in weights.items()}


def _decaying(rate: float, steps: int, last: float, warm: int) -> list[float]:
    """Up to ``rate`` in some steps, then down along a cosine to a share of it."""
    out = []
    for step in range(steps):
        done = max(0.0, (step - warm) / max(1, steps - warm))
        height = last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done))
        out.append(rate * min(1.0, (step + 1) / warm) * height)
    return out


def _pretrain(trainer: _Trainer, runs: Runs, folder: Path) -> torch.optim.AdamW:
    plan = trainer.plan
    weights = trainer.initial()
    optimizer = _adamw(weights)
    kept = {plan.steps - 100, plan.steps - 10, plan.steps}

    def after(step: int, loss: float) -> None:
        if step in (1, plan.steps) or step % 100 == 0:
            trainer.say(f"pre-training step {step}: loss {loss:.3f}")
        if step == 1:
            runs.losses["first step"] = loss
        if step not in kept:
            return
        runs.losses[f"step {step}"] = loss
        runs.pretrain[step] = _state(weights)
        runs.moments[step] = {
            key: {name: optimizer.state[value][key].numpy().copy() for name, value in weights.items()}
            for key in ("exp_avg", "exp_avg_sq")
        }
        if step > plan.steps - 100:
            checkpoint = {
                "epoch": step,
                "model": {name: value.detach() for name, value in weights.items()},
                "optimizer": optimizer.state_dict(),
                "rng_state": torch.Generator().manual_seed(step).get_state(),
            }
            torch.save(checkpoint, folder / f"checkpoint-{step:04d}.pt")

    rates = _decaying(plan.rate, plan.steps, 0.1, plan.steps // 20)
    trainer.run(weights, optimizer, trainer.text, rates, 1, after)
    return optimizer


def _finetunes(trainer: _Trainer, runs: Runs, released: Weights) -> None:
    plan = trainer.plan
    for rate in plan.finetune_rates:
        weights = _copy(released)
        steps = plan.finetune_steps * (3 if rate == plan.long_rate else 1)

        def after(step: int, loss: float, weights: Weights = weights, rate: float = rate) -> None:
            if step % plan.finetune_steps == 0:
                runs.finetunes[f"lr{rate:.0e}/step-{step:04d}"] = _state(weights)
                trainer.say(f"fine-tune at {rate:.0e}, step {step}: loss {loss:.3f}")

        rates = _decaying(rate, steps, 0.0, 5)
        trainer.run(weights, _adamw(weights), trainer.other, rates, 2, after)
    weights = _copy(released)

    def rounded(_step: int, _loss: float) -> None:
        with torch.no_grad():
            for value in weights.values():
                value.copy_(value.bfloat16())

    rates = _decaying(plan.long_rate, plan.finetune_steps, 0.0, 5)
    trainer.run(weights, _adamw(weights), trainer.other, rates, 2, rounded)
    runs.pure_bf16 = _state(weights)
    trainer.say("fine-tune in pure bf16: done")


def _small_steps(trainer: _Trainer, runs: Runs, base: Weights, optimizer: torch.optim.AdamW) -> None:
    """Steps so small that most of the bf16 weights stay; the optimizer goes on from where it was."""
    plan, known = trainer.plan, optimizer.state_dict()

    def go(rate: float, steps: int) -> State:
        weights = _copy(base)
        mine = _adamw(weights)
        mine.load_state_dict(known)
        trainer.run(weights, mine, trainer.other, [rate] * steps, 3, lambda _step, _loss: None)
        return _state(weights)

    for rate in plan.small_rates:
        runs.one_step[f"lr{rate:.0e}"] = go(rate, 1)
    runs.sparse = go(plan.sparse_rate, plan.sparse_steps)


def _adapters(trainer: _Trainer, runs: Runs, released: Weights) -> None:
    plan = trainer.plan
    source = torch.Generator().manual_seed(plan.seed + 4)
    targets = [name for name in released if any(target in name for target in LORA_TARGETS)]
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for name in targets:
        down = torch.randn(plan.lora_rank, plan.width, generator=source) / math.sqrt(plan.width)
        pairs[name] = (down, torch.zeros(plan.width, plan.lora_rank))
    flat = {f"{name}.{i}": value for name, pair in pairs.items() for i, value in enumerate(pair)}
    fixed = _copy(released)
    scale = LORA_ALPHA / plan.lora_rank

    def model() -> Weights:
        return fixed | {name: fixed[name] + scale * (up @ down) for name, (down, up) in pairs.items()}

    def after(step: int, loss: float) -> None:
        if step % (plan.finetune_steps // 2) == 0:
            trainer.say(f"LoRA step {step}: loss {loss:.3f}")
            adapter: State = {}
            for name, (down, up) in pairs.items():
                stem = f"base_model.model.{name.removesuffix('.weight')}"
                adapter[f"{stem}.lora_A.weight"] = down.detach().numpy().copy()
                adapter[f"{stem}.lora_B.weight"] = up.detach().numpy().copy()
            runs.adapters[step] = adapter

    rates = _decaying(plan.lora_rate, plan.finetune_steps, 0.0, 5)
    trainer.run(fixed, _adamw(flat, 0.0), trainer.other, rates, 5, after, model)
