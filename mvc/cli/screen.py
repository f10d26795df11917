"""What output is made for: how wide a line may be, whether it may be coloured, and how text is fitted in."""

from __future__ import annotations

from typing import Literal, NamedTuple

Cut = Literal["", "middle", "end"]
"""Where text may be cut: nowhere, in the middle (names whose end tells as much as their beginning), at the
end."""
ELLIPSIS = "…"
_EMOJI_STYLE = "\ufe0f"
_MOST_CHARACTERS = 4
"""Characters for each column that is left of a text that is cut: nobody stacks more accents in earnest."""
COLOURS = {"yellow": "33", "green": "32", "red": "31", "cyan": "36", "bold": "1", "dim": "2"}


class Screen(NamedTuple):
    """``width`` in columns; None where output goes to no terminal, so that nothing is ever cut."""

    width: int | None = None
    colour: bool = False

    def paint(self, text: str, colour: str) -> str:
        """Text in a colour of :data:`COLOURS`, where there may be some; an empty one changes nothing."""
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[m" if colour and self.colour else text

    def fit(self, text: str, cut: Cut, taken: int = 0) -> str:
        """Text cut to what the line has left when ``taken`` columns are used."""
        return text if self.width is None else fit(text, max(1, self.width - taken), cut)


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # 11 ms: only for text that needs its tables

    return cell_len(text)


def fit(text: str, width: int, cut: Cut) -> str:
    """Text cut to at most ``width`` columns, an ellipsis standing for what went."""
    if not cut or cells(text) <= width:
        return text
    room = width - 1
    tail = room // 2 if cut == "middle" else 0
    if text.isascii():
        return text[: room - tail] + ELLIPSIS + text[len(text) - tail :]
    return _beginning(text, room - tail) + ELLIPSIS + _end(text, tail)


def _beginning(text: str, width: int) -> str:
    """The longest beginning of at most ``width`` columns, with what combines with its last character."""
    taken = 0
    for place, character in enumerate(text):
        taken += _columns(character)
        if taken > width or place >= _MOST_CHARACTERS * width:
            return text[:place]
    return text


def _end(text: str, width: int) -> str:
    """The longest end of at most ``width`` columns that does not begin with what combines."""
    taken, begin = 0, len(text)
    for place in range(len(text) - 1, max(-1, len(text) - 1 - _MOST_CHARACTERS * width), -1):
        columns = _columns(text[place])
        taken += columns
        if taken > width:
            break
        if columns:
            begin = place
    return text[begin:]


def _columns(character: str) -> int:
    """Columns of one character; a few make the one before them wider."""
    return 1 if character == _EMOJI_STYLE else cells(character)
