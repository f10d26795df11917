"""The results of :mod:`benchmarks.ratios` as tables, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.machine import sentence

Row = dict[str, Any]
PEER_COLUMNS = (
    "zstd -3",
    "zstd -9",
    "zstd -19",
    "zstd -9 --patch-from",
    "zipnn",
    "blosc2",
    "XOR planes, zstd -3",
)
CODEC_COLUMNS = ("codec rot", "codec residual", "codec ig", "codec tokens")
BOUND_COLUMNS = ("bound alone", "bound residual", "bound grouped", "bound changes")


def number(value: float | None) -> str:
    """Three or four digits; a dash for what was not measured or does not apply."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def ratio(raw: int, stored: int | None) -> float | None:
    """Raw ÷ stored; None where nothing was measured, or nothing is stored."""
    return raw / stored if stored else None


def verdict(row: Row) -> str:
    """Met or missed, with what was reached where that is no ratio."""
    if "goal" not in row:
        return "-"
    said = f"{'met' if row['met'] else '**missed**'}: {number(row['reached'])}"
    if "stretch" not in row:
        return said
    best = row["grown after gc --best"]
    reached = number(row["raw"] / max(1, best)) if isinstance(best, int) else best
    return f"{said}; after gc --best, of {row['stretch']}: {reached}"


def case_line(row: Row) -> str:
    """One class in a line, while the run goes on."""
    goal = f"  goal {row['goal']} {verdict(row)}" if "goal" in row else ""
    title = f"{row['source']}: {row['title']}"
    return f"{title:56s} {number(ratio(row['raw'], row['records'])):>8s}{goal}"


def folder_line(row: Row) -> str:
    """One folder in a line, while the run goes on."""
    return f"{row['title']:56s} stored ÷ raw {row['store'] / row['raw']:.4f}"


def percent(share: float | None) -> str:
    """A share in per cent, with digits where they count."""
    return "-" if share is None else f"{100 * share:.3g} %"


def case_tables(cases: Sequence[Row], source: str) -> tuple[list[list[str]], list[list[str]]]:
    """Two tables of one source, with their heads: next to peers, and next to codecs and bounds."""
    peers = [["class", "raw MB", "mvc", "goal", "", "with store", *PEER_COLUMNS]]
    inner = [["class", "‖Δ‖/‖W‖", "unchanged", "mvc", *CODEC_COLUMNS, *BOUND_COLUMNS]]
    family = None
    for row in cases:
        if row["source"] != source:
            continue
        if row["family"] != family:
            family = row["family"]
            peers.append([f"*{family}*"] + [""] * (len(peers[0]) - 1))
            inner.append([f"*{family}*"] + [""] * (len(inner[0]) - 1))
        raw, sizes = row["raw"], row["sizes"]
        mvc = number(ratio(raw, row["records"]))
        peers.append(
            [row["title"], f"{raw / 1e6:.2f}", mvc, row.get("goal", "-"), verdict(row)]
            + [number(ratio(raw, row["store"]))]
            + [number(ratio(raw, sizes.get(name))) for name in PEER_COLUMNS]
        )
        inner.append(
            [row["title"], percent(row["move"]), percent(row["unchanged"]), mvc]
            + [number(ratio(raw, sizes.get(name))) for name in CODEC_COLUMNS + BOUND_COLUMNS]
        )
    return peers, inner


def folder_table(folders: Iterable[Row]) -> list[list[str]]:
    """Folders as versions: stored ÷ raw."""
    out = [
        ["as versions", "raw MB", "mvc", "goal", "", "in one commit", "after gc --best", "of the best peer"]
    ]
    out[0] += PEER_COLUMNS
    for row in folders:
        raw = row["raw"]

        def share(stored: object, raw: int = raw) -> str:
            return f"{stored / raw:.4f}" if isinstance(stored, int) else "-"

        out.append(
            [row["title"], f"{raw / 1e6:.2f}", share(row["store"]), row.get("goal", "-"), verdict(row)]
            + [share(row.get("store at once")), share(row.get("store after gc --best"))]
            + [number(row["of the best peer"])]
            + [share(row["peers"].get(name)) for name in PEER_COLUMNS]
        )
    return out


def apart_table(folders: Iterable[Row]) -> list[list[str]]:
    """Where the bytes of a folder are: records ÷ raw by what the files are."""
    out = [["of which", "raw MB", "records MB", "records ÷ raw"]]
    for row in folders:
        for name, part in row["apart"].items():
            share = part["records"] / part["raw"] if part["raw"] else 0.0
            out.append([name, f"{part['raw'] / 1e6:.2f}", f"{part['records'] / 1e6:.2f}", f"{share:.4f}"])
    return out


def plain(table: list[list[str]]) -> str:
    """A table in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines).replace("*", "")


def markdown(table: list[list[str]]) -> str:
    """A table in Markdown, figures to the right."""
    head, *rows = table
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def about(result: Row) -> list[str]:
    """What the figures come from, and what is missing, a sentence a line."""
    made = result["corpus"]
    losses = ", ".join(f"{loss:.2f} at {name}" for name, loss in made["losses"].items())
    lines = [
        f"Machine: {sentence(result['machine'])}.",
        f"Corpus: {made['parameters']:,} parameters, {made['maker']}"
        + (f"; loss {losses}." if losses else "."),
        "Peers: " + ", ".join(f"{name} {said}" for name, said in result["peers"].items()) + ".",
    ]
    if not result["complete"]:
        lines.append("This run measured a part only, or was ended: what is not here was not measured.")
    missing = result["missing"] | made["missing"]
    lines += [f"Not measured: {name} ({why})." for name, why in missing.items()]
    return lines


def as_text(result: Row) -> str:
    """Everything for a terminal."""
    parts = ["\n".join(about(result))]
    for source in dict.fromkeys(row["source"] for row in result["cases"]):
        for table in case_tables(result["cases"], source):
            table[0][0] = source
            parts.append(plain(table))
    for rows in (result["folders"], result["histories"]):
        if rows:
            parts.append(plain(folder_table(rows)))
    apart = apart_table(row for row in result["folders"] if row["apart"])
    if len(apart) > 1:
        parts.append(plain(apart))
    goals = [row for row in [*result["cases"], *result["folders"]] if "goal" in row]
    parts.append(f"goals met: {sum(row['met'] for row in goals)} of {len(goals)}")
    return "\n\n".join(parts)
