"""A trainer as a user would write one: AdamW, a checkpoint every K steps, ``mvc commit`` after each.

::

    python -m mvc.demo.training FOLDER --steps N --every K [--resume] [--record FILE]
                                       [--no-commit] [--stop-after SECONDS --least STEPS]

The run is deterministic on one machine as long as the linear algebra library uses one thread
(``OPENBLAS_NUM_THREADS=1``): a run that was interrupted and resumed ends with the same bits as one that was
not.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvc.demo.checkpoint import PARTIAL, Hyperparameters, State, load, save
from mvc.demo.model import Config, Tokens, batch, corpus, initial, loss_and_gradients

EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. ``stop_after`` counts seconds of this run; it ends no run before ``least`` steps."""

    folder: Path
    steps: int
    every: int
    resume: bool
    commit: bool
    record: Path | None
    stop_after: float
    least: int


def fresh(config: Config, hyperparameters: Hyperparameters) -> State:
    """The state before the first step."""
    master = initial(config, hyperparameters.seed)
    exp_avg = {name: np.zeros_like(values) for name, values in master.items()}
    exp_avg_sq = {name: np.zeros_like(values) for name, values in master.items()}
    return State(hyperparameters, master, exp_avg, exp_avg_sq)


def advance(config: Config, state: State, text: Tokens) -> None:
    """One step of AdamW (https://arxiv.org/abs/1711.05101) on the next batch; changes the state in place.

    Raises:
        ArithmeticError: the loss is no longer finite.
    """
    chosen = state.hyperparameters
    inputs, targets = batch(config, text, chosen.seed, state.step)
    loss, gradients = loss_and_gradients(config, state.master, inputs, targets)
    if not math.isfinite(loss):
        raise ArithmeticError(f"the loss is {loss} after step {state.step}")
    state.step += 1
    state.loss = loss
    rate = learning_rate(chosen, state.step)
    unbias1, unbias2 = 1 - chosen.beta1**state.step, 1 - chosen.beta2**state.step
    for name, weight in state.master.items():
        gradient, first, second = gradients[name], state.exp_avg[name], state.exp_avg_sq[name]
        first *= chosen.beta1
        first += (1 - chosen.beta1) * gradient
        second *= chosen.beta2
        second += (1 - chosen.beta2) * gradient * gradient
        decay = chosen.weight_decay if weight.ndim > 1 else 0.0
        weight *= 1 - rate * decay
        weight -= (rate / unbias1) * first / (np.sqrt(second / unbias2) + EPSILON)


def learning_rate(chosen: Hyperparameters, step: int) -> float:
    """Linear warm-up, then constant: it must not depend on how long the run will be."""
    return chosen.lr * min(1.0, step / chosen.warmup)


def train(options: Options, config: Config) -> State:
    """Train until ``options.steps``, writing (and committing) a checkpoint every ``options.every`` steps."""
    began = time.perf_counter()
    state = _begin(options, config)
    text = corpus()
    while state.step < options.steps:
        advance(config, state, text)
        if state.step % options.every and state.step != options.steps:
            continue
        files = save(options.folder, state)
        _record(
            options,
            event="written",
            step=state.step,
            files={name: asdict(file) for name, file in files.items()},
        )
        line = f"step {state.step:3}   loss {state.loss:.3f}"
        if options.commit:
            line += f"   committed in {_commit(options, state):.2f} s"
        # flushed, because whoever reads the pipe acts on it
        print(line, flush=True)
        if time.perf_counter() - began > options.stop_after and state.step >= options.least:
            break
    return state


def _begin(options: Options, config: Config) -> State:
    if options.resume:
        # files in the folder may be newer than the last version, and not all of one step
        _mvc(options.folder, "checkout", "-q", "--force", "HEAD")
        state = load(options.folder)
        print(f"resumed at step {state.step}", flush=True)
        return state
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / ".mvcignore").write_text(f"{PARTIAL}/\n")
    return fresh(config, Hyperparameters())


def _commit(options: Options, state: State) -> float:
    """Commit the checkpoint; returns the seconds that it took, start of the process included."""
    began = time.perf_counter()
    rate = learning_rate(state.hyperparameters, state.step)
    message, metric, param = f"step {state.step}", f"loss={state.loss:.4f}", f"lr={rate:g}"
    _mvc(options.folder, "commit", "-q", "-m", message, "--metric", metric, "--param", param)
    seconds = time.perf_counter() - began
    _record(options, event="committed", step=state.step, seconds=seconds)
    return seconds


def _mvc(folder: Path, *arguments: str) -> None:
    # what it says goes where our own words go
    subprocess.run([sys.executable, "-m", "mvc", *arguments], cwd=folder, check=True)


def _record(options: Options, **event: Any) -> None:
    if options.record is not None:
        with options.record.open("a") as file:
            file.write(json.dumps(event) + "\n")


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m mvc.demo.training", description="Train a small language model."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, required=True, help="train until this step")
    parser.add_argument("--every", type=int, required=True, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the last committed version")
    parser.add_argument("--no-commit", dest="commit", action="store_false", help="only write the files")
    parser.add_argument("--record", type=Path, help="append what was written to this file, as JSON lines")
    parser.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="SECONDS", help="end at a checkpoint"
    )
    parser.add_argument("--least", type=int, default=0, metavar="STEPS", help="but not before this step")
    return Options(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trainer; returns its exit code."""
    options = _parse(arguments)
    try:
        train(options, Config())
    except subprocess.CalledProcessError as error:
        # mvc has said what is wrong
        return error.returncode if error.returncode > 0 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
