"""How results show themselves: short plain text for ``__repr__``, escaped tables for notebooks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from mvc.paths import shown

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_MOST_ROWS = 200


def count(number: int, noun: str) -> str:
    """``1 file``, ``3 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(count_bytes: int) -> str:
    """Bytes as ``12.3 MB``, in powers of 1000."""
    if count_bytes < 1000:
        return f"{count_bytes} B"
    value, unit = count_bytes / 1000, 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.1f} {_UNITS[unit]}" if value < 99.95 else f"{value:.0f} {_UNITS[unit]}"


def number(value: object) -> str:
    """A metric or parameter, short."""
    return f"{value:.6g}" if isinstance(value, float) else plain(str(value))


def plain(text: str) -> str:
    """Foreign text on one line, control characters and changes of writing direction spelled out."""
    return shown(text).strip("'\"") if not text.isprintable() else text


def html_table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """A table of plain texts, every one escaped; columns numbered in ``right`` are flush right.

    Rows beyond 200 are counted, not shown.
    """
    style = "text-align:{};padding:0.1em 1em 0.1em 0;vertical-align:top"

    def cells(tag: str, texts: Sequence[str]) -> str:
        sides = ("right" if place in right else "left" for place in range(len(texts)))
        return "".join(
            f'<{tag} style="{style.format(side)}">{escape(plain(text))}</{tag}>'
            for side, text in zip(sides, texts, strict=True)
        )

    lines = [f"<tr>{cells('th', header)}</tr>"] if rows else []
    lines += [f"<tr>{cells('td', row)}</tr>" for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f'<tr><td colspan="{len(header)}">… {len(rows) - _MOST_ROWS:,} more</td></tr>')
    title = f'<caption style="text-align:left;font-weight:bold">{escape(plain(caption))}</caption>'
    return f"<table>{title}{''.join(lines)}</table>"
