"""Tells by names what a file or a tensor is for: weights, the state of an optimizer, of random generators.

The names are those that PyTorch, Lightning, the Hugging Face Trainer, Accelerate, DeepSpeed and Keras give.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from mvc.spans import Span

Role = Literal["weight", "buffer", "scale", "average", "optimizer", "rng", "scheduler", "scaler", "other"]
"""``buffer``: what a model keeps beside its parameters (running means, masks); ``scale``: of quantisation;
``average``: a second copy of the weights, averaged over training; ``other``: numbers of a training state."""

MOMENTS = frozenset(
    {
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "exp_avg_sq_row",
        "exp_avg_sq_col",
        "exp_avg_diff",
        "exp_inf",
        "momentum_buffer",
        "square_avg",
        "grad_avg",
        "acc_delta",
    }
)
"""What the optimizers of PyTorch and their kin keep for each parameter."""

_BUFFERS = frozenset(
    {
        "running_mean",
        "running_var",
        "moving_mean",
        "moving_variance",
        "num_batches_tracked",
        "position_ids",
        "inv_freq",
        "masked_bias",
    }
)
_SCALES = frozenset(
    {
        "weight_scale",
        "weight_scale_inv",
        "weight_scale_2",
        "weight_zero_point",
        "input_scale",
        "input_zero_point",
        "zero_point",
        "zero_points",
        "scales",
        "qzeros",
        "g_idx",
        "scb",
        "absmax",
        "quant_map",
    }
)
"""Of quantised tensors. ``scale`` alone is none of them: a parameter of layers that normalise."""

_AVERAGES = frozenset({"ema", "ema_model", "model_ema", "ema_state_dict", "state_dict_ema", "shadow_params"})
_SCHEDULERS = frozenset({"scheduler", "schedulers", "lr_scheduler", "lr_schedulers"})
_SCALERS = frozenset({"scaler", "grad_scaler", "amp", "loss_scaler"})
_NUMBERS = frozenset({"epoch", "step", "global_step", "iteration", "iter", "loss", "best_loss", "best_acc"})
_MASTERS = frozenset(
    {
        "fp32_flat_groups",
        "fp32_from_fp16_params",
        "fp32_groups_flat",
        "fp32_params",
        "master_params",
        "single_partition_of_fp32_groups",
    }
)
_OPTIMIZER_WORDS = frozenset({"optim", "optims", "optimizer", "optimizers"})
_TEXTS = (".cfg", ".csv", ".json", ".log", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml")
_RNG_WORDS = frozenset({"rng", "rngs"})


def file_role(path: str) -> Role | None:
    """What a whole file is for, by its name; None where the name does not say."""
    name = path.rpartition("/")[2].lower().replace("-", "_")
    if name.endswith(_TEXTS):
        return None  # optimizer.py, scheduler.json
    words = frozenset(name.replace(".", "_").split("_"))
    if words & _RNG_WORDS or name.startswith("random_states"):
        return "rng"
    if words & _OPTIMIZER_WORDS:
        return "optimizer"
    stem = name.partition(".")[0]
    if stem in _SCHEDULERS:
        return "scheduler"
    return "scaler" if stem in _SCALERS else None


_PROGRESS = frozenset(
    {
        *("epoch", "global_step", "iteration", "num_updates", "step"),
        *("checkpoint", "progress", "state", "train_state", "trainer", "training_state"),
    }
)
_RNGS = frozenset({"rng", "rngs", "rng_state", "rng_states", "random_state", "random_states"})


def document_role(path: str) -> Role | None:
    """What a JSON file is for, by its whole name: documents have many names, and few are of a training.

    ``other`` are those that tell how far it was, among them what the Python API makes of a single number
    (``epoch.json``).
    """
    name = path.rpartition("/")[2].lower().replace("-", "_")
    stem = name.removesuffix(".json")
    if stem == name:
        return None
    if stem in _RNGS:
        return "rng"
    if stem in _OPTIMIZER_WORDS:
        return "optimizer"
    if stem in _SCHEDULERS:
        return "scheduler"
    if stem in _SCALERS:
        return "scaler"
    return "other" if stem in _PROGRESS else None


def tensor_role(span: Span, of_file: Role | None = None) -> Role:
    """What a tensor is for, by its name and that of its file."""
    if of_file is not None:
        return of_file
    parts = components(span.name)
    found = _outer_role(parts[:3])
    if found is not None:
        return found
    leaf = parts[-1]
    if leaf in MOMENTS or parts[0] in MOMENTS or (parts[0] == "step" and len(parts) > 1):
        return "optimizer"
    if len(parts) == 1 and leaf in _NUMBERS:
        return "other"
    if leaf in _SCALES:
        return "scale"
    if leaf in _BUFFERS or _is_mask(span, leaf):
        return "buffer"
    return "weight"


def is_master(parts: tuple[str, ...]) -> bool:
    """Whether a tensor of an optimizer is a parameter in full precision, which a weight is rounded from."""
    return not _MASTERS.isdisjoint(parts) or "master" in (parts[0], parts[-1])


def components(name: str) -> tuple[str, ...]:
    """A dotted name's parts in lower case. Keras separates them by slashes (and kept Windows' own), and ends
    them with an output's number: ``dense/kernel:0``."""
    name = name.lower().replace("/", ".").replace("\\", ".")
    return tuple(name.removesuffix(":0").split("."))


@lru_cache(maxsize=4096)
def _outer_role(parts: tuple[str, ...]) -> Role | None:
    """What the first parts of a name say of everything below them."""
    first = parts[0]
    if any(frozenset(part.split("_")) & _OPTIMIZER_WORDS for part in parts) or first == "opt_state":
        return "optimizer"
    if first in _MASTERS:
        return "optimizer"
    if len(parts) > 2 and first == "state" and parts[1].isdecimal():
        return "optimizer"  # an optimizer's state_dict by itself
    if any(frozenset(part.split("_")) & _RNG_WORDS for part in parts):
        return "rng"
    if first in _SCHEDULERS:
        return "scheduler"
    if first in _SCALERS:
        return "scaler"
    if first == "metrics":
        return "other"  # Keras' running means of them
    return "average" if _AVERAGES & frozenset(parts[:2]) else None


def _is_mask(span: Span, leaf: str) -> bool:
    """Masks of attention: booleans, and GPT-2's lower triangle that is called ``bias``."""
    return span.dtype == "BOOL" or (leaf == "bias" and len(span.shape) == 4 and span.shape[:2] == (1, 1))
