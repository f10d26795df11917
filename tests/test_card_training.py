"""The card knows how far training was from whatever tells it: documents, schedulers, optimizers."""

from __future__ import annotations

import numpy as np
import pytest

import mvc
from mvc.cli.card import card_lines
from mvc.registry.card.documents import flatten
from mvc.registry.card.roles import document_role
from tests.make_files import safetensors_bytes
from tests.test_card import made, number, states, zeros  # noqa: F401  made is a fixture

WEIGHTS = {"model.safetensors": safetensors_bytes({"w": zeros("F32", 4, 4), "v": zeros("F32", 4)})}


def test_a_state_committed_by_the_python_api(tmp_path):
    weight = np.zeros((4, 4), "f4")
    state = {"step": np.float32(5), "exp_avg": weight, "exp_avg_sq": weight}
    repo = mvc.Repo.init(tmp_path)
    card = repo.commit(
        {
            "model": {"w": weight},
            "optimizer": {"state": {0: state}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
            "scheduler": {"last_epoch": 7, "base_lrs": [0.1]},
            "epoch": 2,
            "rng": {"torch": np.zeros(64, "u1"), "python": (3, tuple(range(30)), None)},
        },
        "one",
    ).card()
    (row,) = card.training
    assert (row.epoch, row.step, row.scheduled) == (2, 5, 7)
    assert (row.rng, row.scheduler) == (("python", "torch"), True)
    (optimizer,) = card.optimizers
    assert (optimizer.kind, optimizer.step) == ("Adam", 5)
    found = states(card)
    assert {found[name] for name in ("optimizer", "progress", "random state")} == {"present"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"epoch.json": 2}, (2, None, None)),
        ({"step.json": {"$numpy": ["I64", "2003000000000000"]}}, (None, 800, None)),
        ({"scheduler.json": {"last_epoch": 9}}, (None, None, 9)),
        ({"trainer.json": {"step": 3, "epochs": 100}}, (None, 3, None)),
        (
            {"optimizer.safetensors": safetensors_bytes({"state.0.step": number("F32", 12)})},
            (None, 12, None),
        ),
    ],
)
def test_progress_is_known_from_anywhere(made, files, told):  # noqa: F811
    card = made(WEIGHTS | files)
    (row,) = card.training
    assert (row.epoch, row.step, row.scheduled) == told
    assert states(card)["progress"] == "present"


@pytest.mark.parametrize(
    "files",
    [
        {"epoch.json": "later"},
        {"epoch.json": [1, 2]},
        {"step.json": {"$numpy": ["F32", "zz"]}},
        {"step.json": {"$numpy": ["I64", "00"]}},
        {"step.json": {"$numpy": [[], {}]}},
        {"trainer.json": {"epochs": 100, "steps": 5}},
        {"config.json": {"epoch": 3}},
        {"scheduler.json": {"last_epoch": None}},
    ],
)
def test_what_tells_no_progress(made, files):  # noqa: F811
    assert states(made(WEIGHTS | files))["progress"] == "missing"


def test_a_trainer_that_keeps_master_weights_and_a_counter(made):  # noqa: F811
    kept = {
        f"{kind}.{name}": zeros("F32", 4) for kind in ("master", "exp_avg", "exp_avg_sq") for name in "wv"
    }
    trainer = {
        "step": 40,
        "loss": 3.5,
        "rng": {"seed": 1, "counter": 40},
        "hyperparameters": {"lr": 1e-3, "weight_decay": 0.1},
    }
    card = made(WEIGHTS | {"optimizer.safetensors": safetensors_bytes(kept), "trainer.json": trainer})
    (optimizer,) = card.optimizers
    assert (optimizer.kind, optimizer.slots) == ("Adam", ("exp_avg", "exp_avg_sq", "fp32 master weights"))
    (row,) = card.training
    assert (row.step, row.rng, row.noted) == (40, ("seed",), {"loss": 3.5})
    found = states(card)
    assert {found[name] for name in ("progress", "random state", "hyperparameters", "metrics")} == {"present"}
    assert "step 40, seed of a random generator, loss 3.5" in "\n".join(card_lines(card, 200))


def test_steps_of_the_trainer_go_before_those_of_the_optimizer(made):  # noqa: F811
    optimizer = {"optimizer.safetensors": safetensors_bytes({"state.0.step": number("F32", 400)})}
    card = made(WEIGHTS | optimizer | {"trainer_state.json": {"global_step": 800, "epoch": 1}})
    assert [row.step for row in card.training] == [800]


def test_optimizers_beside_weights_of_their_own_are_told_apart(made):  # noqa: F811
    def checkpoint(step: int) -> bytes:
        return safetensors_bytes({"w": zeros("F32", 4), "optimizer.state.0.step": number("F32", step)})

    card = made({"a.safetensors": checkpoint(1), "b.safetensors": checkpoint(2)})
    assert [(row.step, row.sources) for row in card.training] == [
        (1, ("a.safetensors",)),
        (2, ("b.safetensors",)),
    ]


def test_an_optimizer_of_settings_alone(made):  # noqa: F811
    groups = [{"lr": 0.1, "momentum": 0, "nesterov": False, "params": [0, 1]}]
    card = made(WEIGHTS | {"optimizer.json": {"state": {}, "param_groups": groups}})
    (optimizer,) = card.optimizers
    assert (optimizer.kind, optimizer.tensors, optimizer.settings["lr"]) == ("SGD", 0, 0.1)
    assert states(card)["hyperparameters"] == "present"


def test_documents_and_their_numbers():
    roles = {
        "a/epoch.json": "other",
        "trainer.json": "other",
        "lr-scheduler.json": "scheduler",
        "rng.json": "rng",
        "optimizer.json": "optimizer",
        "scaler.json": "scaler",
        "optimizers_guide.json": None,
        "epoch.txt": None,
        "config.json": None,
    }
    assert {path: document_role(path) for path in roles} == roles
    assert flatten(2) == {"": 2}
    assert flatten({"a": {"$numpy": ["F32", "0000a040"]}, "b": {"$float": "nan"}}) == {"a": 5.0}
