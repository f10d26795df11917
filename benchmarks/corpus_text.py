"""Tokens to train on: the sources of Python's own standard library, which every machine that runs this has.

A vocabulary of 256 bytes and the most frequent words, so that no text is outside it.
"""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BYTES = 256
_WORD = re.compile(rb"[A-Za-z_]+| {2,}|\s|[0-9]|[^\sA-Za-z_0-9]")


def standard_library() -> list[Path]:
    """Its source files, in an order that is the same on every machine with the same Python."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = (path.relative_to(folder) for path in folder.rglob("*.py"))
    skipped = {"site-packages", "dist-packages", "__pycache__", "lib2to3", "idlelib", "turtledemo"}
    names = sorted(path.as_posix() for path in found if not skipped & set(path.parts))
    if not names:
        raise SystemExit("the standard library has no sources on this machine: nothing to train on")
    return [folder / name for name in names]


def words(text: bytes) -> Iterator[bytes]:
    """The text in pieces that join to it again."""
    return (match[0] for match in _WORD.finditer(text))


class Vocabulary:
    """The most frequent words of a text, after single bytes; ``size`` tokens in all."""

    def __init__(self, text: bytes, size: int) -> None:
        counts = Counter(word for word in words(text) if len(word) > 1)
        # ties in order of the words, so that the same text gives the same vocabulary
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        self.words = ranked[: size - BYTES]
        self._numbers = {word: BYTES + number for number, word in enumerate(self.words)}

    def encode(self, text: bytes) -> NDArray[np.uint16]:
        """Words that are known as one token, others byte by byte."""
        tokens: list[int] = []
        for word in words(text):
            number = self._numbers.get(word)
            if number is None:
                tokens += word
            else:
                tokens.append(number)
        return np.array(tokens, np.uint16)

    def decode(self, tokens: NDArray[np.uint16]) -> bytes:
        """The text again."""
        return b"".join(bytes([t]) if t < BYTES else self.words[t - BYTES] for t in tokens.tolist())


def read_text(limit: int) -> tuple[bytes, bytes]:
    """Text to train on and text to fine-tune on, so many bytes together, a tenth of them the latter.

    The second is what tests of the library say, another kind of text than the library itself.
    """
    paths = standard_library()
    tests = [path for path in paths if "test" in path.parts or "tests" in path.parts]
    chosen = set(tests)
    rest = [path for path in paths if path not in chosen]
    return _joined(rest, limit * 9 // 10), _joined(tests or rest[::-1], limit // 10)


def _joined(paths: list[Path], limit: int) -> bytes:
    """The beginnings of files end to end; of large files not all, so that none outweighs the others."""
    parts, size = [], 0
    for path in paths:
        part = path.read_bytes()[:40_000]
        parts.append(part)
        size += len(part)
        if size >= limit:
            break
    return b"\n".join(parts)[:limit]
