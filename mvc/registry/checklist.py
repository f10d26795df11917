"""Which parts of a complete snapshot a version has, and how to add those that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mvc.formats import OPAQUE

if TYPE_CHECKING:
    from mvc.registry.card import Card
    from mvc.registry.snapshot import Snapshot

State = Literal["present", "missing", "not applicable"]

_INFERENCE = frozenset({"gguf", "onnx", "tflite"})
_SUFFIXES = (
    ".safetensors",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".gguf",
    ".onnx",
    ".h5",
    ".keras",
    ".npz",
    ".npy",
)
_PROGRESS = frozenset({"epoch", "epochs", "step", "steps", "global_step", "iteration"})
_SETTINGS_FILES = ("training_args.bin", "training_args.json", "hparams.yaml", "args.json", "config.yaml")


@dataclass(frozen=True, slots=True)
class Item:
    """One part: whether it is there; ``note`` says where or why not, ``hint`` how to add it."""

    name: str
    state: State
    note: str = ""
    hint: str = ""


def checklist(card: Card, snapshot: Snapshot, *, is_language: bool) -> Iterator[Item]:
    """Every part, always in the same order."""
    exported = bool(card.weights) and all(set(item.formats) <= _INFERENCE for item in card.weights)
    yield _architecture(card)
    yield _parameters(card, snapshot)
    yield from _training(card, exported)
    yield _tokenizer(card, is_language)
    yield _item(
        "hyperparameters",
        _hyperparameters(card, snapshot),
        "mvc commit --amend --param lr=3e-4",
    )
    noted = any(row.noted for row in card.training)
    yield _item(
        "metrics",
        "recorded" if card.commit.metrics else "in the files" if noted else "",
        "mvc commit --amend --metric loss=1.93",
    )
    yield _item("data", ", ".join(card.commit.data), "mvc commit --amend --data train=PATH")
    code = card.commit.code
    yield _item(
        "code",
        "" if code is None else code.commit[:12],
        "commit inside of a Git repository (setting commit.code)",
    )
    environment = card.commit.environment
    yield _item(
        "environment",
        "" if environment is None else f"python {environment.python}",
        "mvc config commit.environment true",
    )


def _item(name: str, note: str, hint: str) -> Item:
    return Item(name, "present", note) if note else Item(name, "missing", "", hint)


def _architecture(card: Card) -> Item:
    if card.architectures:
        return Item("architecture", "present", card.architectures[0].source)
    if card.adapters and card.adapters[0].base is not None:
        return Item("architecture", "present", f"that of {card.adapters[0].base}")
    return Item("architecture", "missing", "", "keep the model's config.json beside its weights")


def _parameters(card: Card, snapshot: Snapshot) -> Item:
    torn = [item for item in card.shards if not item.complete]
    if torn:
        return Item("parameters", "missing", f"{torn[0].name} is not complete", "add the missing shards")
    if card.weights:
        return Item("parameters", "present", card.weights[0].name)
    for file in snapshot.files.values():
        if file.manifest.format == OPAQUE and file.role is None and file.name.lower().endswith(_SUFFIXES):
            why = f": {file.manifest.reason}" if file.manifest.reason else ""
            return Item("parameters", "missing", f"{file.path} is not understood{why}", "save as safetensors")
    return Item("parameters", "missing", "", "save the weights, as safetensors for example")


def _training(card: Card, exported: bool) -> Iterator[Item]:
    if exported:
        for name in ("optimizer", "progress", "random state"):
            yield Item(name, "not applicable", "exported for inference")
        return
    yield _item(
        "optimizer",
        card.optimizers[0].source if card.optimizers else "",
        "save optimizer.state_dict() too, to train on from here",
    )
    recorded = sorted({*card.commit.params, *card.commit.metrics} & _PROGRESS)
    told = next((row.sources[0] for row in card.training if (row.epoch, row.step) != (None, None)), "")
    yield _item(
        "progress",
        told or ", ".join(recorded),
        "save epoch and step with the weights, or mvc commit --amend --param step=800",
    )
    kinds = sorted({kind for row in card.training for kind in row.rng})
    yield _item(
        "random state", ", ".join(kinds), "save torch.get_rng_state() too, to train on exactly as before"
    )


def _tokenizer(card: Card, is_language: bool) -> Item:
    if card.tokenizer is not None:
        return Item("tokenizer", "present", card.tokenizer.files[0])
    if not is_language:
        return Item("tokenizer", "not applicable", "not a model of language")
    if card.adapters and all(item.base is not None for item in card.adapters):
        return Item("tokenizer", "not applicable", "comes with the base model")
    return Item("tokenizer", "missing", "", "save the tokenizer's files beside the model")


def _hyperparameters(card: Card, snapshot: Snapshot) -> str:
    if card.commit.params:
        return "recorded"
    for item in card.optimizers:
        if item.settings:
            return item.source
    found = next(snapshot.named(*_SETTINGS_FILES), None)
    return card.hyperparameters or ("" if found is None else found.path)
