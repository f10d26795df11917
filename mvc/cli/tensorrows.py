"""Tensors that differ: their rows in tables, their order, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from mvc.cli.changes import COLOURS
from mvc.cli.tables import Column, Table
from mvc.cli.text import share
from mvc.ops.diff import FileChange, TensorChange
from mvc.spans import Span
from mvc.text import one_line, size, times

SORTS = ("name", "share", "l2", "max", "relative", "cosine", "rank")
"""Orders that tensors are shown in: by name, or the furthest first."""

_COLOURS = {**COLOURS, "reshaped": "yellow", "cast": "yellow"}


def in_order(tensors: Sequence[TensorChange], sort: str | None) -> list[TensorChange]:
    """Tensors in one of the :data:`SORTS`, those of which nothing is known last; None leaves them."""
    if sort is None:
        return list(tensors)
    if sort == "name":
        return sorted(tensors, key=lambda tensor: tensor.name)

    def key(tensor: TensorChange) -> tuple[bool, float, str]:
        value = _value(tensor, sort)
        order = 0.0 if value is None else value if sort == "cosine" else -value
        return value is None, order, tensor.name

    return sorted(tensors, key=key)


def _value(tensor: TensorChange, sort: str) -> float | None:
    stats = tensor.stats
    if stats is None:
        return tensor.moved if sort == "share" else None
    return {
        "share": stats.moved,
        "l2": stats.l2,
        "max": stats.largest,
        "relative": stats.relative,
        "cosine": stats.cosine,
        "rank": stats.rank,
    }[sort]


def tensor_rows(tensors: Sequence[TensorChange], sort: str | None, *, verbose: bool) -> Table:
    """A table with a row for each: what happened, the form, and how far it moved; with ``verbose``, or sorted
    by them, also ‖Δ‖, cosine and effective rank. In a narrow window the share and how far it moved stay."""
    moves = [Column(), Column(), *[Column(spare=True) for _ in range(5)]]
    table = Table([Column(), Column(cut="middle"), Column(), *moves], indent="     ")
    for tensor in tensors:
        cells = [*_form_cells(tensor), *_moves(tensor, sort, verbose=verbose)]
        table.add(*cells, colour=_COLOURS.get(tensor.kind, ""))
    return _without_empty(table)


def part(relative: float) -> str:
    """‖Δ‖ ÷ ‖W‖ as people compare it: ``1.4 %``, ``0.021 %``, ``480 times``."""
    if relative >= 10:
        return times(relative)
    return f"{100 * relative:.2g} %" if relative < 0.1 else f"{100 * relative:.0f} %"


def _without_empty(table: Table) -> Table:
    """Columns that say nothing are left out, so that lines do not become wide for nothing."""
    every = range(len(table.columns))
    return table.with_columns([place for place in every if any(row.cells[place] for row in table.rows)])


def _form_cells(tensor: TensorChange) -> tuple[str, str, str]:
    old, new = tensor.old, tensor.new
    if tensor.kind in ("reshaped", "cast") and old is not None and new is not None:
        shape = f"{_form(old)} -> {_form(new)}"
    else:
        span = new or old
        shape = "" if span is None else _form(span)
    return tensor.kind, one_line(tensor.name), shape


def _form(span: Span) -> str:
    return f"{span.dtype} {list(span.shape)}"


def _moves(tensor: TensorChange, sort: str | None, *, verbose: bool) -> list[str]:
    """Seven cells: share, relative move, largest change, ‖Δ‖, cosine, rank, what is no number."""
    stats = tensor.stats
    if stats is None:
        span = tensor.new or tensor.old
        if tensor.kind == "changed":
            return ["too large to compare", *[""] * 6]
        return [
            size(span.length) if span is not None and tensor.kind in ("added", "removed") else "",
            *[""] * 6,
        ]
    moved = "" if stats.moved is None else f"{share(stats.moved)} moved"
    if tensor.kind == "reshaped" and tensor.new is not None and tensor.old is not None:
        moved = _rows(tensor.old, tensor.new, moved)
    if _is_recoded(tensor):
        return ["other numbers", *[""] * 6]
    by = ""
    if stats.relative:
        by = f"by {part(stats.relative)}"
    largest = f"max {stats.largest:.3g}" if stats.largest else ""
    l2 = f"L2 {stats.l2:.4g}" if stats.l2 is not None and (verbose or sort == "l2") else ""
    cosine = f"cos {stats.cosine:.6f}" if stats.cosine is not None and (verbose or sort == "cosine") else ""
    rank = f"rank {stats.rank:.1f}" if stats.rank is not None and (verbose or sort == "rank") else ""
    return [moved, by, largest, l2, cosine, rank, _lost(tensor)]


def _is_recoded(tensor: TensorChange) -> bool:
    """Whether floats became integers or the reverse, as quantising does: with scales elsewhere, the distance
    of these numbers says nothing."""
    if tensor.old is None or tensor.new is None:
        return False
    names = (tensor.old.dtype, tensor.new.dtype)
    return any(name.startswith(("F", "BF")) for name in names) and any(
        name.startswith(("I", "U")) for name in names
    )


def _rows(old: Span, new: Span, moved: str) -> str:
    if old.shape[1:] == new.shape[1:] and old.shape and new.shape and old.shape != new.shape:
        return f"{new.shape[0] - old.shape[0]:+,} rows, {moved} of the others"
    return moved


def _lost(tensor: TensorChange) -> str:
    """What there is of NaNs and infinities, where some came or went."""
    stats = tensor.stats
    if stats is None:
        return ""
    named = (("NaN", stats.nans), ("inf", stats.infinities))
    return ", ".join(f"{name} {before:,} -> {after:,}" for name, (before, after) in named if before or after)


def moved_by(change: FileChange) -> float | None:
    """‖Δ‖ ÷ ‖W‖ of all tensors of a file together that moved; None where nothing is known of any."""
    known = [tensor.stats for tensor in change.tensors if tensor.stats is not None]
    squares = [(s.l2 * s.l2, s.norm * s.norm) for s in known if s.l2 is not None and s.norm is not None]
    norm = sum(norm for _l2, norm in squares)
    return sqrt(sum(l2 for l2, _norm in squares) / norm) if norm else None


def tensor_json(tensor: TensorChange) -> dict[str, Any]:
    """A tensor that differs."""
    stats = tensor.stats
    return {
        "kind": tensor.kind,
        "name": tensor.name,
        "old": _span_json(tensor.old),
        "new": _span_json(tensor.new),
        "moved": tensor.moved,
        "stats": None
        if stats is None
        else {
            "elements": stats.elements,
            "moved": stats.moved,
            "l2": stats.l2,
            "largest": stats.largest,
            "norm": stats.norm,
            "relative": stats.relative,
            "cosine": stats.cosine,
            "rank": stats.rank,
            "low_rank": stats.low_rank,
            "nans": list(stats.nans),
            "infinities": list(stats.infinities),
        },
    }


def _span_json(span: Span | None) -> dict[str, Any] | None:
    return None if span is None else {"dtype": span.dtype, "shape": list(span.shape), "bytes": span.length}
