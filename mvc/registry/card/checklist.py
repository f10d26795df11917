"""Which parts of a complete snapshot a version has, and how to add those that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mvc.registry.card.findings import Findings

State = Literal["present", "missing", "not applicable"]

_INFERENCE = frozenset({"gguf", "onnx", "tflite"})
_PROGRESS = frozenset({"epoch", "epochs", "step", "steps", "global_step", "iteration"})


@dataclass(frozen=True, slots=True)
class Item:
    """One part: whether it is there; ``note`` says where or why not, ``hint`` how to add it."""

    name: str
    state: State
    note: str = ""
    hint: str = ""


def checklist(found: Findings) -> Iterator[Item]:
    """Every part, always in the same order."""
    exported = bool(found.weights) and all(set(item.formats) <= _INFERENCE for item in found.weights)
    yield _architecture(found)
    yield _parameters(found)
    yield from _training(found, exported)
    yield _tokenizer(found)
    yield _item(
        "hyperparameters",
        _hyperparameters(found),
        "mvc commit --amend --param lr=3e-4",
    )
    noted = any(row.noted for row in found.training)
    yield _item(
        "metrics",
        "recorded" if found.commit.metrics else "in the files" if noted else "",
        "mvc commit --amend --metric loss=1.93",
    )
    yield _item("data", ", ".join(found.commit.data), "mvc commit --amend --data train=PATH")
    code = found.commit.code
    yield _item(
        "code",
        "" if code is None else code.commit[:12],
        "commit inside of a Git repository (setting commit.code)",
    )
    environment = found.commit.environment
    yield _item(
        "environment",
        "" if environment is None else f"python {environment.python}",
        "mvc config commit.environment true",
    )


def _item(name: str, note: str, hint: str) -> Item:
    return Item(name, "present", note) if note else Item(name, "missing", "", hint)


def _architecture(found: Findings) -> Item:
    if found.architectures:
        return Item("architecture", "present", found.architectures[0].source)
    if found.adapters and found.adapters[0].base is not None:
        return Item("architecture", "present", f"that of {found.adapters[0].base}")
    return Item("architecture", "missing", "", "keep the model's config.json beside its weights")


def _parameters(found: Findings) -> Item:
    torn = [item for item in found.shards if not item.complete]
    if torn:
        return Item("parameters", "missing", f"{torn[0].name} is not complete", "add the missing shards")
    if found.weights:
        return Item("parameters", "present", found.weights[0].name)
    if found.misfits:
        worst = found.misfits[0]
        why = f": {worst.reason}" if worst.reason else ""
        return Item("parameters", "missing", f"{worst.path} is not understood{why}", "save as safetensors")
    return Item("parameters", "missing", "", "save the weights, as safetensors for example")


def _training(found: Findings, exported: bool) -> Iterator[Item]:
    if exported:
        for name in ("optimizer", "progress", "random state"):
            yield Item(name, "not applicable", "exported for inference")
        return
    yield _item(
        "optimizer",
        found.optimizers[0].source if found.optimizers else "",
        "save optimizer.state_dict() too, to train on from here",
    )
    recorded = sorted({*found.commit.params, *found.commit.metrics} & _PROGRESS)
    told = next((row.sources[0] for row in found.training if row.tells_progress), "")
    yield _item(
        "progress",
        told or ", ".join(recorded),
        "save epoch and step with the weights, or mvc commit --amend --param step=800",
    )
    kinds = sorted({kind for row in found.training for kind in row.rng})
    yield _item(
        "random state", ", ".join(kinds), "save torch.get_rng_state() too, to train on exactly as before"
    )


def _tokenizer(found: Findings) -> Item:
    if found.tokenizer is not None:
        return Item("tokenizer", "present", found.tokenizer.files[0])
    if not found.needs_tokenizer:
        return Item("tokenizer", "not applicable", "not a model of language")
    if found.adapters and all(item.base is not None for item in found.adapters):
        return Item("tokenizer", "not applicable", "comes with the base model")
    return Item("tokenizer", "missing", "", "save the tokenizer's files beside the model")


def _hyperparameters(found: Findings) -> str:
    if found.commit.params:
        return "recorded"
    for item in found.optimizers:
        if item.settings:
            return item.source
    return found.hyperparameters
