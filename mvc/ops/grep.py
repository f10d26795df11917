"""Finds an expression in what versions say: names of tensors, metadata, messages, metrics, texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mvc.errors import ObjectPurged, RevisionNotFound
from mvc.history.criteria import MAX_LINE, Pattern
from mvc.history.listing import Listing, list_commits
from mvc.history.reader import GAP, ObjectReader, Remembering, read_commit, read_or_gap, read_range
from mvc.history.revisions import lookup_path, resolve
from mvc.history.selection import commits_of_refs, is_range, select
from mvc.history.treediff import Change, diff_trees, flatten
from mvc.objectid import CommitId, ManifestId, TreeId
from mvc.objects import Commit, Manifest, TreeEntry
from mvc.paths import is_wanted
from mvc.refs import NOTES
from mvc.registry.metadata import metadata_of
from mvc.registry.notes import Notes
from mvc.spans import Span
from mvc.view import View

Scope = Literal["names", "metadata", "messages", "text"]
Kind = Literal["tensor", "metadata", "metric", "param", "message", "note", "text"]

DEFAULT_SCOPES: tuple[Scope, ...] = ("names", "metadata", "messages")
MAX_TEXT_BYTES = 1 << 20
"""A longer file is not looked at as a text."""
_LOOKED_AT = 8000
"""Bytes at a file's beginning without a zero that make it a text, as for Git."""


class Hit(NamedTuple):
    """Something that was found.

    ``version`` is what the version was called, None for a HEAD that nobody named. ``name`` is that of a
    tensor, a key, a metric or a setting, ``text`` the line or value; ``line`` counts from 1; ``span`` is the
    tensor's.
    """

    kind: Kind
    commit: CommitId
    version: str | None
    path: str | None = None
    name: str | None = None
    text: str | None = None
    line: int | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and where: ``scopes``, and of files only those at or below ``paths``; with paths
    nothing is looked for in messages, metrics and settings. ``all_history`` means every version that a
    branch, a tag or HEAD reaches."""

    pattern: Pattern
    scopes: frozenset[Scope] = frozenset(DEFAULT_SCOPES)
    paths: tuple[str, ...] = ()
    all_history: bool = False


def grep(view: View, search: Search, revisions: Sequence[str] = ()) -> Iterator[Hit]:
    """What is found in some versions, HEAD if none is named.

    Where a range is named, or all of history is meant, each version is searched for what it brought in: a
    file that stays as it is, is looked at once. Newest versions come first.

    Raises:
        RevisionNotFound: no such version.
    """
    finder = _Finder(view, search)
    if search.all_history or any(map(is_range, revisions)):
        also = tuple(commits_of_refs(view.objects, view)) if search.all_history else ()
        if search.all_history and not also and not revisions:
            return
        listing = Listing(select(revisions, view.objects, view, also))
        for item in list_commits(view.objects, listing, lambda _identity, _commit: True):
            yield from finder.brought_in(item.id, item.commit)
        return
    for revision in revisions or ("HEAD",):
        found = resolve(revision, view.objects, view)
        if found.commit is None or found.path:
            raise RevisionNotFound(f"{revision!r} is no version", hint="mvc grep PATTERN REV -- PATH")
        commit = view.commit(found.commit)
        yield from finder.whole(found.commit, commit, revision if revisions else None)


class _Finder:
    def __init__(self, view: View, search: Search) -> None:
        self._reader = Remembering(view.objects)
        self._search = search
        self._pattern = search.pattern
        self._scopes = search.scopes
        self._notes = None
        if "messages" in search.scopes and view.get(NOTES) is not None:
            self._notes = Notes(view.objects, view)

    def whole(self, identity: CommitId, commit: Commit, version: str | None) -> Iterator[Hit]:
        """All that a version holds."""
        yield from self._said(identity, commit, version)
        if self._scopes != {"messages"}:
            try:
                files = flatten(self._reader, commit.tree)
            except ObjectPurged:
                return  # nothing is left of it to search
            yield from self._in_files(identity, version, files, files)

    def brought_in(self, identity: CommitId, commit: Commit) -> Iterator[Hit]:
        """What a version has that none of its parents has."""
        version = identity.short
        yield from self._said(identity, commit, version)
        if self._scopes == {"messages"}:
            return
        trees = [read_commit(self._reader, parent).tree for parent in commit.parents]
        fresh: dict[str, TreeEntry] = {}
        for change in self._changes(trees[0] if trees else None, commit.tree):
            entry = change.new
            if entry is None or change.same_content:
                continue
            others = (lookup_path(self._reader, tree, change.path) for tree in trees[1:])
            if not any(other is not None and other.id == entry.id for other in others):
                fresh[change.path] = entry
        if fresh:
            yield from self._in_files(identity, version, fresh, flatten(self._reader, commit.tree))

    def _changes(self, old: TreeId | None, new: TreeId) -> Sequence[Change]:
        """What differs; of a version that follows one that was purged, all of it; of that one nothing."""
        for before in (old, None):
            with suppress(ObjectPurged):
                return list(diff_trees(self._reader, before, new))
        return ()

    # --- versions ------------------------------------------------------------------------------------------
    def _said(self, identity: CommitId, commit: Commit, version: str | None) -> Iterator[Hit]:
        if self._search.paths:
            return
        if "messages" in self._scopes:
            yield from self._lines("message", identity, version, commit.message)
        if "metadata" in self._scopes:
            yield from self._values("metric", identity, version, commit.metrics)
            yield from self._values("param", identity, version, commit.params)
        for note in () if self._notes is None else self._notes.of(identity):
            yield from self._lines("note", identity, version, note.message)
            yield from self._values("note", identity, version, {**note.metrics, **note.params})

    def _lines(self, kind: Kind, identity: CommitId, version: str | None, text: str) -> Iterator[Hit]:
        for number, line in enumerate(text.splitlines(), 1):
            if self._pattern.search(line[:MAX_LINE]):
                yield Hit(kind, identity, version, text=line, line=number)

    def _values(
        self,
        kind: Kind,
        identity: CommitId,
        version: str | None,
        values: Mapping[str, object],
        path: str | None = None,
    ) -> Iterator[Hit]:
        """A value is found by its name too; of one of several lines the first that fits is given."""
        for name, value in values.items():
            lines = str(value).splitlines() or [""]
            fitting = next((line for line in lines if self._pattern.search(line[:MAX_LINE])), None)
            if fitting is not None or self._pattern.search(name[:MAX_LINE]):
                text = lines[0] if fitting is None else fitting
                yield Hit(kind, identity, version, path, name, text)

    # --- files ---------------------------------------------------------------------------------------------
    def _in_files(
        self,
        identity: CommitId,
        version: str | None,
        wanted: Mapping[str, TreeEntry],
        files: Mapping[str, TreeEntry],
    ) -> Iterator[Hit]:
        ids = {path: ManifestId(entry.id) for path, entry in files.items()}
        for path in wanted:
            if not is_wanted(path, self._search.paths):
                continue
            manifest = read_or_gap(self._reader, ids[path])
            if manifest.format == GAP:
                continue
            if "names" in self._scopes:
                for span in manifest.tensors:
                    if self._pattern.search(span.name[:MAX_LINE]):
                        yield Hit("tensor", identity, version, path, span.name, span=span)
            if "metadata" in self._scopes:
                said = metadata_of(self._reader, path, ids)
                yield from self._values("metadata", identity, version, said, path)
            if "text" in self._scopes:
                for number, line in enumerate(_text_lines(self._reader, manifest), 1):
                    if self._pattern.search(line[:MAX_LINE]):
                        yield Hit("text", identity, version, path, text=line, line=number)


def _text_lines(reader: ObjectReader, manifest: Manifest) -> Sequence[str]:
    """The lines of a file of text; none of one that is none, or too long."""
    if manifest.tensors or manifest.size > MAX_TEXT_BYTES:
        return ()
    data = b"".join(read_range(reader, manifest, 0, manifest.size))
    return () if b"\0" in data[:_LOOKED_AT] else data.decode(errors="replace").removesuffix("\n").split("\n")
