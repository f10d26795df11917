"""What is found in a version: its model, weights, training, and what changed; what the card says, but for
what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mvc.formats import OPAQUE
from mvc.history.reader import ObjectReader, Remembering, read_commit, read_or_gap
from mvc.history.tensordiff import diff_tensors
from mvc.history.treediff import Change, diff_trees, pair_renames
from mvc.objectid import CommitId, ManifestId
from mvc.objects import Commit
from mvc.registry.card.architecture import (
    Adapter,
    Architecture,
    Tokenizer,
    adapters_of,
    architectures_of,
    reads_text,
    tokenizer_of,
)
from mvc.registry.card.contents import Contents, looks_like_model
from mvc.registry.card.copies import distinct_parameters
from mvc.registry.card.optimizers import Optimizer, optimizers_of
from mvc.registry.card.parameters import Shards, Weights, shards_of, weights_of
from mvc.registry.card.pickles import PickledNames, pickled_names_of
from mvc.registry.card.roles import document_role
from mvc.registry.card.training import Training, training_of

MAX_COMPARED = 200
"""Changed files that are looked into for tensors that changed."""

_HYPERPARAMETERS = ("hyper_parameters.", "hyperparameters.", "hparams.", "args.", "cfg.", "opt.")
_CHOSEN = ("lr", "learning_rate", "weight_decay", "batch_size")
_SETTINGS_FILES = ("training_args.bin", "training_args.json", "hparams.yaml", "args.json", "config.yaml")
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".onnx", ".h5", ".keras", ".npz", ".npy")


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
class Misfit:
    """A file that looks like a model's and is not understood, with the reason where there is one."""

    path: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a version holds. ``hyperparameters`` is the file that holds some, or empty; ``misfits`` look like
    models; ``needs_tokenizer`` says whether the model is of language. ``notes`` say in one line each what
    was not looked at."""

    id: CommitId
    commit: Commit
    weights_id: str | None
    architectures: tuple[Architecture, ...]
    adapters: tuple[Adapter, ...]
    weights: tuple[Weights, ...]
    shards: tuple[Shards, ...]
    misfits: tuple[Misfit, ...]
    pickled_names: tuple[PickledNames, ...]
    optimizers: tuple[Optimizer, ...]
    training: tuple[Training, ...]
    tokenizer: Tokenizer | None
    needs_tokenizer: bool
    hyperparameters: str
    changes: tuple[Change, ...]
    tensor_changes: TensorChanges
    notes: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """Parameters of all weights together; those of equal names and shapes count once, as copies of one
        model: shards beside the whole, a second checkpoint, another dtype."""
        return distinct_parameters(self.weights)


def look_at(
    reader: ObjectReader,
    identity: CommitId,
    *,
    changes: Sequence[Change] | None = None,
    weights_id: str | None = None,
) -> Findings:
    """Look at a version; arguments and errors are those of :func:`mvc.registry.card.build_card`."""
    commit = read_commit(reader, identity)
    reader = reader if isinstance(reader, Remembering) else Remembering(reader)
    contents = Contents(reader, commit.tree)
    architectures = tuple(architectures_of(contents))
    weights = tuple(weights_of(contents))
    optimizers = tuple(optimizers_of(contents, weights))
    changed = _changes(reader, commit) if changes is None else tuple(changes)
    return Findings(
        id=identity,
        commit=commit,
        weights_id=weights_id,
        architectures=architectures,
        adapters=tuple(adapters_of(contents)),
        weights=weights,
        shards=tuple(shards_of(contents)),
        misfits=tuple(_misfits(contents)),
        pickled_names=tuple(pickled_names_of(contents)),
        optimizers=optimizers,
        training=training_of(contents, optimizers),
        tokenizer=tokenizer_of(contents),
        needs_tokenizer=reads_text(contents, architectures),
        hyperparameters=_hyperparameters(contents),
        changes=changed,
        tensor_changes=_tensor_changes(reader, changed),
        notes=tuple(contents.notes),  # at last, when everything was looked at
    )


def _misfits(contents: Contents) -> Iterator[Misfit]:
    for file in contents.files.values():
        if file.manifest.format == OPAQUE and file.role is None and file.name.lower().endswith(_WEIGHTS):
            yield Misfit(file.path, file.manifest.reason)


def _hyperparameters(contents: Contents) -> str:
    for file in contents.files.values():
        told = file.manifest.tensors or document_role(file.path) == "other"
        if told and any(map(_is_chosen, contents.values(file))):
            return file.path
    found = next(contents.named(*_SETTINGS_FILES), None)
    return "" if found is None else found.path


def _is_chosen(name: str) -> bool:
    return name in _CHOSEN or name.startswith(_HYPERPARAMETERS)


def _changes(reader: ObjectReader, commit: Commit) -> tuple[Change, ...]:
    parent = read_commit(reader, commit.parents[0]).tree if commit.parents else None
    return tuple(pair_renames(reader, diff_trees(reader, parent, commit.tree)))


def _tensor_changes(reader: ObjectReader, changes: Sequence[Change]) -> TensorChanges:
    files = added = removed = reshaped = changed = unchanged = 0
    differing = [change for change in changes if not change.same_content]
    # first those that look like a model's: there may be thousands of others
    for change in sorted(differing, key=lambda change: not looks_like_model(change.path))[:MAX_COMPARED]:
        old, new = (
            None if entry is None else read_or_gap(reader, ManifestId(entry.id))
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
