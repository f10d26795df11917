"""A decoder-only transformer over characters, forward and backward, in numpy alone.

Pre-norm blocks (RMSNorm, causal self-attention, feed-forward with squared ReLU), learned positions, no
biases, an output head of its own. Randomness is counter-based: every draw is a function of (seed, stream,
counter) through BLAKE3's extendable output, so that a resumed run draws what the interrupted one would have
drawn, under every numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from blake3 import blake3
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Tokens: TypeAlias = NDArray[np.int64]
Parameters: TypeAlias = dict[str, Array]

EPSILON = 1e-5
TEXT = """\
A trained model is a long list of numbers, and nobody can read it. It was bought with weeks of work and a
great deal of electricity, and yet it often lies in a folder under a name like final, or final two, or final
really. When it gets worse after a change, the question is always the same: what was different last week?
Those who write programs have had an answer for a long time. They keep every version, give each one a name
that follows from its content, and write beside it who made it, when, and why. Going back is a matter of a
second. Comparing two versions is one line.

With weights this is harder, because they are large and because all of them change a little with every step. A
tool made for text sees only noise and stores each version as if it had never seen the one before. But the
noise has a shape. A weight that was small stays small; its sign and its exponent rarely move; only the last
bits wander. Whoever predicts the next version from the previous one has to store only the surprise, and the
surprise is much smaller than the whole.

A store must first of all be honest. It gives back every byte that it was given, or it says that it cannot. It
may be stopped at any moment, by a full disk, by a power cut, by a scheduler that needs the machine for
somebody else, and what was finished before stays finished. A half-written version is no version: it must
never be seen under a name, and it must not stand in the way of the next attempt. This demonstration trains a
small network on the very text that you are reading, stops it in the middle of a commit in the rudest way
there is, and then looks at what is left.
"""
_ALPHABET = sorted(set(TEXT))


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes of the model and of a batch. ``width`` must be a multiple of ``heads``."""

    layers: int = 3
    width: int = 192
    heads: int = 6
    context: int = 64
    batch: int = 8
    vocabulary: int = len(_ALPHABET)


def corpus() -> Tokens:
    """The training text as token numbers."""
    number = {character: index for index, character in enumerate(_ALPHABET)}
    return np.array([number[character] for character in TEXT], dtype=np.int64)


def draw(seed: int, stream: str, counter: int, count: int) -> NDArray[np.uint32]:
    """``count`` uniform 32-bit integers, the same on every machine and under every numpy."""
    words = blake3(f"mvc demo {seed} {stream} {counter}".encode()).digest(length=4 * count)
    return np.frombuffer(words, dtype="<u4").astype(np.uint32)


def initial(config: Config, seed: int, dtype: DTypeLike = np.float32) -> Parameters:
    """Fresh parameters: gains 1, matrices uniform with deviation 0.6 / √inputs, embeddings with 0.1."""
    parameters: Parameters = {}
    for name, shape in shapes(config).items():
        if len(shape) == 1:
            parameters[name] = np.ones(shape, dtype)
            continue
        deviation = 0.1 if name.startswith(("embedding", "position")) else 0.6 / math.sqrt(shape[0])
        uniform = draw(seed, name, 0, math.prod(shape)).astype(np.float64) / 2**31 - 1
        parameters[name] = (uniform * (deviation * math.sqrt(3))).reshape(shape).astype(dtype)
    return parameters


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every parameter's shape; matrices are (inputs, outputs)."""
    width = config.width
    result: dict[str, tuple[int, ...]] = {
        "embedding.weight": (config.vocabulary, width),
        "position.weight": (config.context, width),
    }
    for layer in range(config.layers):
        result |= {
            f"layers.{layer}.attention.norm.weight": (width,),
            f"layers.{layer}.attention.qkv.weight": (width, 3 * width),
            f"layers.{layer}.attention.out.weight": (width, width),
            f"layers.{layer}.mlp.norm.weight": (width,),
            f"layers.{layer}.mlp.up.weight": (width, 4 * width),
            f"layers.{layer}.mlp.down.weight": (4 * width, width),
        }
    return result | {"norm.weight": (width,), "head.weight": (width, config.vocabulary)}


def batch(config: Config, text: Tokens, seed: int, counter: int) -> tuple[Tokens, Tokens]:
    """Inputs and the characters that follow them, each (batch, context), from drawn places of the text."""
    starts = draw(seed, "batch", counter, config.batch).astype(np.int64) % (len(text) - config.context)
    places = starts[:, None] + np.arange(config.context)
    return text[places], text[places + 1]


def loss_and_gradients(
    config: Config, parameters: Parameters, inputs: Tokens, targets: Tokens
) -> tuple[float, Parameters]:
    """Mean cross-entropy in nats per character, and its gradient for every parameter.

    ``inputs`` and ``targets`` are (batch, context) token numbers.
    """
    gradients: Parameters = {}
    size, length = inputs.shape
    flat = inputs.reshape(-1)
    x = parameters["embedding.weight"][flat] + np.tile(parameters["position.weight"][:length], (size, 1))
    saved: list[tuple[_AttentionSaved, _MlpSaved]] = []
    for layer in range(config.layers):
        name = f"layers.{layer}."
        step, attention = _attention(config, parameters, name, x, size)
        x = x + step
        step, mlp = _mlp(parameters, name, x)
        x = x + step
        saved.append((attention, mlp))
    normed, norm = _rms_norm(x, parameters["norm.weight"])
    loss, dlogits = _cross_entropy(normed @ parameters["head.weight"], targets.reshape(-1))

    gradients["head.weight"] = normed.T @ dlogits
    dx, gradients["norm.weight"] = _rms_norm_back(dlogits @ parameters["head.weight"].T, norm)
    for layer in reversed(range(config.layers)):
        name = f"layers.{layer}."
        attention, mlp = saved[layer]
        dx = dx + _mlp_back(parameters, gradients, name, dx, mlp)
        dx = dx + _attention_back(config, parameters, gradients, name, dx, attention)
    # one product with a one-hot matrix: summing rows by token number one at a time is many times slower
    one_hot = np.zeros((config.vocabulary, len(flat)), dx.dtype)
    one_hot[flat, np.arange(len(flat))] = 1
    gradients["embedding.weight"] = one_hot @ dx
    position = np.zeros_like(parameters["position.weight"])
    position[:length] = dx.reshape(size, length, -1).sum(axis=0)
    gradients["position.weight"] = position
    return loss, gradients


class _NormSaved(NamedTuple):
    x: Array
    scale: Array
    gain: Array


def _rms_norm(x: Array, gain: Array) -> tuple[Array, _NormSaved]:
    scale = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    return x * scale * gain, _NormSaved(x, scale, gain)


def _rms_norm_back(dy: Array, saved: _NormSaved) -> tuple[Array, Array]:
    x, scale, gain = saved
    dgain = (dy * x * scale).sum(axis=0)
    inner = dy * gain
    dx = scale * inner - x * scale**3 * (inner * x).mean(axis=-1, keepdims=True)
    return dx, dgain


class _AttentionSaved(NamedTuple):
    norm: _NormSaved
    normed: Array
    q: Array
    k: Array
    v: Array
    weights: Array
    mixed: Array


def _attention(
    config: Config, parameters: Parameters, name: str, x: Array, size: int
) -> tuple[Array, _AttentionSaved]:
    normed, norm = _rms_norm(x, parameters[name + "attention.norm.weight"])
    q, k, v = _split_heads(config, normed @ parameters[name + "attention.qkv.weight"], size)
    length = q.shape[2]
    scores = (q @ k.swapaxes(-1, -2)) * (1 / math.sqrt(q.shape[-1]))
    scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    mixed = (weights @ v).swapaxes(1, 2).reshape(x.shape)
    return mixed @ parameters[name + "attention.out.weight"], _AttentionSaved(
        norm, normed, q, k, v, weights, mixed
    )


def _attention_back(
    config: Config,
    parameters: Parameters,
    gradients: Parameters,
    name: str,
    dy: Array,
    saved: _AttentionSaved,
) -> Array:
    norm, normed, q, k, v, weights, mixed = saved
    size, heads, length, width = q.shape
    gradients[name + "attention.out.weight"] = mixed.T @ dy
    dmixed = dy @ parameters[name + "attention.out.weight"].T
    dmixed = dmixed.reshape(size, length, heads, width).swapaxes(1, 2)
    dweights = dmixed @ v.swapaxes(-1, -2)
    dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True)) * (1 / math.sqrt(width))
    dheads = np.stack((dscores @ k, dscores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ dmixed))
    # (q k v, batch, head, place, width) → (batch · place, q k v · head · width)
    dqkv = dheads.transpose(1, 3, 0, 2, 4).reshape(size * length, 3 * config.width)
    gradients[name + "attention.qkv.weight"] = normed.T @ dqkv
    dx, gradients[name + "attention.norm.weight"] = _rms_norm_back(
        dqkv @ parameters[name + "attention.qkv.weight"].T, norm
    )
    return dx


def _split_heads(config: Config, qkv: Array, size: int) -> tuple[Array, Array, Array]:
    """(batch · place, q k v · head · width) → three of (batch, head, place, width)."""
    parts = qkv.reshape(size, -1, 3, config.heads, config.width // config.heads).transpose(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


class _MlpSaved(NamedTuple):
    norm: _NormSaved
    normed: Array
    positive: Array


def _mlp(parameters: Parameters, name: str, x: Array) -> tuple[Array, _MlpSaved]:
    normed, norm = _rms_norm(x, parameters[name + "mlp.norm.weight"])
    positive = np.maximum(normed @ parameters[name + "mlp.up.weight"], 0)
    return (positive * positive) @ parameters[name + "mlp.down.weight"], _MlpSaved(norm, normed, positive)


def _mlp_back(parameters: Parameters, gradients: Parameters, name: str, dy: Array, saved: _MlpSaved) -> Array:
    norm, normed, positive = saved
    gradients[name + "mlp.down.weight"] = (positive * positive).T @ dy
    dup = 2 * positive * (dy @ parameters[name + "mlp.down.weight"].T)
    gradients[name + "mlp.up.weight"] = normed.T @ dup
    dx, gradients[name + "mlp.norm.weight"] = _rms_norm_back(dup @ parameters[name + "mlp.up.weight"].T, norm)
    return dx


def _cross_entropy(logits: Array, targets: Tokens) -> tuple[float, Array]:
    """Mean loss, and its gradient for the logits (rows, vocabulary)."""
    rows = np.arange(len(targets))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    totals = powers.sum(axis=-1, keepdims=True)
    loss = float((np.log(totals[:, 0]) - shifted[rows, targets]).mean())
    gradient = powers / totals
    gradient[rows, targets] -= 1
    return loss, gradient / len(targets)
