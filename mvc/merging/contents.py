"""What both sides of a merge changed in one file, merged by what the file is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mvc.bases import BaseFinder, Given, SketchStore
from mvc.history.merge3 import Content
from mvc.ingest import ingest_source
from mvc.merging.sides import NotMergeable, Side, Sides
from mvc.merging.strategy import THEIRS, Strategies
from mvc.merging.weights import merge_weights
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.odb.writer import ObjectWriter
from mvc.recipes.recipe import TensorRecipe


class ContentMerging:
    """Merges files and stores them with ``writer``: weights tensor by tensor.

    ``labels`` are the names of ours and theirs where text is in conflict. What is merged is predicted from
    what it was merged of.
    """

    def __init__(
        self,
        writer: ObjectWriter,
        store: SketchStore,
        monitor: Monitor,
        strategies: Strategies,
        *,
        labels: tuple[str, str],
    ) -> None:
        self._writer = writer
        self._monitor = monitor
        self._strategies = strategies
        self._labels = labels
        self._ours: dict[str, ManifestId] = {}
        self._theirs: dict[str, ManifestId] = {}
        self._stated: dict[str, Mapping[str, TensorRecipe]] = {}
        self._finder = BaseFinder(
            writer.database, store, self._ours.get, Given(self._related, stated=self._said)
        )

    def __call__(
        self, path: str, base: ManifestId | None, ours: ManifestId, theirs: ManifestId, /
    ) -> Content:
        """The merged file, stored; what cannot be merged is as ours has it, and not clean.

        Raises:
            DamageError: a version of the file cannot be read.
        """
        self._ours[path], self._theirs[path] = ours, theirs
        try:
            return self._merge(path, base, ours, theirs)
        except NotMergeable as refusal:
            if self._strategies.side is not None:
                return Content(theirs if self._strategies.side == THEIRS else ours, True)
            return Content(ours, False, (refusal.reason,))

    def save(self) -> None:
        """Remember what was stored for later commits; to be called once the merge is published."""
        self._finder.save()

    def _merge(self, path: str, base: ManifestId | None, ours: ManifestId, theirs: ManifestId) -> Content:
        reader = self._writer.database
        first = None if base is None else Side(reader, base)
        sides = Sides(first, Side(reader, ours), Side(reader, theirs))
        if not (sides.ours.manifest.tensors and sides.theirs.manifest.tensors):
            raise NotMergeable("it is neither text nor weights")
        merged = merge_weights(path.rsplit("/", 1)[-1], sides, self._strategies)
        self._stated[path] = merged.stated
        identity, _manifest, _digests = ingest_source(
            merged.file, path, self._writer, self._finder, self._monitor
        )
        return Content(identity, not merged.conflicts, merged.conflicts)

    def _related(self, path: str) -> Sequence[ManifestId]:
        theirs = self._theirs.get(path)
        return () if theirs is None else (theirs,)

    def _said(self, path: str) -> Mapping[str, TensorRecipe]:
        return self._stated.get(path, {})
