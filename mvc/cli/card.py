"""The card of a version as JSON and as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mvc.cli.versions import finite
from mvc.lineage import Code, Data, Environment
from mvc.registry.card import Card
from mvc.registry.card.architecture import Adapter, Architecture, Tokenizer
from mvc.registry.card.checklist import Item
from mvc.registry.card.findings import TensorChanges
from mvc.registry.card.optimizers import Optimizer
from mvc.registry.card.parameters import Shards, Weights
from mvc.registry.card.pickles import PickledNames
from mvc.registry.card.training import Training
from mvc.text import count, number, one_line, size

MOST_ROWS = 4
"""Rows of one kind that are printed; JSON has all of them."""

LEAST_WIDTH = 40
GAP = 2


# --- JSON --------------------------------------------------------------------------------------------------
def card_json(card: Card) -> dict[str, Any]:
    """The card as documented for ``mvc show --json``."""
    return {
        "weights_id": card.weights_id,
        "architectures": [_plain(item, "source", "name", "kind", "settings") for item in card.architectures],
        "adapters": [
            _plain(item, "source", "kind", "rank", "alpha", "targets", "base") for item in card.adapters
        ],
        "parameters": card.parameters,
        "weights": [_weights_json(item) for item in card.weights],
        "shards": [
            _plain(item, "name", "files", "missing_files", "missing_tensors", "complete")
            for item in card.shards
        ],
        "pickled_names": [
            _plain(item, "source", "loader", "dangerous", "others", "truncated")
            for item in card.pickled_names
        ],
        "optimizers": [
            _plain(
                item, "source", "kind", "slots", "tensors", "bytes", "step", "groups", "settings", "covered"
            )
            for item in card.optimizers
        ],
        "training": [
            _plain(item, "sources", "epoch", "step", "scheduled", "rng", "scheduler", "scaler", "noted")
            for item in card.training
        ],
        "tokenizer": None
        if card.tokenizer is None
        else _plain(card.tokenizer, "kind", "files", "vocabulary"),
        "tensor_changes": _plain(
            card.tensor_changes, "files", "added", "removed", "reshaped", "changed", "unchanged"
        ),
        "checklist": [_plain(item, "name", "state", "note", "hint") for item in card.checklist],
        "complete": card.complete,
        "notes": list(card.notes),
    }


def lineage_json(card: Card) -> dict[str, Any]:
    """What the version records of its origin."""
    commit = card.commit
    return {
        "data": {name: _data_json(item) for name, item in commit.data.items()},
        "code": None if commit.code is None else _plain(commit.code, "commit", "dirty", "branch", "remote"),
        "environment": None if commit.environment is None else _environment_json(commit.environment),
    }


def _plain(item: object, *names: str) -> dict[str, Any]:
    return {name: _value(getattr(item, name)) for name in names}


def _value(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, Mapping):
        return {name: _value(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_value(inner) for inner in value]
    return finite({"": value})[""]


def _weights_json(item: Weights) -> dict[str, Any]:
    names = "name files formats tensors parameters bytes dtypes buffers scales averaged shared"
    return _plain(item, *names.split(" "))


def _data_json(item: Data) -> dict[str, Any]:
    digest = None if item.blake3 is None else item.blake3.hex()
    return {**_plain(item, "kind", "location", "size", "files"), "blake3": digest}


def _environment_json(item: Environment) -> dict[str, Any]:
    names = "of python implementation system release machine mvc packages"
    return _plain(item, *names.split(" "))


# --- text --------------------------------------------------------------------------------------------------
def card_lines(card: Card, width: int) -> list[str]:
    """The card: a heading for each part, what it says beside it, wrapped at ``width`` columns."""
    rows = [
        ("Warning", _few([item for item in card.pickled_names if _is_alarming(item)], _danger_text)),
        ("Model", _few(card.architectures, _architecture_text)),
        ("Adapter", _few(card.adapters, _adapter_text)),
        ("Parameters", _few(card.weights, _weights_text)),
        ("Shards", _few([item for item in card.shards if not item.complete], _shards_text)),
        ("Optimizer", _few(card.optimizers, _optimizer_text)),
        ("Training", _few(card.training, _training_text)),
        ("Tokenizer", [] if card.tokenizer is None else [_tokenizer_text(card.tokenizer)]),
        ("Data", _few(list(card.commit.data.items()), lambda item: _data_text(*item))),
        ("Code", [] if card.commit.code is None else [_code_text(card.commit.code)]),
        (
            "Environment",
            [] if card.commit.environment is None else [_environment_text(card.commit.environment)],
        ),
        ("Weights", [] if card.weights_id is None else [card.weights_id]),
        ("Changed", _changes_text(card.tensor_changes)),
        ("Missing", [_missing_text(item) for item in card.checklist if item.state == "missing"]),
        ("Hint", [_missing_text(item) for item in card.checklist if item.state == "present" and item.hint]),
        ("Note", [*_few([item for item in card.pickled_names if item.others], _names_text), *card.notes]),
    ]
    indent = max(len(title) for title, _ in rows) + GAP
    lines = []
    for title, texts in rows:
        for place, text in enumerate(texts):
            heading = (title if place == 0 else "").ljust(indent)
            lines += textwrap.wrap(
                one_line(text),
                max(width, LEAST_WIDTH),
                initial_indent=heading,
                subsequent_indent=" " * (indent + GAP),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def _few(items: Sequence[Any], text: Any) -> list[str]:
    texts = [text(item) for item in items[:MOST_ROWS]]
    left = len(items) - MOST_ROWS
    return [*texts, f"and {left:,} more"] if left > 0 else texts


def _joined(words: Iterable[str | None], by: str = ", ") -> str:
    return by.join(word for word in words if word)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f"{name} {'/'.join(_short(item) for item in value)}"
    return f"{name} {_short(value)}"


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _architecture_text(item: Architecture) -> str:
    name = item.name or item.kind or item.source
    kind = f" ({item.kind})" if item.name and item.kind else ""
    settings = _joined(_setting(key, value) for key, value in item.settings.items())
    return f"{name}{kind}{': ' if settings else ''}{settings}"


def _adapter_text(item: Adapter) -> str:
    parts = (
        None if item.rank is None else f"rank {item.rank}",
        None if item.alpha is None else f"alpha {_short(item.alpha)}",
        "on " + ", ".join(item.targets) if item.targets else None,
        None if item.base is None else f"of {item.base}",
    )
    return f"{item.kind}: {_joined(parts)}"


def many(value: int) -> str:
    """A large count as people say it: ``17.3 M``."""
    if value < 10_000:
        return f"{value:,}"
    scaled, unit = float(value), ""
    for unit in ("k", "M", "G", "T"):  # noqa: B007 the last one is used below
        scaled /= 1000
        if scaled < 999.5:
            break
    return f"{scaled:.3g} {unit}"


def _weights_text(item: Weights) -> str:
    total = many(item.parameters)
    mixed = _joined(f"{dtype} {many(value)}" for dtype, value in item.dtypes.items())
    dtypes = f"{total}: {mixed}" if len(item.dtypes) > 1 else f"{total} {''.join(item.dtypes)}"
    extra = _joined(
        (
            f"{many(item.buffers)} in buffers" if item.buffers else None,
            f"{many(item.scales)} scales" if item.scales else None,
            f"{many(item.averaged)} averaged" if item.averaged else None,
            f"{item.shared} tied" if item.shared else None,
        )
    )
    more = f", and {extra}," if extra else ""
    return f"{dtypes}{more} in {count(item.tensors, 'tensor')}, {size(item.bytes)}, {item.name}"


def _shards_text(item: Shards) -> str:
    missing = _joined(
        (
            f"{len(item.missing_files)} of {item.files} files missing: {_first(item.missing_files)}"
            if item.missing_files
            else None,
            f"{count(item.missing_tensors, 'tensor')} missing" if item.missing_tensors else None,
        )
    )
    return f"{item.name}: {missing}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _is_alarming(item: PickledNames) -> bool:
    return bool(item.dangerous) or item.truncated


def _danger_text(item: PickledNames) -> str:
    if not item.dangerous:
        return f"{item.source} names more functions than were looked at; do not unpickle"
    which = "it" if len(item.dangerous) == 1 else "them"
    return f"{item.source} names {_first(item.dangerous)}: {item.loader} would run {which}; do not unpickle"


def _names_text(item: PickledNames) -> str:
    refused = "torch.load refuses by default" if item.loader == "torch.load" else f"{item.loader} imports"
    return f"{item.source} names classes that {refused}: {_first(item.others)}"


def _optimizer_text(item: Optimizer) -> str:
    slots = f"{', '.join(item.slots)} in " if item.slots else ""
    kept = f"{slots}{count(item.tensors, 'tensor')}, {size(item.bytes)}"
    settings = [
        _setting(key, value)
        for key, value in item.settings.items()
        if key in ("lr", "learning_rate", "betas", "momentum", "weight_decay", "eps")
    ]
    some = item.covered is not None and item.covered[0] < item.covered[1]
    covered = f" for {item.covered[0]} of {count(item.covered[1], 'tensor')}" if item.covered and some else ""
    step = None if item.step is None else f"step {item.step:,}"
    nothing = "only settings" if item.groups else "cannot be looked into"
    parts = (kept + covered if item.tensors else nothing, step, *settings, item.source)
    return f"{item.kind or 'unknown kind'}: {_joined(parts)}"


def _scheduler_text(item: Training) -> str | None:
    if item.scheduled is None:
        return "scheduler" if item.scheduler else None
    return f"scheduler at {_short(item.scheduled)}"


def _training_text(item: Training) -> str:
    kinds = [kind for kind in item.rng if kind not in ("seed", "unknown")]
    parts = (
        None if item.epoch is None else f"epoch {_short(item.epoch)}",
        None if item.step is None else f"step {item.step:,}",
        f"random state of {', '.join(kinds)}" if kinds else None,
        "random state" if "unknown" in item.rng and not kinds else None,
        "seed of a random generator" if "seed" in item.rng else None,
        _scheduler_text(item),
        "scaler" if item.scaler else None,
        *(_setting(key, value) for key, value in item.noted.items()),
        _first(item.sources),
    )
    return _joined(parts)


def _tokenizer_text(item: Tokenizer) -> str:
    told = _joined((item.kind, None if item.vocabulary is None else f"{item.vocabulary:,} tokens"))
    return f"{told}{': ' if told else ''}{_first(item.files)}"


def _data_text(name: str, item: Data) -> str:
    held = (
        None if item.files is None else count(item.files, "file"),
        None if item.size is None else size(item.size),
        None if item.blake3 is None else f"BLAKE3 {item.blake3.hex()[:12]}",
    )
    return f"{name}: {_joined((item.location, *held))}"


def _code_text(item: Code) -> str:
    state = {None: None, True: "with changes that are not committed", False: None}[item.dirty]
    branch = None if item.branch is None else f"on {item.branch}"
    return _joined((_joined((item.commit[:12], branch, state), " "), item.remote))


def _environment_text(item: Environment) -> str:
    python = None if item.python is None else f"{item.implementation or 'Python'} {item.python}"
    of = None if item.of in (None, "interpreter") else f"({item.of})"
    system = _joined((item.system, item.machine), " ")
    packages = (f"{name} {version}" for name, version in _ranked(item.packages))
    return _joined((_joined((python, of), " "), system, *packages))


_FIRST_PACKAGES = ("torch", "tensorflow", "jax", "keras", "transformers", "diffusers")


def _ranked(packages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(packages, key=lambda name: (name not in _FIRST_PACKAGES, name)):
        yield name, packages[name]


def _changes_text(item: TensorChanges) -> list[str]:
    kinds = ("changed", "added", "removed", "reshaped", "unchanged")
    counts = [f"{value:,} {kind}" for kind in kinds if (value := getattr(item, kind))]
    if not any((item.changed, item.added, item.removed, item.reshaped)):
        return []
    return [f"tensors: {_joined(counts)}"]


def _missing_text(item: Item) -> str:
    return f"{item.name}{f' ({item.note})' if item.note else ''} — {item.hint}"
