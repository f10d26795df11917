"""Which parts of a complete snapshot a version has, and how to add those that it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mvc.lineage import Environment
from mvc.registry.card.findings import Findings, Misfit

State = Literal["present", "missing", "not applicable"]

_INFERENCE = frozenset(["gguf", "hdf5", "keras", "npy", "npz", "onnx", "onnx-tensor", "tf-graph", "tflite"])
"""Formats that models are exported in; without an optimizer's state nobody means to train on from there."""

_NO_FRAMEWORKS = frozenset({"h5py", "numpy"})
"""Packages that come with mvc."""

_MAX_NAMED = 5
_PROGRESS = frozenset({"epoch", "epochs", "step", "steps", "global_step", "iteration"})


@dataclass(frozen=True, slots=True)
class Item:
    """One part: whether it is there; ``note`` says where or why not, ``hint`` how to add it, or what could be
    better of one that is there."""

    name: str
    state: State
    note: str = ""
    hint: str = ""


def checklist(found: Findings) -> Iterator[Item]:
    """Every part, always in the same order."""
    formats = {name for item in found.weights for name in item.formats}
    exported = bool(formats) and formats <= _INFERENCE and not found.optimizers
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
    yield _environment(found.commit.environment)


def _item(name: str, note: str, hint: str) -> Item:
    return Item(name, "present", note) if note else Item(name, "missing", "", hint)


def _environment(environment: Environment | None) -> Item:
    if environment is None:
        return Item("environment", "missing", "", "mvc config commit.environment true")
    if environment.of != "interpreter" or not environment.packages.keys() <= _NO_FRAMEWORKS:
        return Item("environment", "present", f"python {environment.python}")
    return Item(
        "environment",
        "present",
        f"python {environment.python} without frameworks",
        "activate the training environment before you commit, so that its frameworks are recorded",
    )


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
    unknown = _not_understood(found.misfits)
    if found.weights:
        note = "; ".join(text for text in (found.weights[0].name, unknown) if text)
        return Item("parameters", "present", note, _KEPT if unknown else "")
    if unknown:
        return Item("parameters", "missing", unknown, _KEPT)
    return Item("parameters", "missing", "", "save the weights, as safetensors for example")


_KEPT = "what is not understood is kept exactly, but only safetensors and its like can be looked into"


def _not_understood(misfits: Sequence[Misfit]) -> str:
    named = [
        item.path if item.reason is None else f"{item.path} ({item.reason})" for item in misfits[:_MAX_NAMED]
    ]
    left = len(misfits) - len(named)
    names = ", ".join([*named, *([f"{left} more"] if left else [])])
    return f"not understood: {names}" if names else ""


def _training(found: Findings, exported: bool) -> Iterator[Item]:
    recorded = sorted({*found.commit.params, *found.commit.metrics} & _PROGRESS)
    told = next((row.sources[0] for row in found.training if row.tells_progress), "")
    kinds = sorted({kind for row in found.training for kind in row.rng})
    items = (
        _item(
            "optimizer",
            found.optimizers[0].source if found.optimizers else "",
            "save optimizer.state_dict() too, to train on from here",
        ),
        _item(
            "progress",
            told or ", ".join(recorded),
            "save epoch and step with the weights, or mvc commit --amend --param step=800",
        ),
        _item(
            "random state", ", ".join(kinds), "save torch.get_rng_state() too, to train on exactly as before"
        ),
    )
    for item in items:
        if item.state == "missing" and exported:
            yield Item(item.name, "not applicable", "exported for inference")
        else:
            yield item


def _tokenizer(found: Findings) -> Item:
    if found.tokenizer is not None:
        return Item("tokenizer", "present", found.tokenizer.files[0])
    if not found.needs_tokenizer:
        return Item("tokenizer", "not applicable", "not needed, as far as can be told")
    based = found.adapters and all(item.base is not None for item in found.adapters)
    if based and not found.architectures:  # with a model beside them it is that model's
        return Item("tokenizer", "not applicable", "comes with the base model")
    return Item("tokenizer", "missing", "", "save the tokenizer's files beside the model")


def _hyperparameters(found: Findings) -> str:
    if found.commit.params:
        return "recorded"
    for item in found.optimizers:
        if item.settings:
            return item.source
    return found.hyperparameters
