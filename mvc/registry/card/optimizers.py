"""The state of optimizers: which, how much, how many steps, with which settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mvc.formats import Value
from mvc.registry.card.contents import Contents, File, Number, number_of
from mvc.registry.card.parameters import Weights
from mvc.registry.card.roles import MOMENTS, components, document_role, is_master
from mvc.spans import Span

MAX_SETTINGS = 32

MASTER = "fp32 master weights"
"""The slot of an optimizer that keeps parameters in full precision, which the weights are rounded from."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The state of an optimizer in one file.

    ``kind`` is its class where the file names one, else what its ``slots`` (``exp_avg``, ``momentum_buffer``)
    are typical of; :data:`MASTER` among them are the parameters themselves. ``settings`` are those of the
    first of ``groups`` parameter groups. ``covered`` counts the tensors of a model that it keeps something
    for, and all of that model's; None where names do not tell.
    """

    source: str
    kind: str | None
    slots: tuple[str, ...]
    tensors: int
    bytes: int
    step: Number | None
    groups: int
    settings: Mapping[str, Any]
    covered: tuple[int, int] | None = None


_BY_SLOTS = (
    ({"exp_avg_sq_row"}, "Adafactor"),
    ({"exp_avg_sq", "max_exp_avg_sq"}, "Adam with AMSGrad"),
    ({"exp_avg", "exp_avg_sq"}, "Adam"),
    ({"exp_avg", "exp_inf"}, "Adamax"),
    ({"exp_avg"}, "Lion"),
    ({"square_avg", "acc_delta"}, "Adadelta"),
    ({"square_avg"}, "RMSprop"),
    ({"momentum_buffer"}, "SGD with momentum"),
)
_KERAS = ("training_config.optimizer_config.", "config.compile_config.optimizer.")
"""Below which Keras describes the optimizer: in HDF5 files, and since version 3."""

_KERAS_SLOTS = frozenset({"m", "v", "vhat", "momentum", "velocity", "rms", "accumulator"})


def optimizers_of(contents: Contents, weights: Sequence[Weights]) -> Iterator[Optimizer]:
    """Every optimizer's state, by path of the file that holds it; ``weights`` are those of the version."""
    for file in contents.files.values():
        spans = list(file.tensors("optimizer"))
        is_document = document_role(file.path) == "optimizer" and contents.stands_alone(file)
        if spans or file.manifest.tensors or file.role == "optimizer" or is_document:
            found = _optimizer(file, spans, contents.values(file))
            if found is not None:
                yield replace(found, covered=_covered(spans, weights))


def _optimizer(file: File, spans: list[Span], values: Mapping[str, Value]) -> Optimizer | None:
    settings, groups = _group_settings(values)
    kind = None
    if not groups:
        kind, settings = _keras_settings(values)
    if not spans and not groups and file.role != "optimizer":
        return None
    slots = {slot for span in spans if (slot := _slot(span.name)) is not None}
    return Optimizer(
        source=file.path,
        kind=kind or _kind(slots, settings),
        slots=tuple(sorted(slots)),
        tensors=len(spans),
        bytes=sum(span.length for span in spans),
        step=_optimizer_step(values),
        groups=groups,
        settings=settings,
    )


def _slot(name: str) -> str | None:
    """What is kept for a parameter: ``exp_avg`` of ``state.0.exp_avg`` and of ``exp_avg.model.norm``."""
    parts = components(name)
    if is_master(parts):
        return MASTER
    if parts[-1] in MOMENTS or "state" in parts[:-1]:
        return parts[-1]
    if parts[0] in MOMENTS or parts[0] == "step":
        return parts[0]
    last = parts[-1].rpartition("_")[2]  # Keras: kernel/m, and kernel_momentum
    return last if last in _KERAS_SLOTS else None


def _covered(spans: Iterable[Span], weights: Iterable[Weights]) -> tuple[int, int] | None:
    names = {name for span in spans if (name := _parameter(span.name)) is not None}
    counts = ((len(names & item.shapes.keys()), len(item.shapes)) for item in weights)
    found, total = max(counts, default=(0, 0))
    return (found, total) if found else None


def _parameter(name: str) -> str | None:
    """What something is kept for: ``a.weight`` of ``exp_avg.a.weight`` and of ``state.a.weight.exp_avg``."""
    first, _, rest = name.partition(".")
    if first in MOMENTS:
        return rest
    _, found, rest = f".{name}".partition(".state.")
    parameter, _, slot = rest.rpartition(".")
    return parameter if found and slot in MOMENTS else None


def _kind(slots: set[str], settings: Mapping[str, Any]) -> str | None:
    for typical, kind in _BY_SLOTS:
        if typical <= slots:
            # torch has AdamW's difference from Adam among the settings since 2.6
            return "AdamW" if kind == "Adam" and settings.get("decoupled_weight_decay") is True else kind
    if "betas" in settings:
        return "Adam"
    return "SGD" if {"momentum", "nesterov"} <= settings.keys() else None


def _group_settings(values: Mapping[str, Value]) -> tuple[dict[str, Any], int]:
    """The first parameter group's settings, and how many groups there are."""
    settings: dict[str, Any] = {}
    numbers: set[str] = set()
    for name, value in values.items():
        before, found, rest = name.rpartition("param_groups.")
        number, _, key = rest.partition(".")
        if not found or (before and not before.endswith(".")) or not number.isdecimal() or not key:
            continue
        numbers.add(number)
        if number == "0" and not key.startswith("params") and len(settings) < MAX_SETTINGS:
            head, _, place = key.partition(".")
            if place.isdecimal():  # betas.0, betas.1
                settings[head] = [*settings.get(head, []), value]
            elif not place:
                settings[key] = value
    return settings, len(numbers)


def _keras_settings(values: Mapping[str, Value]) -> tuple[str | None, dict[str, Any]]:
    """The optimizer's class and settings in Keras' own description of a model."""
    for prefix in _KERAS:
        kind = values.get(prefix + "class_name")
        if isinstance(kind, str):
            start = prefix + "config."
            found = {
                name.removeprefix(start): value for name, value in values.items() if name.startswith(start)
            }
            told = [(name, value) for name, value in found.items() if value is not None and "." not in name]
            return kind, dict(told[:MAX_SETTINGS])
    return None, {}


def _optimizer_step(values: Mapping[str, Value]) -> Number | None:
    """How many steps an optimizer made: the most that it counted for any parameter."""
    steps = [
        number
        for name, value in values.items()
        if _counts_steps(components(name)) and (number := number_of(value)) is not None
    ]
    most = max(steps, default=None)
    return int(most) if isinstance(most, float) and most.is_integer() else most


_KERAS_COUNTER = ("optimizer", "vars", "0")


def _counts_steps(parts: tuple[str, ...]) -> bool:
    if parts[-1] == "step":
        return "state" in parts[:-1]
    if parts[0] == "step":
        return len(parts) > 1
    # Keras' counter, which since version 3 is the first of the optimizer's variables
    return (parts[0] == "optimizer_weights" and parts[-1] in ("iter", "iteration")) or parts == _KERAS_COUNTER
