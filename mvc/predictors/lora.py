"""``lora`` version 1: a weight with a low-rank adapter merged into it: W + scale · (B A).

Parameters:

- ``dtype``: float type of W and of the result; ``adapter``: that of A and B; each F32, F16 or BF16;
- ``rank``: r, 1 to 1,024; ``columns``: elements of a row of W, 1 to 2^20; ``skip``: how many elements of its
  first row come before the piece;
- ``scale``: a number, rounded to F32;
- ``compute``: ``F32``, or ``native``: the product, the scaled product and the sum are each rounded to
  ``dtype``.

Three operands: the piece of W, as long as the prediction; A, r rows of ``columns``; of B, r elements for each
row of W that the piece touches. An element of B A is Σ b_k · a_k for ascending k, from the first product on:
each product and each sum a single operation of F32, from left to right. It is multiplied by ``scale``, the
element of W is added, and the sum rounded to ``dtype``. Elements times rank are at most 2^30.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvc.elements import Elements, scratch, unsigned
from mvc.predictors import ieee
from mvc.predictors.floats import F32, PARENTS, Numbers, elements, load, round_to, store, width_of
from mvc.predictors.grouped import Groups
from mvc.predictors.params import Params

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

MAX_RANK = 1024
MAX_WORK = 1 << 30
"""Greatest product of elements and rank: twice that of a piece of 1 MiB, and some seconds."""

_KEYS = ("dtype", "adapter", "rank", "columns", "skip", "scale", "compute")
_ENOUGH = 0.9


class Lora:
    """The predictor ``lora``."""

    name = "lora"
    version = 1

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The piece of W with the adapter merged into it."""
        return ieee.calculate(self, bases, params, length)

    def calculate(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """As :meth:`predict`, on exact arithmetic."""
        read = Params(self.name, params, _KEYS)
        dtype, adapter = read.choice("dtype", PARENTS), read.choice("adapter", PARENTS)
        compute = read.choice("compute", ("F32", "native"))
        rank, scale = read.integer("rank", 1, MAX_RANK), read.number("scale")
        rows = Groups.read(read, "columns", read.whole(length, width_of(dtype)))
        width = width_of(adapter)
        if rank * rows.elements > MAX_WORK:
            read.refuse("more to calculate than any honest record has")
        operands = read.operands(bases, [length, rank * rows.size * width, rows.number * rank * width])
        weight = elements(operands[0], dtype)
        down = _numbers(elements(operands[1], adapter), adapter).reshape(rank, rows.size)
        up = _numbers(elements(operands[2], adapter), adapter).reshape(rows.number, rank)
        made = np.empty(weight.size, unsigned(width_of(dtype)))
        for part in rows.parts():
            moved = _product(up[part.groups], down).reshape(-1)[part.inside]
            base = scratch("lora.weight", moved.size, F32)
            load(weight[part.outside], dtype, base)
            if compute == "native":
                round_to(moved, dtype)
            np.multiply(moved, np.float32(scale), out=moved)
            if compute == "native":
                round_to(moved, dtype)
            np.add(base, moved, out=base)
            store(base, dtype, made[part.outside])
        return made.view(np.uint8).data


def _numbers(bits: Elements, dtype: str) -> Numbers:
    numbers = np.empty(bits.size, F32)
    load(bits, dtype, numbers)
    return numbers


def _product(up: Numbers, down: Numbers) -> Numbers:
    """The product of two matrices, summed in the order of the rank; scratch."""
    shape = up.shape[0], down.shape[1]
    total = scratch("lora.total", shape[0] * shape[1], F32).reshape(shape)
    term = scratch("lora.term", shape[0] * shape[1], F32).reshape(shape)
    np.multiply(up[:, :1], down[0], out=total)
    for index in range(1, down.shape[0]):
        np.multiply(up[:, index : index + 1], down[index], out=term)
        np.add(total, term, out=total)
    return total


def find(
    target: Elements, base: Elements, dtype: str, down: Elements, up: Elements, adapter: str, rank: int
) -> dict[str, Any] | None:
    """Parameters, with ``skip`` 0, that make nine tenths of a merged weight or more; or None.

    ``target``, ``base``: bits of float type ``dtype`` of the same rows; ``down``: all of A; ``up``: those
    rows of B, both bits of float type ``adapter``. The scale is fitted; ``lora_alpha`` need not be known.
    """
    if not {dtype, adapter} <= PARENTS or not target.size or not rank or down.size % rank:
        return None
    columns = down.size // rank
    if not columns or base.size % columns or up.size * columns != base.size * rank:
        return None
    with np.errstate(all="ignore"):
        product = _product(
            _numbers(up, adapter).reshape(-1, rank), _numbers(down, adapter).reshape(rank, -1)
        ).reshape(-1)
        move = _numbers(target, dtype) - _numbers(base, dtype)
        fitted = float((move @ product) / (product @ product)) if product.any() else 0.0
    if not np.isfinite(fitted) or not fitted:
        return None
    bases = [base.tobytes(), down.tobytes(), up.tobytes()]
    best: tuple[float, dict[str, Any] | None] = (_ENOUGH, None)
    for scale in dict.fromkeys(
        [float(round(fitted)), round(2 * fitted) / 2, round(fitted, 2), round(fitted, 4)]
    ):
        for compute in ("F32", "native"):
            params = {
                "dtype": dtype,
                "adapter": adapter,
                "rank": rank,
                "columns": columns,
                "skip": 0,
                "scale": scale,
                "compute": compute,
            }
            made = np.frombuffer(memoryview(PREDICTOR.predict(bases, params, target.nbytes)), target.dtype)
            equal = float(np.mean(made == target))
            if equal >= best[0] and (best[1] is None or equal > best[0]):
                best = equal, params
    return best[1]


PREDICTOR = Lora()
