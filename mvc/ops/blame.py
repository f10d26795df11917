"""Which version last changed each tensor, or each line, of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mvc.errors import DamageError, ObjectPurged, RevisionNotFound, UsageError
from mvc.history.blame import Blamed, blame
from mvc.history.lines import LineComparison
from mvc.history.reader import ObjectReader
from mvc.history.revisions import resolve
from mvc.history.rows import REST, Row, RowComparison
from mvc.objectid import CommitId, ManifestId
from mvc.objects import Commit
from mvc.spans import Span
from mvc.view import View


class Origin(NamedTuple):
    """The version that last changed something, and the file's path there. ``boundary``: older ones were not
    looked at."""

    id: CommitId
    commit: Commit
    path: str
    boundary: bool


class TensorOrigin(NamedTuple):
    """A tensor and its origin; ``span`` None stands for what lies between the tensors, or for a whole file
    without tensors."""

    span: Span | None
    origin: Origin


class LineOrigin(NamedTuple):
    """A line, with its end, and its origin; ``number`` counts from 1, ``there`` is its number in that
    version."""

    number: int
    line: bytes
    there: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Attribution:
    """A file of a version, and where everything in it comes from, in the order of the file: ``lines`` of a
    small text, else ``tensors``."""

    id: CommitId
    path: str
    tensors: tuple[TensorOrigin, ...] = ()
    lines: tuple[LineOrigin, ...] | None = None


def attribute(view: View, revision: str, path: str, *, since: int | None = None) -> Attribution:
    """Blame a file of a version, or with ``PATH#tensor`` one tensor of it.

    ``since`` (microseconds since 1970 UTC) ends the search at versions older than that.

    Raises:
        RevisionNotFound: no such version or file.
        UsageError: ``path`` is a folder.
    """
    found = resolve(f"{revision}:{path}", view.objects, view)
    if found.commit is None or not isinstance(found.object, ManifestId):
        if found.commit is None:
            raise RevisionNotFound(f"{revision} names no version", hint="'mvc log' lists them")
        raise UsageError(f"{path!r} is a folder", hint="blame takes a file; 'mvc ls' lists them")
    at = found.path or ""
    rows = RowComparison(view.objects)
    known = rows.rows(found.object)
    if found.tensor is not None:
        known = [row for row in known if row.tensor == found.tensor]
    elif known == [REST]:
        lines = _lines(view.objects, found.commit, at, found.object, since)
        if lines is not None:
            return Attribution(found.commit, at, lines=tuple(lines))
    origins = _origins(blame(view.objects, found.commit, at, found.object, known, rows, since=since))
    spans = rows.spans(found.object)
    return Attribution(
        found.commit, at, tensors=tuple(TensorOrigin(spans.get(row), origins[row]) for row in known)
    )


def _lines(
    objects: ObjectReader, commit: CommitId, path: str, file: ManifestId, since: int | None
) -> Sequence[LineOrigin] | None:
    """Origins of a small text's lines; None where it is none, or can no longer be read."""
    comparison = LineComparison(objects)
    try:
        text = comparison.lines(file)
    except (DamageError, ObjectPurged):
        return None  # the file as a whole can be blamed without its bytes
    if text is None:
        return None
    found = {
        item.row: item
        for item in blame(objects, commit, path, file, range(len(text)), comparison, since=since)
    }
    return [
        LineOrigin(number + 1, line, found[number].there + 1, _origin(found[number]))
        for number, line in enumerate(text)
    ]


def _origins(found: Iterable[Blamed[Row]]) -> dict[Row, Origin]:
    return {item.row: _origin(item) for item in found}


def _origin(item: Blamed[Row] | Blamed[int]) -> Origin:
    return Origin(item.id, item.commit, item.path, item.boundary)
