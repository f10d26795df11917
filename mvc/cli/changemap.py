"""How far tensors moved, as a picture: a heat map of layers × kinds of tensors, and below it how the elements
of those moved that moved furthest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10, sqrt
from typing import NamedTuple

from mvc.cli.drawing import LETTER, Box, Drawing, Words, cut
from mvc.cli.text import share
from mvc.dtypes import DTYPES
from mvc.history.tensornames import place_of, shortened
from mvc.ops.diff import FileChange, TensorChange
from mvc.spans import Span
from mvc.text import count, one_line

_PANELS = 6  # tensors of which the changes of single elements are drawn

_MARGIN = 16.0
_ROW = 16.0
_MOST_ROWS = 64
_MOST_LABEL = 300.0
_PANEL, _PANEL_HEIGHT = 232.0, 86.0
_BETWEEN = 28.0

# viridis (S. van der Walt and N. Smith, 2015), at equal distances
_RAMP = ((68, 1, 84), (65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (253, 231, 37))


@dataclass(slots=True)
class _Cell:
    """Tensors of one kind in one layer: squares of ‖Δ‖ and ‖W‖, and how many."""

    delta: float = 0.0
    norm: float = 0.0
    tensors: int = 0
    unknown: bool = False

    @property
    def relative(self) -> float | None:
        """‖Δ‖ ÷ ‖W‖."""
        return sqrt(self.delta / self.norm) if self.norm and not self.unknown else None


class _Map(NamedTuple):
    """Cells by kind and layer (None: outside of the layers), in the order of the file."""

    cells: dict[tuple[str, int | None], _Cell]
    kinds: list[str]
    layers: list[int]
    loose: bool


def change_map(title: str, changes: Sequence[FileChange]) -> Drawing:
    """The picture of the tensors of some files that differ."""
    moved = _of_floats([t for change in changes for t in change.tensors if t.old and t.new])
    found = _map(moved, _resting(changes) if moved else [])
    drawing = Drawing(f"how far tensors moved: {one_line(title)}")
    drawing.words.append(
        Words(_MARGIN, _MARGIN + 10, f"How far tensors moved: {one_line(title)}", strong=True)
    )
    files = ", ".join(one_line(change.path) for change in changes if change.tensors)
    below = f"{count(len(moved), 'tensor')} of {files}" if moved else "no tensor moved"
    y = _heat_map(drawing, found, _MARGIN + 46)
    width = max(drawing.width, 3 * _PANEL + 2 * _BETWEEN + 2 * _MARGIN if _drawn(moved) else 480.0)
    drawing.words.append(Words(_MARGIN, _MARGIN + 26, cut(below, width - 2 * _MARGIN), "faint"))
    drawing.width = width
    drawing.height = _histograms(drawing, _drawn(moved), y + 12)
    return drawing


def _drawn(moved: Sequence[TensorChange]) -> list[TensorChange]:
    with_counts = [tensor for tensor in moved if tensor.histogram and tensor.stats]
    furthest = sorted(with_counts, key=lambda t: -((t.stats.relative or 0.0) if t.stats else 0.0))
    return furthest[:_PANELS]


# --- the map -----------------------------------------------------------------------------------------------
def _of_floats(tensors: Sequence[TensorChange]) -> list[TensorChange]:
    """Those of float types; all where there are none. Counters of steps would take up the whole scale."""
    return [t for t in tensors if t.new and _is_float(t.new)] or list(tensors)


def _is_float(span: Span) -> bool:
    dtype = DTYPES.get(span.dtype)
    return dtype is not None and (dtype.exponent_bits > 0 or dtype.elements > 1)


def _resting(changes: Sequence[FileChange]) -> list[str]:
    """Names of float tensors that are in both versions of a file, and did not move."""
    found: list[str] = []
    for change in changes:
        if change.old is not None and change.new is not None and change.tensors:
            told = {tensor.name for tensor in change.tensors}
            both = {span.name for span in change.old.tensors} - told
            found += [span.name for span in change.new.tensors if span.name in both and _is_float(span)]
    return found


def _map(moved: Sequence[TensorChange], resting: Sequence[str]) -> _Map:
    cells: dict[tuple[str, int | None], _Cell] = {}
    for name in resting:
        place = place_of(name)
        cells[one_line(place.kind), place.layer] = _Cell(norm=1.0, tensors=1)
    for tensor in moved:
        place = place_of(tensor.name)
        cell = cells.setdefault((one_line(place.kind), place.layer), _Cell())
        stats = tensor.stats
        cell.tensors += 1
        if stats is None or stats.l2 is None or stats.norm is None:
            cell.unknown = True
        else:
            cell.delta += stats.l2 * stats.l2
            cell.norm += stats.norm * stats.norm
    kinds = sorted({kind for kind, _layer in cells})
    if len(kinds) > _MOST_ROWS:
        far = {kind: max(c.relative or 0.0 for (k, _l), c in cells.items() if k == kind) for kind in kinds}
        kept = set(sorted(kinds, key=lambda kind: -far[kind])[:_MOST_ROWS])
        kinds = [kind for kind in kinds if kind in kept]
    layers = sorted({layer for kind, layer in cells if layer is not None and kind in kinds})
    return _Map(cells, kinds, layers, any(layer is None for _kind, layer in cells))


def _heat_map(drawing: Drawing, found: _Map, top: float) -> float:
    """Draw the map; gives where it ends below."""
    known = [cell.relative for cell in found.cells.values() if cell.relative]
    if not found.kinds:
        drawing.width = 480.0
        return top
    low, high = _range(known)
    names = shortened(found.kinds)
    label = min(max(len(name) for name in names.values()) * LETTER, _MOST_LABEL) + 10
    columns: list[int | None] = [*([None] if found.loose else []), *found.layers]
    wide = 58.0 if len(columns) <= 12 else 22.0 if len(columns) <= 40 else 10.0
    left = _MARGIN + label
    y = top + 20
    if found.layers:
        start = left + (wide + 4 if found.loose else 0)
        drawing.words.append(Words(start, top + 2, "layer", "faint"))
        step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000, 10**6) if n * wide >= 26 or n == 10**6)
        for place, number in enumerate(found.layers):
            if number % step == 0:
                x = start + (place + 0.5) * wide
                drawing.words.append(Words(x, y - 5, str(number), "faint", "middle"))
    for kind in found.kinds:
        drawing.words.append(Words(left - 8, y + 12, cut(names[kind], label - 10), "ink", "end"))
        x = left
        for layer in columns:
            cell = found.cells.get((kind, layer))
            if cell is not None:
                _draw_cell(drawing, cell, (x, y), wide, (low, high), _titled(kind, layer))
            x += wide + (4 if layer is None else 0)
        y += _ROW
    drawing.width = left + len(columns) * wide + (4 if found.loose else 0) + _MARGIN
    hidden = len({kind for kind, _layer in found.cells}) - len(found.kinds)
    if hidden:
        y += 14
        drawing.words.append(Words(left, y - 2, f"{hidden:,} more kinds of tensors moved less", "faint"))
    return _legend(drawing, left, y + 14, (low, high), bool(known))


def _titled(kind: str, layer: int | None) -> str:
    return kind if layer is None else f"{kind}, layer {layer}"


def _range(known: Sequence[float]) -> tuple[float, float]:
    """The ends of the scale: powers of ten are read most easily, so at least one lies between them."""
    if not known:
        return 1e-3, 1.0
    low, high = min(known), max(known)
    return (low, high) if high > 1.05 * low else (high / 2, high)


def _draw_cell(
    drawing: Drawing, cell: _Cell, at: tuple[float, float], wide: float, ends: tuple[float, float], name: str
) -> None:
    relative = cell.relative
    gap = 1.0 if wide > 12 else 0.5
    place = 0.0 if not relative else log10(relative / ends[0]) / log10(ends[1] / ends[0])
    fill = _colour(place) if relative else "empty"
    told = "no change" if relative == 0 else "?" if relative is None else share(relative)
    several = f" ({cell.tensors:,} tensors)" if cell.tensors > 1 else ""
    drawing.boxes.append(Box(at[0], at[1], wide - gap, _ROW - gap, fill, f"{name}: {told}{several}"))
    if wide > 40 and relative != 0:
        tone = "faint" if not relative else "#1c2430" if place > 0.55 else "#ffffff"
        drawing.words.append(Words(at[0] + wide / 2, at[1] + 11.5, told, tone, "middle"))


def _colour(place: float) -> str:
    place = min(max(place, 0.0), 1.0) * (len(_RAMP) - 1)
    number = min(floor(place), len(_RAMP) - 2)
    rest = place - number
    mixed = (round(a + (b - a) * rest) for a, b in zip(_RAMP[number], _RAMP[number + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _legend(drawing: Drawing, x: float, y: float, ends: tuple[float, float], some: bool) -> float:
    if some:
        steps, width = 40, 160.0
        for step in range(steps):
            drawing.boxes.append(
                Box(x + step * width / steps, y, width / steps + 0.5, 9, _colour(step / (steps - 1)))
            )
        drawing.words.append(Words(x, y + 21, _percent(ends[0]), "faint"))
        drawing.words.append(Words(x + width, y + 21, _percent(ends[1]), "faint", "end"))
        words = "‖Δ‖ ÷ ‖W‖, log scale; grey: did not move"
        drawing.words.append(Words(x + width + 10, y + 9, words, "faint"))
        drawing.width = max(drawing.width, x + width + 10 + len(words) * LETTER + _MARGIN)
    return y + 34


def _percent(part: float) -> str:
    """A share with enough digits that neither end of a scale is nothing."""
    return f"{100 * part:.2g} %" if part < 0.1 else f"{100 * part:,.0f} %"


# --- histograms --------------------------------------------------------------------------------------------
def _histograms(drawing: Drawing, tensors: Sequence[TensorChange], top: float) -> float:
    """Draw the changes of single elements; gives the height of the drawing."""
    if not tensors:
        return top + _MARGIN
    words = "Changes of single elements in the tensors that moved furthest (logarithm of their number):"
    drawing.words.append(Words(_MARGIN, top + 6, words))
    top += 18
    for number, tensor in enumerate(tensors):
        x = _MARGIN + number % 3 * (_PANEL + _BETWEEN)
        y = top + number // 3 * (_PANEL_HEIGHT + 48)
        _panel(drawing, tensor, x, y)
    rows = (len(tensors) + 2) // 3
    return top + rows * (_PANEL_HEIGHT + 48) + _MARGIN


def _panel(drawing: Drawing, tensor: TensorChange, x: float, y: float) -> None:
    stats, counts = tensor.stats, tensor.histogram
    if stats is None or not counts or stats.largest is None:
        return
    drawing.words.append(Words(x, y + 10, cut(one_line(tensor.name), _PANEL), "ink"))
    base = y + 18 + _PANEL_HEIGHT
    most = log10(1 + max(counts)) or 1.0
    wide = _PANEL / len(counts)
    for number, n in enumerate(counts):
        high = _PANEL_HEIGHT * log10(1 + n) / most
        if n:
            at = x + number * wide
            drawing.boxes.append(Box(at, base - high, wide - 0.5, high, "bar", f"{n:,} elements"))
    drawing.boxes.append(Box(x, base, _PANEL, 0.5, "line"))
    drawing.boxes.append(Box(x + _PANEL / 2 - 0.25, base, 0.5, 4, "line"))
    drawing.words.append(Words(x, base + 13, f"−{stats.largest:.2g}", "faint"))
    drawing.words.append(Words(x + _PANEL / 2, base + 13, "0", "faint", "middle"))
    drawing.words.append(Words(x + _PANEL, base + 13, f"{stats.largest:.2g}", "faint", "end"))
