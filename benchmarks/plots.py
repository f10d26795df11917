"""Line and bar charts as SVG, readable on light and on dark pages, with nothing to install.

Each chart carries its own background and two sets of colours, chosen by ``prefers-color-scheme``. Series
differ in the shape of their marks too, so that no reader depends on the colours. The same values give the
same bytes: a chart that is made again changes nothing in Git.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from xml.sax.saxutils import escape

WIDTH = 760
FONT = 12
_LETTER = 6.7  # average width of a letter, px
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 52
_PLOT_HEIGHT = 320
_ROW = 26  # px of a bar with its gap
_LEGEND_ROW = 20

_LIGHT = ("#2a78d6", "#d95926", "#12835b", "#a06c00", "#4a3aa7", "#c92f2f", "#c2477f", "#5b6470")
_DARK = ("#5aa2f2", "#f08a5d", "#37c495", "#e0ae3a", "#a99ff2", "#f08080", "#ec86b4", "#a9b2be")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where values of an axis lie, in px."""

    low: float
    high: float
    first: float
    last: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high, here = (log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.first + (self.last - self.first) * (here - low) / (high - low)


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: dict[str, list[Point]],
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """A chart of some series of (x, y) points, joined in order of x; one without points is named as such.

    Raises:
        ValueError: no point at all, a value that is not finite, or one ≤ 0 on a logarithmic axis.
    """
    points = [point for one in series.values() for point in one]
    xs = ticks([x for x, _ in points], log=log_x)
    ys = ticks([y for _, y in points], log=log_y, from_zero=True)
    names = [name if one else f"{name} (no values)" for name, one in series.items()]
    places, legend_height = _legend_places(names)
    top = _TOP + legend_height
    bottom = top + _PLOT_HEIGHT
    x_scale = _Scale(xs[0], xs[-1], _LEFT, WIDTH - _RIGHT, log_x)
    y_scale = _Scale(ys[0], ys[-1], bottom, top, log_y)
    out = [_text(_LEFT, 24, title, "title")]
    for number, (name, (x, y)) in enumerate(zip(names, places, strict=True)):
        out.append(_mark(number, x, _TOP + y))
        out.append(_text(x + 10, _TOP + y + 4, name, "label"))
    out += _grid(xs, ys, x_scale, y_scale)
    out.append(_text((_LEFT + WIDTH - _RIGHT) / 2, bottom + 40, x_label, "label", "middle"))
    out.append(_turned(16, (top + bottom) / 2, y_label))
    for number, one in enumerate(series.values()):
        at = [(x_scale(x), y_scale(y)) for x, y in sorted(one)]
        if len(at) > 1:
            path = " ".join(f"{_number(x)},{_number(y)}" for x, y in at)
            out.append(f'<polyline class="line s{number % len(_LIGHT)}" points="{path}"/>')
        out += [_mark(number, x, y) for x, y in at]
    return _document(bottom + _BOTTOM, title, out)


def bar_chart(title: str, y_label: str, rows: dict[str, float | None]) -> str:
    """Horizontal bars from zero, one a row, in the given order; None is a row that says "not measured".

    Raises:
        ValueError: no value at all, or one that is negative or not finite.
    """
    values = [value for value in rows.values() if value is not None]
    if any(value < 0 for value in values):
        raise ValueError(f"{title}: bars are not negative")
    marks = ticks(values, log=False, from_zero=True)
    left = max(_LEFT, min(WIDTH // 2, 20 + _LETTER * max(len(name) for name in rows)))
    bottom = _TOP + _ROW * len(rows)
    scale = _Scale(marks[0], marks[-1], left, WIDTH - _RIGHT - 40, False)
    out = [_text(12, 24, title, "title")]
    for mark in marks:
        x = _number(scale(mark))
        out.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>')
        out.append(_text(scale(mark), bottom + 16, tick_text(mark), "tick", "middle"))
    for number, (name, value) in enumerate(rows.items()):
        y = _TOP + _ROW * number
        out.append(_text(left - 8, y + 17, name, "label", "end"))
        if value is None:
            out.append(_text(left + 6, y + 17, "not measured", "tick"))
            continue
        width = scale(value) - left
        where = f'x="{_number(left)}" y="{y + 4}" width="{_number(width)}" height="{_ROW - 8}"'
        out.append(f'<rect class="bar" {where}/>')
        out.append(_text(left + width + 6, y + 17, f"{value:.4g}", "label"))
    out.append(_text((left + WIDTH - _RIGHT - 40) / 2, bottom + 36, y_label, "label", "middle"))
    return _document(bottom + _BOTTOM, title, out)


def ticks(values: Sequence[float], *, log: bool, from_zero: bool = False) -> list[float]:
    """Round numbers around all values, the least first; at least two.

    ``from_zero``: a linear axis that begins at zero when no value is below it.

    Raises:
        ValueError: no value, one that is not finite, or one ≤ 0 on a logarithmic axis.
    """
    if not values:
        raise ValueError("no values to draw")
    if not all(isfinite(value) for value in values):
        raise ValueError("a value to draw is not finite")
    low, high = min(values), max(values)
    if log:
        if low <= 0:
            raise ValueError("a logarithmic axis has no place for values of zero and below")
        return _log_ticks(low, high)
    if from_zero and low >= 0:
        low = 0.0
    if high == low:
        high = low + (abs(low) or 1.0)
    step = _round_step((high - low) / 6)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** floor(log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, …, or powers of ten where these would be too many."""
    exponents = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1, 2, 5) if len(exponents) <= 4 else (1,)
    marks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    first = max((n for n, mark in enumerate(marks) if mark <= low * (1 + 1e-9)), default=0)
    last = min((n for n, mark in enumerate(marks) if mark >= high * (1 - 1e-9)), default=len(marks) - 1)
    return marks[first : max(last, first + 1) + 1]


def tick_text(value: float) -> str:
    """A tick as people write it: no exponents between 0.0001 and 999,999."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def _legend_places(names: list[str]) -> tuple[list[Point], int]:
    """Where each mark of the legend goes, below the title, and the height of all rows."""
    places: list[Point] = []
    x, y = float(_LEFT + 4), 4.0
    for name in names:
        width = 30 + _LETTER * len(name)
        if places and x + width > WIDTH - _RIGHT:
            x, y = float(_LEFT + 4), y + _LEGEND_ROW
        places.append((x, y))
        x += width
    return places, round(y) + _LEGEND_ROW


def _grid(xs: list[float], ys: list[float], x_scale: _Scale, y_scale: _Scale) -> Iterator[str]:
    left, right = _number(x_scale.first), _number(x_scale.last)
    bottom, top = _number(y_scale.first), _number(y_scale.last)
    for value in ys:
        y = y_scale(value)
        yield f'<line class="grid" x1="{left}" y1="{_number(y)}" x2="{right}" y2="{_number(y)}"/>'
        yield _text(x_scale.first - 8, y + 4, tick_text(value), "tick", "end")
    for value in xs:
        x = x_scale(value)
        yield f'<line class="grid" x1="{_number(x)}" y1="{bottom}" x2="{_number(x)}" y2="{top}"/>'
        yield _text(x, y_scale.first + 18, tick_text(value), "tick", "middle")
    yield f'<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
    yield f'<line class="axis" x1="{left}" y1="{bottom}" x2="{left}" y2="{top}"/>'


def _mark(number: int, x: float, y: float) -> str:
    """A disc, square, diamond or triangle in the colour of a series."""
    drawn = f'class="mark s{number % len(_LIGHT)}"'
    shape = number % 4
    if shape == 0:
        return f'<circle {drawn} cx="{_number(x)}" cy="{_number(y)}" r="3.6"/>'
    if shape == 1:
        return f'<rect {drawn} x="{_number(x - 3.4)}" y="{_number(y - 3.4)}" width="6.8" height="6.8"/>'
    corners = {
        2: ((0, -4.8), (4.8, 0), (0, 4.8), (-4.8, 0)),
        3: ((0, -4.6), (4.4, 3.4), (-4.4, 3.4)),
    }[shape]
    path = " ".join(f"{_number(x + dx)},{_number(y + dy)}" for dx, dy in corners)
    return f'<polygon {drawn} points="{path}"/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    where = f'x="{_number(x)}" y="{_number(y)}"'
    return f'<text class="{kind}" {where} text-anchor="{anchor}">{escape(text)}</text>'


def _turned(x: float, y: float, text: str) -> str:
    where = f"translate({_number(x)} {_number(y)}) rotate(-90)"
    return f'<text class="label" text-anchor="middle" transform="{where}">{escape(text)}</text>'


def _colours(ink: str, quiet: str, grid: str, page: str, series: tuple[str, ...]) -> str:
    rules = [
        f".page{{fill:{page}}}",
        f".title,.label{{fill:{ink}}}",
        f".tick{{fill:{quiet}}}",
        f".grid{{stroke:{grid}}}",
        f".axis{{stroke:{quiet}}}",
        f".bar{{fill:{series[0]}}}",
    ]
    for number, colour in enumerate(series):
        rules.append(f".mark.s{number}{{fill:{colour}}}.line.s{number}{{stroke:{colour}}}")
    return "".join(rules)


def _document(height: int, title: str, content: list[str]) -> str:
    light = _colours("#1c2128", "#57606a", "#dfe3e8", "#ffffff", _LIGHT)
    dark = _colours("#e6edf3", "#9aa5b1", "#262c34", "#0d1117", _DARK)
    style = (
        f"text{{font:{FONT}px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}}"
        ".title{font-size:15px;font-weight:600}.tick{font-size:11px}"
        ".line{fill:none;stroke-width:2;stroke-linejoin:round}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        *content,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
