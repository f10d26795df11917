"""What both sides of a merge changed in one file, merged by what the file is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mvc.bases import BaseFinder, Given, SketchStore
from mvc.errors import damage_in
from mvc.formats import Description
from mvc.history.merge3 import VIRTUAL_LABELS, Content
from mvc.history.reader import Remembering
from mvc.ingest import ingest_source
from mvc.memoryfile import MemoryFile, Stretch
from mvc.merging.sides import NotMergeable, Side, Sides
from mvc.merging.strategy import THEIRS, Strategies
from mvc.merging.texts import merge_texts
from mvc.merging.weights import merge_weights
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.odb.writer import ObjectWriter
from mvc.paths import shown
from mvc.recipes.recipe import TensorRecipe


class ContentMerging:
    """Merges files and stores them with ``writer``: weights by tensor, JSON by key, text by line.

    ``labels`` are the names of ours and theirs where lines are in conflict. ``reader`` reads what ``writer``
    does, and what it parsed is not parsed again. What is merged is predicted from
    what it was merged of. Files that are nothing of these, or weights that cannot be merged, are in conflict
    as a whole, unless the default of ``strategies`` is a side: then they are that side's.
    """

    def __init__(
        self,
        writer: ObjectWriter,
        store: SketchStore,
        monitor: Monitor,
        strategies: Strategies,
        *,
        labels: tuple[str, str],
        reader: Remembering | None = None,
    ) -> None:
        self._writer = writer
        self._reader = reader or Remembering(writer.database)
        self._monitor = monitor
        self._strategies = strategies
        self._labels = labels
        self._ours: dict[str, ManifestId] = {}
        self._theirs: dict[str, ManifestId] = {}
        self._stated: dict[str, Mapping[str, TensorRecipe]] = {}
        self._fitted: set[str] | None = None
        self._finder = BaseFinder(
            writer.database,
            store,
            self._ours.get,
            Given(self._related, stated=self._said),
            read=self._reader.manifest,
        )

    def __call__(
        self, path: str, base: ManifestId | None, ours: ManifestId, theirs: ManifestId, /
    ) -> Content:
        """The merged file, stored; what cannot be merged is as ours has it, and not clean.

        Raises:
            DamageError: a version of the file cannot be read.
            UnsupportedFeature: a strategy needs arithmetic that this thread does not have.
        """
        with damage_in(shown(path)):
            return self._content(path, base, ours, theirs, self._strategies, self._labels)

    def virtual(self, path: str, base: ManifestId | None, ours: ManifestId, theirs: ManifestId, /) -> Content:
        """As a call, without strategies: for the bases of a merge that has several, where what a strategy
        made would look like what a side had (``merge_commits(…, virtual=…)``)."""
        with damage_in(shown(path)):
            return self._content(path, base, ours, theirs, Strategies(), VIRTUAL_LABELS)

    def warn_of_idle_patterns(self) -> None:
        """Name the patterns that fit no tensor of the weights that were merged: perhaps they are misspelt,
        and other tensors went another way than was meant. Says nothing where no weights were merged."""
        if self._fitted is None:
            return
        for pattern in dict.fromkeys(pattern for pattern, _strategy in self._strategies.patterns):
            if pattern not in self._fitted:
                self._monitor.warn(f"no tensor fits {pattern!r}, so its strategy settles nothing")

    def save(self) -> None:
        """Remember what was stored for later commits; to be called once the merge is published."""
        self._finder.save()

    def _content(
        self,
        path: str,
        base: ManifestId | None,
        ours: ManifestId,
        theirs: ManifestId,
        strategies: Strategies,
        labels: tuple[str, str],
    ) -> Content:
        self._ours[path], self._theirs[path] = ours, theirs
        first = None if base is None else Side(self._reader, base)
        sides = Sides(first, Side(self._reader, ours), Side(self._reader, theirs))
        reason: tuple[str, ...] = ()
        if sides.ours.manifest.tensors and sides.theirs.manifest.tensors:
            names = (*sides.ours.spans, *sides.theirs.spans)
            self._fitted = (self._fitted or set()) | strategies.fitting(names)
            try:
                merged = merge_weights(path.rsplit("/", 1)[-1], sides, strategies)
            except NotMergeable as refusal:
                reason = (refusal.reason,)
            else:
                self._stated[path] = merged.stated
                return Content(
                    self._store(path, merged.file, merged.description), not merged.conflicts, merged.conflicts
                )
        else:
            text = merge_texts(path, sides, labels=labels, favour=strategies.side)
            if text is not None:
                self._stated[path] = {}
                file = MemoryFile(path.rsplit("/", 1)[-1], [Stretch.of(text.data)])
                return Content(self._store(path, file), text.clean, text.conflicts)
        if strategies.side is not None:
            return Content(theirs if strategies.side == THEIRS else ours, True)
        return Content(ours, False, reason)

    def _store(self, path: str, file: MemoryFile, description: Description | None = None) -> ManifestId:
        identity, manifest, _digests = ingest_source(
            file, path, self._writer, self._finder, self._monitor, description
        )
        self._reader.learn(identity, manifest)
        return identity

    def _related(self, path: str) -> Sequence[ManifestId]:
        theirs = self._theirs.get(path)
        return () if theirs is None else (theirs,)

    def _said(self, path: str) -> Mapping[str, TensorRecipe]:
        return self._stated.get(path, {})
