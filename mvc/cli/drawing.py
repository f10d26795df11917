"""Drawings of rectangles and words, as SVG that follows the reader's light or dark page, or as PNG on white.

The same drawing gives the same bytes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

from mvc.cli import bitmapfont
from mvc.cli.call import Call
from mvc.fileio import storage_errors, write_durable
from mvc.text import one_line

Anchor = Literal["start", "middle", "end"]

_TONES = {
    "page": ("#ffffff", "#12161c"),
    "ink": ("#1c2430", "#e6e9ee"),
    "faint": ("#5b6470", "#a9b2be"),
    "empty": ("#e9edf2", "#222a34"),
    "line": ("#c3cad3", "#3a4552"),
    "bar": ("#2a78d6", "#5aa2f2"),
}
"""Colours by what they are for: on a light page, and on a dark one."""

SCALE = 2
"""Pixels of a PNG for each unit of a drawing."""

LETTER = 6.6
"""Width of a character, about: what is cut is cut by this."""


class Box(NamedTuple):
    """A rectangle; ``fill`` is one of the tones or a colour ``#rrggbb``."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    title: str = ""


class Words(NamedTuple):
    """A line of text, from its baseline; ``tone`` as the fill of a :class:`Box`."""

    x: float
    y: float
    text: str
    tone: str = "ink"
    anchor: Anchor = "start"
    strong: bool = False


@dataclass(slots=True)
class Drawing:
    """What lies where, later things above earlier ones. ``label`` says in words what it shows."""

    label: str
    width: float = 0.0
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)

    def svg(self) -> bytes:
        """As SVG; tones change where the reader's page is dark."""
        width, height = round(self.width), round(self.height)
        light, dark = (
            "".join(f".{name}{{fill:{pair[side]}}}" for name, pair in _TONES.items()) for side in (0, 1)
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{_attribute(self.label)}">',
            "<style>text{font:11px ui-monospace,Menlo,Consolas,monospace}.strong{font-weight:bold}"
            f"{light}@media(prefers-color-scheme:dark){{{dark}}}</style>",
            f'<rect class="page" width="{width}" height="{height}"/>',
        ]
        for box in self.boxes:
            sides = (("x", box.x), ("y", box.y), ("width", box.width), ("height", box.height))
            place = " ".join(f'{name}="{_short(value)}"' for name, value in sides)
            end = f"><title>{escape(box.title)}</title></rect>" if box.title else "/>"
            lines.append(f"<rect {_paint(box.fill)} {place}{end}")
        for words in self.words:
            strong = " strong" if words.strong else ""
            anchor = "" if words.anchor == "start" else f' text-anchor="{words.anchor}"'
            paint = _paint(words.tone, strong)
            lines.append(
                f'<text {paint} x="{_short(words.x)}" y="{_short(words.y)}"{anchor}>'
                f"{escape(words.text)}</text>"
            )
        return "\n".join([*lines, "</svg>", ""]).encode()

    def png(self) -> bytes:
        """As PNG on a light page."""
        width, height = round(self.width) * SCALE, round(self.height) * SCALE
        rows = [bytearray(_rgb("page") * width) for _ in range(height)]
        for box in self.boxes:
            left, right = (min(max(round(x * SCALE), 0), width) for x in (box.x, box.x + box.width))
            top, bottom = (min(max(round(y * SCALE), 0), height) for y in (box.y, box.y + box.height))
            line = _rgb(box.fill) * (right - left)
            for row in rows[top:bottom]:
                row[3 * left : 3 * right] = line
        for words in self.words:
            _write(rows, width, words)
        packed = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )


def write_drawing(call: Call, name: str, drawing: Drawing) -> None:
    """Write a drawing to a file of the user's, as its name says."""
    target = call.context.cwd / name
    data = drawing.png() if name.endswith(".png") else drawing.svg()
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    with storage_errors(f"cannot write {one_line(str(target))}"):
        write_durable(call.io, temporary, target, [data], replace=True)


def cut(text: str, width: float) -> str:
    """Text that fits into so much room, cut in its middle where it does not."""
    letters = max(int(width / LETTER), 3)
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})


def _paint(tone: str, more: str = "") -> str:
    if tone in _TONES:
        return f'class="{tone}{more}"'
    return f'fill="{tone}"' + (f' class="{more.strip()}"' if more else "")


def _rgb(tone: str) -> bytes:
    colour = _TONES[tone][0] if tone in _TONES else tone
    return bytes.fromhex(colour[1:])


def _write(rows: Sequence[bytearray], width: int, words: Words) -> None:
    """Draw a line of text, one dot of the font to a pixel of a drawing without scale."""
    dot = SCALE
    total = len(words.text) * bitmapfont.ADVANCE * dot
    left = round(words.x * SCALE) - {"start": 0, "middle": total // 2, "end": total}[words.anchor]
    top = round(words.y * SCALE) - 7 * dot
    colour = _rgb(words.tone)
    for number, letter in enumerate(words.text):
        for column, bits in enumerate(bitmapfont.columns(letter)):
            at = left + (number * bitmapfont.ADVANCE + column) * dot
            wide = dot + (1 if words.strong else 0)
            if at < 0 or at + wide > width:
                continue
            for line in range(bitmapfont.HEIGHT):
                if bits >> line & 1:
                    for row in rows[max(top + line * dot, 0) : max(top + (line + 1) * dot, 0)]:
                        row[3 * at : 3 * (at + wide)] = colour * wide
