"""The card of a version: what it is, what it holds, where it comes from, and what is missing.

It is computed from manifests, small documents and the bytes between tensors, never from tensors, and never
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mvc.history.reader import ObjectReader, Remembering, read_commit, read_manifest
from mvc.history.tensordiff import diff_tensors
from mvc.history.treediff import Change, diff_trees, pair_renames
from mvc.objectid import CommitId, ManifestId
from mvc.objects import Commit
from mvc.registry.architecture import (
    Adapter,
    Architecture,
    Tokenizer,
    adapters_of,
    architectures_of,
    reads_text,
    tokenizer_of,
)
from mvc.registry.checklist import Item, checklist
from mvc.registry.optimizers import Optimizer, optimizers_of
from mvc.registry.parameters import Shards, Weights, shards_of, weights_of
from mvc.registry.snapshot import Snapshot, looks_like_model
from mvc.registry.training import Training, training_of

MAX_COMPARED = 200
"""Changed files that are looked into for tensors that changed."""

_HYPERPARAMETERS = ("hyper_parameters.", "hparams.", "args.", "cfg.", "opt.")


@dataclass(frozen=True, slots=True)
class TensorChanges:
    """Tensors of the files that changed, against the first parent: counts. ``changed`` may count tensors that
    were only laid out otherwise; nothing was decoded to tell. ``files`` were compared."""

    files: int
    added: int
    removed: int
    reshaped: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Card:
    """A version at a glance. ``notes`` say in one line each what was not looked at; ``hyperparameters`` is
    the file that holds some, or empty."""

    id: CommitId
    commit: Commit
    weights_id: str | None
    architectures: tuple[Architecture, ...]
    adapters: tuple[Adapter, ...]
    weights: tuple[Weights, ...]
    shards: tuple[Shards, ...]
    optimizers: tuple[Optimizer, ...]
    training: tuple[Training, ...]
    tokenizer: Tokenizer | None
    hyperparameters: str
    changes: tuple[Change, ...]
    tensor_changes: TensorChanges
    checklist: tuple[Item, ...]
    notes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Parameters of all weights together."""
        return sum(item.parameters for item in self.weights)

    @property
    def complete(self) -> bool:
        """Whether no part of a complete snapshot is missing."""
        return all(item.state != "missing" for item in self.checklist)


def build_card(
    reader: ObjectReader,
    identity: CommitId,
    *,
    changes: Sequence[Change] | None = None,
    weights_id: str | None = None,
) -> Card:
    """Look at a version.

    ``changes`` are those against its first parent, where the caller has them already; ``weights_id`` is taken
    over as it is.

    Raises:
        DamageError: a commit, tree, manifest or blob that is needed cannot be read.
    """
    commit = read_commit(reader, identity)
    reader = reader if isinstance(reader, Remembering) else Remembering(reader)
    snapshot = Snapshot(reader, commit.tree)
    architectures = tuple(architectures_of(snapshot))
    changed = _changes(reader, commit) if changes is None else tuple(changes)
    card = Card(
        id=identity,
        commit=commit,
        weights_id=weights_id,
        architectures=architectures,
        adapters=tuple(adapters_of(snapshot)),
        weights=tuple(weights_of(snapshot)),
        shards=tuple(shards_of(snapshot)),
        optimizers=tuple(optimizers_of(snapshot)),
        training=training_of(snapshot),
        tokenizer=tokenizer_of(snapshot),
        hyperparameters=_hyperparameters(snapshot),
        changes=changed,
        tensor_changes=_tensor_changes(reader, changed),
        checklist=(),
        notes=(),
    )
    items = tuple(checklist(card, snapshot, is_language=reads_text(snapshot, architectures)))
    return replace(card, checklist=items, notes=tuple(snapshot.notes))


def _hyperparameters(snapshot: Snapshot) -> str:
    for file in snapshot.files.values():
        if file.manifest.tensors and any(name.startswith(_HYPERPARAMETERS) for name in snapshot.values(file)):
            return file.path
    return ""


def _changes(reader: ObjectReader, commit: Commit) -> tuple[Change, ...]:
    parent = read_commit(reader, commit.parents[0]).tree if commit.parents else None
    return tuple(pair_renames(reader, diff_trees(reader, parent, commit.tree)))


def _tensor_changes(reader: ObjectReader, changes: Sequence[Change]) -> TensorChanges:
    files = added = removed = reshaped = changed = unchanged = 0
    differing = [change for change in changes if not change.same_content]
    # first those that look like a model's: there may be thousands of others
    for change in sorted(differing, key=lambda change: not looks_like_model(change.path))[:MAX_COMPARED]:
        old, new = (
            None if entry is None else read_manifest(reader, ManifestId(entry.id))
            for entry in (change.old, change.new)
        )
        if not (old and old.tensors) and not (new and new.tensors):
            continue
        files += 1
        if old is None or new is None:
            added += len(new.tensors) if new else 0
            removed += len(old.tensors) if old else 0
            continue
        found = diff_tensors(old, new)
        added, removed = added + len(found.added), removed + len(found.removed)
        reshaped, changed = reshaped + len(found.reshaped), changed + len(found.maybe_changed)
        unchanged += len(found.unchanged)
    return TensorChanges(files, added, removed, reshaped, changed, unchanged)
