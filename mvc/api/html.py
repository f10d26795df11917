"""Tables for notebooks, out of texts that may hold anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from mvc.text import one_line

_MOST_ROWS = 200


def html_table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """A table of plain texts, every one escaped; columns numbered in ``right`` are flush right.

    An empty ``header`` is left out. Rows beyond 200 are counted, not shown.
    """
    style = "text-align:{};padding:0.1em 1em 0.1em 0;vertical-align:top"

    def cells(tag: str, texts: Sequence[str]) -> str:
        sides = ("right" if place in right else "left" for place in range(len(texts)))
        return "".join(
            f'<{tag} style="{style.format(side)}">{escape(one_line(text))}</{tag}>'
            for side, text in zip(sides, texts, strict=True)
        )

    lines = [f"<tr>{cells('th', header)}</tr>"] if header and rows else []
    lines += [f"<tr>{cells('td', row)}</tr>" for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f'<tr><td colspan="{len(rows[0])}">… {len(rows) - _MOST_ROWS:,} more</td></tr>')
    title = f'<caption style="text-align:left;font-weight:bold">{escape(one_line(caption))}</caption>'
    return f"<table>{title}{''.join(lines)}</table>"
