"""How far a version's training was, and what it would be taken up with: step, random generators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mvc.formats import Value
from mvc.registry.card.contents import Contents, File, Number, number_of
from mvc.registry.card.optimizers import Optimizer
from mvc.registry.card.roles import Role, components, document_role

MAX_NOTED = 16


@dataclass(frozen=True, slots=True)
class Training:
    """How far training was in the files ``sources``, and what else was kept to go on exactly.

    ``rng`` names the random generators whose state is there: torch, cuda, numpy, python, "seed" for one that
    is kept as its seed and counter, or "unknown" for a file that tells no more than its name. ``scheduled``
    is what a scheduler counted, epochs or steps as it was called. ``noted`` are measured numbers that stand
    in the files. Where nothing else tells the step, it is the optimizer's.
    """

    sources: tuple[str, ...]
    epoch: Number | None = None
    step: Number | None = None
    rng: tuple[str, ...] = ()
    scheduler: bool = False
    scaler: bool = False
    scheduled: Number | None = None
    noted: Mapping[str, Number] = field(default_factory=dict)

    @property
    def tells_progress(self) -> bool:
        """Whether it is known how far training was."""
        return (self.epoch, self.step, self.scheduled) != (None, None, None)


# --- how far -----------------------------------------------------------------------------------------------
_EPOCHS = ("epoch", "current_epoch", "cur_epoch", "epochs", "last_epoch")
_STEPS = (
    "global_step",
    "global_steps",
    "step",
    "steps",
    "iteration",
    "iter",
    "n_iter",
    "num_updates",
    "current_step",
    "completed_steps",
)
_ELSEWHERE: frozenset[Role] = frozenset({"optimizer", "scheduler", "scaler", "rng"})
_OUTSIDE = frozenset(
    {
        "optimizer",
        "optimizers",
        "optimizer_states",
        "optimizer_state_dict",
        "param_groups",
        "state",
        "lr_scheduler",
        "lr_schedulers",
        "scheduler",
        "loops",
        "callbacks",
        "args",
        "config",
        "hyper_parameters",
    }
)
_MEASURE_WORDS = (
    "acc accuracy auc best bleu cer err error eval f1 iou loss lr mae metric mse perplexity ppl "
    "precision recall reward rmse rouge score val valid validation wer"
)
_MEASURES = frozenset(_MEASURE_WORDS.split())
_NO_TRAINING = frozenset({"gguf", "onnx", "npy", "npz"})
"""Formats whose numbers describe the model, not its training."""


def training_of(contents: Contents, optimizers: Iterable[Optimizer]) -> tuple[Training, ...]:
    """Every training state; files of a folder that say nothing different are one."""
    rows: list[Training] = []
    for file in contents.files.values():
        found = _of_trainer(contents, file) if file.name == "trainer_state.json" else _of_file(contents, file)
        if found is not None:
            _merge(rows, found)
    for optimizer in optimizers:
        if optimizer.step is not None:
            _add_step(rows, contents.files[optimizer.source], optimizer.step)
    return tuple(rows)


def _of_file(contents: Contents, file: File) -> Training | None:
    if file.manifest.format in _NO_TRAINING:
        return None
    role, values, own = _read(contents, file)
    row = Training(
        sources=(file.path,),
        epoch=_first(own, _EPOCHS),
        step=_first(own, _STEPS),
        rng=_generators(file, role, values),
        scheduler=role == "scheduler" or _has(file, values, "scheduler", _OUTSIDE_SCHEDULERS),
        scaler=role == "scaler" or _has(file, values, "scaler", frozenset({"scaler", "grad_scaler"})),
        scheduled=_scheduled(role, values),
        noted=_noted(own),
    )
    told = row.tells_progress or row.rng or row.scheduler or row.scaler or row.noted
    return row if told else None


def _read(contents: Contents, file: File) -> tuple[Role | None, Mapping[str, Value], Mapping[str, Value]]:
    """What a file is for, its values, and those among them that may tell how far training was."""
    role = document_role(file.path)
    if role is not None:
        values = contents.values(file) if contents.stands_alone(file) else {}
        # of a document, epochs and steps are as often how many there shall be
        own = {name: value for name, value in values.items() if components(name)[-1] not in _PLANNED}
        return role, values, own if role == "other" else {}
    wanted = file.manifest.tensors or file.role in _ELSEWHERE or contents.may_be_pickle(file)
    values = contents.values(file) if wanted else {}
    return file.role, values, values if file.role is None else {}


_PLANNED = frozenset({"epochs", "steps"})
_OUTSIDE_SCHEDULERS = frozenset({"lr_scheduler", "lr_schedulers", "scheduler", "schedulers"})


def _has(file: File, values: Mapping[str, Value], role: Role, names: frozenset[str]) -> bool:
    return role in file.roles or any(components(name)[0] in names for name in values)


def _scheduled(role: Role | None, values: Mapping[str, Value]) -> Number | None:
    """``last_epoch`` of a scheduler of PyTorch's, which counts calls of its ``step``."""
    for name, value in values.items():
        parts = components(name)
        if parts[-1] == "last_epoch" and (role == "scheduler" or parts[0] in _OUTSIDE_SCHEDULERS):
            return number_of(value)
    return None


def _first(values: Mapping[str, Value], names: tuple[str, ...]) -> Number | None:
    """The number of one of these names that lies least deep; among those, of the first name."""
    best: tuple[int, int] | None = None
    found: Number | None = None
    for name, value in values.items():
        parts = components(name)
        if len(parts) > 3 or parts[-1] not in names or not _OUTSIDE.isdisjoint(parts):
            continue
        rank = len(parts), names.index(parts[-1])
        number = number_of(value)
        if number is not None and (best is None or rank < best):
            best, found = rank, number
    return found


def _noted(values: Mapping[str, Value]) -> dict[str, Number]:
    found: dict[str, Number] = {}
    for name, value in values.items():
        number = number_of(value)
        if number is not None and "." not in name and not _MEASURES.isdisjoint(name.lower().split("_")):
            found[name] = number
        if len(found) == MAX_NOTED:
            break
    return found


def _of_trainer(contents: Contents, file: File) -> Training | None:
    """The Hugging Face Trainer's own account of itself."""
    state = contents.mapping(file)
    noted = {}
    for key in ("best_metric", "num_train_epochs", "max_steps"):
        number = number_of(state.get(key))
        if number is not None:
            noted[key] = number
    history = state.get("log_history")
    for row in reversed(history if isinstance(history, list) else []):
        loss = number_of(row.get("loss")) if isinstance(row, dict) else None
        if loss is not None:
            noted["loss"] = loss
            break
    epoch, step = number_of(state.get("epoch")), number_of(state.get("global_step"))
    return None if (epoch, step) == (None, None) else Training((file.path,), epoch, step, noted=noted)


# --- random generators -------------------------------------------------------------------------------------
_RNG_NAMES = {"cuda": "cuda", "numpy": "numpy", "np": "numpy", "python": "python", "random": "python"}

_COUNTERS = frozenset({"seed", "counter", "offset"})


def _generators(file: File, role: Role | None, values: Mapping[str, Value]) -> tuple[str, ...]:
    if role == "rng" and not file.manifest.tensors and not values:
        # a document that belongs to tensors was read with them
        return ("unknown",) if file.role == "rng" else ()
    found = {_generator(span.name) for span in file.tensors("rng")}
    for name in values:
        parts = components(name)
        if role == "rng" or any(part.split("_")[0] == "rng" or "_rng" in part for part in parts[:2]):
            found.add(_generator(name))
    return tuple(sorted(found))


def _generator(name: str) -> str:
    parts = components(name)
    if parts[-1] in _COUNTERS:
        return "seed"
    words = {word for part in parts[:3] for word in part.split("_")}
    return next((kind for word, kind in _RNG_NAMES.items() if word in words), "torch")


# --- one state out of several files ------------------------------------------------------------------------
def _merge(rows: list[Training], new: Training) -> None:
    """Add a row, or fill up the one before it of the same folder where they do not contradict each other."""
    folder = new.sources[0].rpartition("/")[0]
    for place, row in enumerate(rows):
        same = row.sources[0].rpartition("/")[0] == folder
        if same and _agree(row.epoch, new.epoch) and _agree(row.step, new.step):
            rows[place] = replace(
                row,
                sources=(*row.sources, *new.sources),
                epoch=new.epoch if row.epoch is None else row.epoch,
                step=new.step if row.step is None else row.step,
                rng=tuple(sorted({*row.rng, *new.rng})),
                scheduler=row.scheduler or new.scheduler,
                scaler=row.scaler or new.scaler,
                scheduled=new.scheduled if row.scheduled is None else row.scheduled,
                noted={**new.noted, **row.noted},
            )
            return
    rows.append(new)


def _agree(one: Number | None, other: Number | None) -> bool:
    return one is None or other is None or one == other


def _add_step(rows: list[Training], file: File, step: Number) -> None:
    """Take an optimizer's steps for those of training, where its file, or its folder for an optimizer by
    itself, tells none. They are fewer where gradients are accumulated, so others go before."""
    alone = next(file.tensors("weight"), None) is None
    near = [
        place
        for place, row in enumerate(rows)
        if file.path in row.sources or (alone and row.sources[0].rpartition("/")[0] == file.folder)
    ]
    if not near:
        rows.append(Training((file.path,), step=step))
    elif all(rows[place].step is None for place in near):
        row = rows[near[0]]
        rows[near[0]] = replace(row, step=step, sources=tuple(dict.fromkeys((*row.sources, file.path))))
