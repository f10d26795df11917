"""Puts kept results into the documents: tables and charts of :mod:`benchmarks.ratios`.

    python -m benchmarks.ratio_page results/ratios.json DOCS

Replaces what stands between the markers in ``DOCS/benchmarks.md`` and writes ``DOCS/plots/ratio-….svg``.
Measures nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.plots import Point, bar_chart, line_chart
from benchmarks.ratio_cases import MOVES
from benchmarks.ratio_table import (
    Row,
    about,
    apart_table,
    case_tables,
    folder_table,
    markdown,
    ratio,
)

BEGIN, END = "<!-- ratios: made by benchmarks.ratio_page -->", "<!-- end of ratios -->"
_CURVES: dict[str, Callable[[Row], int | None]] = {
    "mvc": lambda row: row["records"],
    "XOR planes, zstd -3": lambda row: row["sizes"].get("XOR planes, zstd -3"),
    "zipnn": lambda row: row["sizes"].get("zipnn"),
    "order-0 bound, grouped": lambda row: row["sizes"].get("bound grouped"),
}
_CHANGES: dict[str, Callable[[Row], int | None]] = {
    "mvc": lambda row: row["records"],
    "XOR planes, zstd -3": lambda row: row["sizes"].get("XOR planes, zstd -3"),
    "zipnn": lambda row: row["sizes"].get("zipnn"),
    "order-0 bound over changes": lambda row: row["sizes"].get("bound changes"),
    "mvc without manifest, tree and commit": lambda row: row["blobs"],
}
_SOURCES = {"checkpoints": "real checkpoints", "corpus": "trained corpus"}


def charts(result: Row) -> dict[str, str]:
    """Every chart that the results have values for, by file name."""
    out: dict[str, str] = {}
    for source, title in _SOURCES.items():
        rows = [row for row in result["cases"] if row["source"] == source and _over_its_base(row)]
        rows = [row for row in rows if row["family"] == "bf16 moved"]
        curves = _series(rows, _CURVES, lambda row: 100 * row["move"])
        if any(curves.values()):
            curves["goal"] = [(100 * move, least) for move, least in MOVES]
            out[f"ratio-move-{source}.svg"] = line_chart(
                f"bf16 over its base: {title}", "‖Δ‖ ÷ ‖W‖, %", "raw ÷ stored", curves, log_x=True, log_y=True
            )
    rows = [row for row in result["cases"] if _over_its_base(row) and row["unchanged"] < 1]
    changes = _series(rows, _CHANGES, lambda row: 100 * (1 - row["unchanged"]))
    if any(changes.values()):
        out["ratio-unchanged.svg"] = line_chart(
            "bf16 over its base: how much of it changed",
            "changed elements, % (the share unchanged is the rest)",
            "raw ÷ stored",
            changes,
            log_x=True,
            log_y=True,
        )
    for number, row in enumerate(result["folders"]):
        bars = {"mvc, one after the other": row["store"] / row["raw"]}
        bars["mvc, in one commit"] = row["store at once"] / row["raw"]
        if isinstance(row["store after gc --best"], int):
            bars["mvc, after gc --best"] = row["store after gc --best"] / row["raw"]
        bars |= {name: None if size is None else size / row["raw"] for name, size in row["peers"].items()}
        label = "stored ÷ raw (less is better)"
        out[f"ratio-folder-{number + 1}.svg"] = bar_chart(row["title"], label, bars)
    return out


def _over_its_base(row: Row) -> bool:
    moved = row["family"] in ("bf16 moved", "bf16 mostly same") and bool(row["move"])
    return moved and "beside" not in row["title"]


def _series(
    rows: list[Row], curves: dict[str, Callable[[Row], int | None]], x: Callable[[Row], float]
) -> dict[str, list[Point]]:
    out: dict[str, list[Point]] = {}
    for name, stored in curves.items():
        points = [(x(row), ratio(row["raw"], stored(row))) for row in rows]
        out[name] = [(at, value) for at, value in points if value is not None]
    return out


def section(result: Row, images: list[str]) -> str:
    """The section between the markers."""
    goals = [row for row in [*result["cases"], *result["folders"]] if "goal" in row]
    met = sum(row["met"] for row in goals)
    parts = ["\n".join(f"- {line}" for line in about(result)), f"Goals met: {met} of {len(goals)}."]
    for source, title in _SOURCES.items():
        peers, inner = case_tables(result["cases"], source)
        if len(peers) == 1:
            continue
        parts += [f"### Ratios of the {title}, next to peers", markdown(peers)]
        parts += [f"### Ratios of the {title}, next to single codecs and order-0 bounds", markdown(inner)]
        parts += [_image(name) for name in images if name == f"ratio-move-{source}.svg"]
    parts += [_image(name) for name in images if name == "ratio-unchanged.svg"]
    if result["folders"]:
        parts += ["### Folders as versions: stored ÷ raw", markdown(folder_table(result["folders"]))]
        apart = apart_table(result["folders"])
        if len(apart) > 1:
            parts.append(markdown(apart))
        parts += [_image(name) for name in images if name.startswith("ratio-folder")]
    if result["histories"]:
        parts += ["### Histories as versions: stored ÷ raw", markdown(folder_table(result["histories"]))]
    return "\n\n".join(parts)


def _image(name: str) -> str:
    return f"![{name.removesuffix('.svg').replace('-', ' ')}](plots/{name})"


def replaced(page: str, text: str) -> str:
    """The page with another section between its markers.

    Raises:
        SystemExit: it has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page has no section between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    """Write charts and tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("docs", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.results.read_text())
    drawn = charts(result)
    plots = options.docs / "plots"
    plots.mkdir(exist_ok=True)
    for old in plots.glob("ratio-*.svg"):
        old.unlink()
    for name, chart in drawn.items():
        (plots / name).write_text(chart)
    page = options.docs / "benchmarks.md"
    page.write_text(replaced(page.read_text(), section(result, list(drawn))))


if __name__ == "__main__":
    main()
