"""A merged file before it is stored, and the check that it reads as it was meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from mvc.formats import Description, View, describe
from mvc.memoryfile import MemoryFile
from mvc.merging.sides import NotMergeable
from mvc.merging.tensors import Source
from mvc.spans import Span


class Composed(NamedTuple):
    """A merged file, where in it each tensor was laid, and what is in conflict in it beside tensors."""

    file: MemoryFile
    offsets: Mapping[str, int]
    conflicts: tuple[str, ...] = ()


def check_composed(made: Composed, kind: str, sources: Mapping[str, Source]) -> Description:
    """Read the table of tensors of what was composed, as anybody would: it must be what was meant,
    and is returned.

    Raises:
        NotMergeable: the file is not of the format ``kind``, or has other tensors, or has them elsewhere.
    """
    description = describe(made.file, _no_sibling)
    layout = description.layout
    if (
        layout.format != kind
        or not has_tensors(layout.spans, sources)
        or any(span.length and made.offsets.get(span.name) != span.offset for span in layout.spans)
    ):
        raise NotMergeable(f"what was made of it does not read as a {kind} file of those tensors")
    return description


def has_tensors(spans: Collection[Span], sources: Mapping[str, Source]) -> bool:
    """Whether a table lists just these tensors, in whatever order and wherever they lie."""
    found = {span.name for span in spans}
    return len(spans) == len(found) == len(sources) and all(
        span.name in sources and _form(span) == _form(sources[span.name].span) for span in spans
    )


def _form(span: Span) -> tuple[object, ...]:
    return span.dtype, span.shape, span.strides


def _no_sibling(_name: str) -> View | None:
    return None
