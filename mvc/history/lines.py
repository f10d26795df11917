"""A small text file as lines; and which of them an older version has too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from mvc.history.linediff import Hunk, diff_lines
from mvc.history.reader import ObjectReader, read_manifest, read_range
from mvc.objectid import ManifestId
from mvc.objects import Manifest

MAX_TEXT = 1 << 20
"""Bytes of the largest file that is taken apart into lines."""


class LineComparison:
    """Compares files by lines, counted from 0, for :func:`mvc.history.blame.blame`.

    Lines are bytes: no encoding is asked for. A version that is no small text (too large, or with a zero byte
    in it) has no line in common with any other.
    """

    MOST = 8

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._texts: OrderedDict[ManifestId, tuple[Manifest, list[bytes] | None]] = OrderedDict()

    def lines(self, file: ManifestId) -> list[bytes] | None:
        """A file's lines with their ends; None if it is no small text."""
        return self._text(file)[1]

    def same_file(self, old: ManifestId, new: ManifestId) -> bool:
        """Whether both have the same bytes."""
        return old == new or self._text(old)[0].same_file(self._text(new)[0])

    def kept(self, old: ManifestId, new: ManifestId, rows: Mapping[int, int]) -> dict[int, int]:
        """Those of the new file's lines that the old one has too, with their numbers there."""
        before, after = self.lines(old), self.lines(new)
        if before is None or after is None:
            return {}
        place = dict(_common(before, after))
        return {row: place[there] for row, there in rows.items() if there in place}

    def likeness(self, old: ManifestId, new: ManifestId) -> float:
        """Share of the new file's lines that the old one has."""
        before, after = self.lines(old), self.lines(new)
        if not before or not after:
            return 0.0
        return sum(1 for _ in _common(before, after)) / len(after)

    def _text(self, file: ManifestId) -> tuple[Manifest, list[bytes] | None]:
        found = self._texts.get(file)
        if found is None:
            manifest = read_manifest(self._reader, file)
            found = self._texts[file] = (manifest, self._read(manifest))
            while len(self._texts) > self.MOST:
                self._texts.popitem(last=False)
        self._texts.move_to_end(file)
        return found

    def _read(self, manifest: Manifest) -> list[bytes] | None:
        if manifest.size > MAX_TEXT or manifest.tensors:
            return None
        data = b"".join(read_range(self._reader, manifest, 0, manifest.size))
        if b"\0" in data:
            return None
        *lines, last = data.split(b"\n")
        return [*(line + b"\n" for line in lines), *([last] if last else [])]


def _common(old: list[bytes], new: list[bytes]) -> Iterator[tuple[int, int]]:
    """Numbers of lines in the new and in the old text, for lines that stayed; ascending in both."""
    here = there = 0
    for hunk in (*diff_lines(old, new), Hunk(len(old), len(old), len(new), len(new))):
        yield from zip(range(here, hunk.new_start), range(there, hunk.old_start), strict=True)
        here, there = hunk.new_end, hunk.old_end
