"""zip: an archive whose stored members are files of other formats, as trainers of agents write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from mvc.formats.base import HEAD_BYTES, Format, NotThisFormat, Sibling, Value, View, limited
from mvc.formats.wire.views import Metered, Part
from mvc.formats.wire.zipdir import MAGIC, STORED, part_of, read_directory
from mvc.spans import Layout, NotTileable, Span, tile

MAX_DESCRIBED = 32
"""Members that are looked into."""

MAX_CLAIMED = 10_000
"""Members whose first bytes are looked at."""

MAX_WORK = 32 << 20
"""What looking into all members together may cost, in the unit of :class:`mvc.formats.wire.views.Metered`: a
header of tensors, or a pickle, is all that the scanners of their formats read."""

MAX_NAMES_BYTES = 8 << 20
"""Of all tensors' names together, which repeat the members': as much as a manifest may hold."""


@dataclass(frozen=True, slots=True)
class Zip:
    """Scanner of zip archives; ``inner`` are the formats that their members may be of."""

    inner: tuple[Format, ...]
    name: str = "zip"

    def claims(self, name: str, head: bytes) -> bool:
        """By the magic bytes."""
        return head.startswith(MAGIC)

    def scan(self, view: View, sibling: Sibling) -> Mapping[str, Layout]:
        """The spans of each stored member that an inner format describes, their names behind the member's
        and a dot."""
        spans: list[Span] = []
        left = MAX_NAMES_BYTES
        for part, _, layout in self._described(view):
            left -= sum(len(part.name) + 1 + len(span.name) for span in layout.spans)
            if left < 0:
                raise NotThisFormat(f"names of tensors that would take more than {MAX_NAMES_BYTES >> 20} MiB")
            spans += (
                replace(span, offset=part.offset + span.offset, name=f"{part.name}.{span.name}")
                for span in layout.spans
            )
        if not spans:
            raise NotThisFormat("no stored member that is a file of tensors")
        return {view.name: Layout(self.name, tuple(spans))}

    def values(self, view: View, sibling: Sibling) -> Mapping[str, Value]:
        """The values of each such member, named alike."""
        return limited(
            (f"{part.name}.{key}", value)
            for part, inner, _ in self._described(view)
            for key, value in inner.values(part, _no_sibling).items()
        )

    def _described(self, view: View) -> Iterator[tuple[Part, Format, Layout]]:
        stored = (member for member in read_directory(view) if member.method == STORED)
        members = list(islice(stored, MAX_CLAIMED))
        metered = Metered(view, MAX_WORK + HEAD_BYTES * len(members))
        parts = (part_of(metered, member) for member in members)
        claimed = ((part, self._claiming(part)) for part in parts)
        for part, inner in islice(((part, inner) for part, inner in claimed if inner), MAX_DESCRIBED):
            for candidate in inner:
                try:
                    layout = candidate.scan(part, _no_sibling)[part.name]
                    tile(part.size, layout.spans)
                except (NotThisFormat, NotTileable):
                    continue  # the next one may know it; unknown members are nothing to report
                yield part, candidate, layout
                break

    def _claiming(self, part: Part) -> list[Format]:
        head = part.read(0, min(part.size, HEAD_BYTES))
        return [candidate for candidate in self.inner if candidate.claims(part.name, head)]


def _no_sibling(_name: str) -> None:
    """What lies in an archive has no files beside it."""
