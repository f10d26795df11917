"""What questions about a repository give back, with a plain and an HTML face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from mvc.api.html import html_table
from mvc.api.revision import Revision, time_text
from mvc.ops.diff import FileChange, TensorChange
from mvc.ops.status import Status
from mvc.text import count, number, one_line, size


class Log(Sequence[Revision]):
    """Versions, newest first."""

    def __init__(self, revisions: Sequence[Revision]) -> None:
        self._revisions = tuple(revisions)

    @overload
    def __getitem__(self, place: int) -> Revision: ...
    @overload
    def __getitem__(self, place: slice) -> Log: ...
    def __getitem__(self, place: int | slice) -> Revision | Log:
        return Log(self._revisions[place]) if isinstance(place, slice) else self._revisions[place]

    def __len__(self) -> int:
        return len(self._revisions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Log) and self._revisions == other._revisions

    def __hash__(self) -> int:
        return hash(self._revisions)

    def __repr__(self) -> str:
        lines = [f"{revision.short} {one_line(revision.subject)}" for revision in self]
        return "\n".join(lines) or "<no versions>"

    def _repr_html_(self) -> str:
        metrics = list(dict.fromkeys(name for revision in self for name in revision.metrics))[:8]
        header = ("version", "time", "author", "message", *metrics)
        rows = [
            (
                revision.short,
                time_text(revision),
                revision.author.name,
                " ".join([revision.subject, *(f"[{name}]" for name in (*revision.tags, *revision.branches))]),
                *(number(revision.metrics[name]) if name in revision.metrics else "" for name in metrics),
            )
            for revision in self
        ]
        return html_table(count(len(rows), "version"), header, rows, right=range(4, len(header)))


class Diff(Sequence[FileChange]):
    """Files that differ, by path, each with the tensors in it that differ."""

    def __init__(self, changes: Sequence[FileChange]) -> None:
        self._changes = tuple(changes)

    @overload
    def __getitem__(self, place: int) -> FileChange: ...
    @overload
    def __getitem__(self, place: slice) -> Diff: ...
    def __getitem__(self, place: int | slice) -> FileChange | Diff:
        return Diff(self._changes[place]) if isinstance(place, slice) else self._changes[place]

    def __len__(self) -> int:
        return len(self._changes)

    def __repr__(self) -> str:
        lines = []
        for change in self:
            same = "" if change.same_weights is None else " (same weights, other bytes)"
            lines.append(f"{change.kind:8} {_path(change)}{same}")
            lines += [
                f"    {row.kind:8} {one_line(row.name)} {_told(row)}".rstrip() for row in change.tensors
            ]
        return "\n".join(lines) or "<no differences>"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = []
        for change in self:
            sizes = [size(side.size) if side else "" for side in (change.old, change.new)]
            same = "" if change.same_weights is None else "same weights, other bytes"
            rows.append((change.kind, _path(change), "", "", *sizes, same))
            rows += [
                (f"  {row.kind}", f"  {row.name}", *_form(row), "", "", _moved(row)) for row in change.tensors
            ]
        header = ("change", "path, tensor", "dtype", "shape", "before", "after", "moved")
        return html_table(f"{count(len(self), 'file')} changed", header, rows, right=(4, 5))


def _path(change: FileChange) -> str:
    path = one_line(change.path)
    return f"{one_line(change.old_path)} → {path}" if change.old_path is not None else path


def _told(change: TensorChange) -> str:
    if change.kind in ("reshaped", "cast") and change.old is not None and change.new is not None:
        old, new = change.old, change.new
        return f"{old.dtype} {list(old.shape)} → {new.dtype} {list(new.shape)}"
    return _moved(change)


def _form(change: TensorChange) -> tuple[str, str]:
    """The tensor's dtype and shape; before and after, where they differ."""
    sides = [side for side in (change.old, change.new) if side is not None]
    dtypes, shapes = ([side.dtype for side in sides], [str(list(side.shape)) for side in sides])
    return " → ".join(dict.fromkeys(dtypes)), " → ".join(dict.fromkeys(shapes))


def _moved(change: TensorChange) -> str:
    return "" if change.moved is None else f"{change.moved:.1%} of elements"


@dataclass(frozen=True, slots=True)
class WorkStatus:
    """The work tree against the newest version; paths are those of the repository.

    ``branch`` is None when HEAD is detached, ``head`` (an id) before the first version. ``same_weights`` maps
    modified and added files to the committed ones whose weights they hold in other bytes. ``pending`` is
    ``merge``, ``cherry-pick`` or ``revert`` where one is under way, ``unresolved`` the files of it that are
    in conflict still.
    """

    branch: str | None
    head: str | None
    added: tuple[str, ...]
    modified: tuple[str, ...]
    deleted: tuple[str, ...]
    same_weights: Mapping[str, str]
    clean: bool
    pending: str | None = None
    unresolved: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Status) -> WorkStatus:
        """As it was found."""
        state = found.state
        return cls(
            found.branch,
            None if found.head is None else found.head.hex(),
            tuple(state.added),
            tuple(state.modified),
            tuple(state.deleted),
            dict(found.same_weights),
            found.clean,
            None if found.pending is None else found.pending.kind,
            tuple(conflict.path for conflict in found.unresolved),
        )

    def _repr_html_(self) -> str:
        kinds: Any = (
            ("in conflict", self.unresolved),
            ("added", self.added),
            ("modified", self.modified),
            ("deleted", self.deleted),
        )
        rows = [(kind, path) for kind, paths in kinds for path in paths]
        where = f"on {self.branch}" if self.branch else "detached HEAD"
        return html_table(f"{where}: {'clean' if self.clean else 'changed'}", ("change", "path"), rows)
