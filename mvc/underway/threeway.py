"""Three versions' trees into one, stored: what ``merge``, ``cherry-pick`` and ``revert`` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mvc.bases import SketchStore
from mvc.errors import CorruptObject
from mvc.history.merge3 import Merged, merge_commits, merge_trees
from mvc.history.treediff import build_tree
from mvc.merging.strategy import Strategies
from mvc.objectid import CommitId, TreeId
from mvc.objects import Commit, Tree, TreeEntry
from mvc.repo import Repository
from mvc.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Choice:
    """The strategies that a user chose, in words: see :meth:`mvc.merging.strategy.Strategies.parse`."""

    strategy: str | None = None
    per_tensor: tuple[str, ...] = ()
    weight: float | None = None
    scale: float | None = None
    density: float | None = None

    def __bool__(self) -> bool:
        return self != Choice()

    def over(self, earlier: Choice) -> Choice:
        """These and, where they say nothing, those of before."""
        numbers = {
            name: getattr(earlier if getattr(self, name) is None else self, name)
            for name in ("strategy", "weight", "scale", "density")
        }
        return Choice(per_tensor=(*earlier.per_tensor, *self.per_tensor), **numbers)

    def parse(self) -> Strategies:
        """What they mean.

        Raises:
            UsageError: there is no such strategy or parameter.
        """
        return Strategies.parse(
            self.strategy, self.per_tensor, weight=self.weight, scale=self.scale, density=self.density
        )

    def words(self) -> list[str]:
        """As they are typed."""
        words = [] if self.strategy is None else ["--strategy", self.strategy]
        for pattern in self.per_tensor:
            words += ["--strategy-for", pattern]
        for name in ("weight", "scale", "density"):
            value = getattr(self, name)
            words += [] if value is None else [f"--{name}", str(value)]
        return words

    def to_value(self) -> dict[str, Any]:
        """For the record of what is under way."""
        value: dict[str, Any] = {"per_tensor": list(self.per_tensor)}
        for name in ("strategy", "weight", "scale", "density"):
            if getattr(self, name) is not None:
                value[name] = getattr(self, name)
        return value

    @classmethod
    def from_value(cls, value: Any) -> Choice:
        """Out of the record.

        Raises:
            CorruptObject: it is not one.
        """
        if value is None:
            return cls()
        patterns = value.get("per_tensor") if isinstance(value, dict) else None
        if not isinstance(patterns, list) or not all(type(item) is str for item in patterns):
            raise CorruptObject("the strategies of what is under way cannot be read")
        numbers = {name: value.get(name) for name in ("weight", "scale", "density")}
        strategy = value.get("strategy")
        sound = all(item is None or type(item) is float for item in numbers.values())
        if not sound or not (strategy is None or type(strategy) is str):
            raise CorruptObject("the strategies of what is under way cannot be read")
        return cls(strategy, tuple(patterns), **numbers)


class Threeway:
    """Merges of one transaction; ``labels`` are the names of ours and theirs where texts are in conflict."""

    def __init__(
        self, repository: Repository, tx: Transaction, strategies: Strategies, labels: tuple[str, str]
    ) -> None:
        # here: it needs numpy, and a merge that only moves a branch does not
        from mvc.merging.contents import ContentMerging

        self._tx = tx
        self._reader = tx.view.manifests
        self._labels = labels
        store = SketchStore(repository.io, repository.store)
        self._content = ContentMerging(
            tx.writer, store, repository.monitor, strategies, labels=labels, reader=self._reader
        )

    def commits(self, ours: CommitId, theirs: CommitId) -> Merged:
        """Two versions merged over their best common ancestors, whatever their number."""
        merged = merge_commits(
            self._reader,
            ours,
            theirs,
            self._content,
            labels=self._labels,
            put_tree=self._put_tree,
            virtual=self._content.virtual,
        )
        self._content.warn_of_idle_patterns()
        return merged

    def trees(self, base: TreeId | None, ours: TreeId, theirs: TreeId) -> Merged:
        """What changed from ``base`` to ``theirs``, applied to ``ours``."""
        merged = merge_trees(self._reader, base, ours, theirs, self._content, labels=self._labels)
        self._content.warn_of_idle_patterns()
        return merged

    def store(self, files: Mapping[str, TreeEntry]) -> TreeId:
        """Store files as trees."""
        return build_tree(files, self._put_tree)

    def put(self, commit: Commit) -> CommitId:
        """Store a commit."""
        return self._tx.writer.put(CommitId, commit.to_bytes())

    def save(self) -> None:
        """Remember what was stored; to be called once it is published."""
        self._content.save()

    def _put_tree(self, tree: Tree) -> TreeId:
        return self._tx.writer.put(TreeId, tree.to_bytes())
