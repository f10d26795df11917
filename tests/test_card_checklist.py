"""What the card says is missing, and what it rather keeps quiet about."""

from __future__ import annotations

import io

import numpy as np
import pytest

from mvc.cli.card import card_lines
from mvc.lineage import Environment
from tests.make_files import safetensors_bytes
from tests.test_card import MODEL, made, number, states, zeros  # noqa: F401  made is a fixture


def item_of(card, name):
    return next(item for item in card.checklist if item.name == name)


def lines_of(card, width=300):
    return "\n".join(card_lines(card, width))


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 3), "<f4"))
    return buffer.getvalue()


def test_what_is_exported_for_inference_lacks_no_training(made):  # noqa: F811
    card = made({"w.npy": npy()})
    found = states(card)
    assert {found[name] for name in ("optimizer", "progress", "random state")} == {"not applicable"}
    # but what is there is there
    assert states(made({"epoch.json": 3}))["progress"] == "present"
    # and other weights beside it are to be trained on
    found = states(made({"m.safetensors": safetensors_bytes(MODEL)}))
    assert found["optimizer"] == "missing"


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("model.layers.3.self_attn.q_proj.weight", "missing"),
        ("transformer.h.0.attn.c_attn.weight", "missing"),
        ("lm_head.weight", "missing"),
        ("model.embed_tokens.weight", "missing"),
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", "not applicable"),
        ("conv1.weight", "not applicable"),
    ],
)
def test_models_of_language_need_a_tokenizer(made, name, state):  # noqa: F811
    item = item_of(made({"m.safetensors": safetensors_bytes({name: zeros("F32", 4, 4)})}), "tokenizer")
    assert item.state == state
    assert item.hint if state == "missing" else item.note == "not needed, as far as can be told"


def test_files_that_are_not_understood_are_all_named(made):  # noqa: F811
    card = made({f"{n}.pt": b"none of ours" for n in range(7)})
    item = item_of(card, "parameters")
    assert item.state == "missing"
    assert item.note.startswith("not understood: 0.pt (torch: ") and item.note.endswith(", 2 more")
    assert "save the weights" not in item.hint
    card = made({"m.safetensors": safetensors_bytes(MODEL)})
    item = item_of(card, "parameters")
    assert (item.state, item.note.partition("; ")[0]) == ("present", "m.safetensors")
    assert "Hint" in lines_of(card) and "3.pt" in lines_of(card)


def test_an_optimizer_of_some_of_the_weights_says_so(made):  # noqa: F811
    names = list(MODEL)
    kept = {f"exp_avg.{name}": zeros("F32", 8) for name in names[:2]}
    files = {"m.safetensors": safetensors_bytes(MODEL), "optimizer.safetensors": safetensors_bytes(kept)}
    card = made(files)
    assert card.optimizers[0].covered == (2, 3)
    assert "exp_avg in 2 tensors, 64 B for 2 of 3 tensors" in lines_of(card)
    kept = {f"state.{name}.exp_avg": zeros("F32", 8) for name in names}
    card = made({"optimizer.safetensors": safetensors_bytes(kept)})
    assert card.optimizers[0].covered == (3, 3) and "3 of 3" not in lines_of(card)
    card = made({"optimizer.safetensors": safetensors_bytes({"state.0.exp_avg": zeros("F32", 8)})})
    assert card.optimizers[0].covered is None


@pytest.mark.parametrize(
    ("environment", "line", "hinted"),
    [
        (Environment("virtualenv", "3.11.7"), "Python 3.11.7 (virtualenv)", False),
        (Environment("interpreter", "3.12.1", packages={"torch": "2"}), "Python 3.12.1, torch 2", False),
        (Environment("interpreter", "3.12.1", packages={"numpy": "2"}), "Python 3.12.1, numpy 2", True),
    ],
)
def test_environments(made, environment, line, hinted):  # noqa: F811
    card = made({"w.npy": npy()}, environment=environment)
    assert line in lines_of(card)
    item = item_of(card, "environment")
    assert item.state == "present"
    assert ("activate the training environment" in item.hint) is hinted
    assert ("Hint" in lines_of(card)) is hinted


def test_only_what_changed_is_said(made):  # noqa: F811
    made({"m.safetensors": safetensors_bytes(MODEL)})
    card = made({"m.safetensors": safetensors_bytes(MODEL, {"note": "other metadata"})})
    assert card.tensor_changes.unchanged == len(MODEL)
    assert "Changed" not in lines_of(card)
    card = made({"m.safetensors": safetensors_bytes({**MODEL, "n": number("F32", 1)})})
    assert "tensors: 1 added, 3 unchanged" in lines_of(card)


def test_adapters_alone_need_no_tokenizer(made):  # noqa: F811
    lora = {"model.layers.0.self_attn.q_proj.lora_A.weight": zeros("F32", 4, 8)}
    config = {"peft_type": "LORA", "r": 4, "base_model_name_or_path": "org/b"}
    card = made({"a/adapter_model.safetensors": safetensors_bytes(lora), "a/adapter_config.json": config})
    assert item_of(card, "tokenizer").note == "comes with the base model"
    card = made({"m.safetensors": safetensors_bytes(MODEL), "config.json": {"model_type": "llama"}})
    assert item_of(card, "tokenizer").state == "missing"
