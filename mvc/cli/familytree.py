"""The family of some files as an SVG drawing: a box for each, arrows from what it was made from, as wide as
it adds bytes. The same family gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from xml.sax.saxutils import escape

from mvc.ops.estimate import Forecast
from mvc.text import one_line, size

_BOX, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 230, 38, 120, 14, 16  # px
_LETTERS = 34  # of a path in a box
_WIDEST = 14.0  # px of the arrow to the file that adds most
_STYLE = (
    "text{font:12px sans-serif;fill:#1c2430}.how{font-size:11px;fill:#5b6470}"
    "rect{fill:#eef3f9;stroke:#2a78d6}path{fill:none;stroke:#2a78d6;stroke-opacity:.55}"
    ".also{stroke:#d95926;stroke-dasharray:5 4}.page{fill:#fff;stroke:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e6e9ee}.how{fill:#a9b2be}rect{fill:#223046;stroke:#5aa2f2}"
    "path{stroke:#5aa2f2}.also{stroke:#f08a5d}.page{fill:#12161c;stroke:none}}"
)


def family_svg(files: Sequence[Forecast]) -> str:
    """The drawing, for files that come parents first."""
    rows = tree_rows(files)
    places = {
        file.path: (
            _MARGIN + len(depth) * (_BOX + _GAP_X),
            _MARGIN + row * (_HEIGHT + _GAP_Y),
        )
        for row, (depth, file) in enumerate(rows)
    }
    width = max((x for x, _y in places.values()), default=0) + _BOX + _MARGIN
    height = len(rows) * (_HEIGHT + _GAP_Y) + 2 * _MARGIN
    most = max((file.stored_bytes for file in files), default=0) or 1
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="family of {len(files)} files">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8" style="stroke-width:1.5"/>'
        "</marker></defs>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for _depth, file in rows:
        lines += _arrows(file, places, 1 + (_WIDEST - 1) * sqrt(file.stored_bytes / most))
    for _depth, file in rows:
        lines += _box(file, *places[file.path])
    return "\n".join([*lines, "</svg>", ""])


def tree_rows(files: Sequence[Forecast]) -> list[tuple[tuple[bool, ...], Forecast]]:
    """Files as a tree is printed, each below the first of its parents: for each the branches that lead to it,
    whether they are the last ones at their place."""
    children: dict[str | None, list[Forecast]] = {}
    for file in files:
        children.setdefault(file.parents[0].path if file.parents else None, []).append(file)
    rows: list[tuple[tuple[bool, ...], Forecast]] = []
    waiting: list[tuple[tuple[bool, ...], Forecast]] = [
        ((), file) for file in reversed(children.get(None, []))
    ]
    while waiting:
        depth, file = waiting.pop()
        rows.append((depth, file))
        below = children.get(file.path, [])
        waiting += [((*depth, child is below[-1]), child) for child in reversed(below)]
    return rows


def _arrows(file: Forecast, places: Mapping[str, tuple[int, int]], width: float) -> list[str]:
    x, y = places[file.path]
    found: list[str] = []
    for number, parent in enumerate(file.parents):
        from_x, from_y = places[parent.path]
        start, end = from_y + _HEIGHT / 2, y + _HEIGHT / 2
        bend = max(abs(x - from_x - _BOX) / 2, 40)
        kind = ' class="also"' if number else ""
        found.append(
            f'<path{kind} stroke-width="{1.5 if number else width:.1f}" marker-end="url(#tip)" '
            f'd="M{from_x + _BOX} {start:.0f}C{from_x + _BOX + bend:.0f} {start:.0f} '
            f'{x - bend:.0f} {end:.0f} {x} {end:.0f}"/>'
        )
        if not number:
            found.append(
                f'<text class="how" x="{x - 6}" y="{end - 6:.0f}" text-anchor="end">'
                f"{escape(parent.how)}</text>"
            )
    return found


def _box(file: Forecast, x: int, y: int) -> list[str]:
    name = one_line(file.path)
    short = name if len(name) <= _LETTERS else "…" + name[1 - _LETTERS :]
    return [
        f'<rect x="{x}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="5"/>',
        f'<text x="{x + 8}" y="{y + 16}">{escape(short)}<title>{escape(name)}</title></text>',
        f'<text class="how" x="{x + 8}" y="{y + 31}">{size(file.size)} → {size(file.stored_bytes)}</text>',
    ]
