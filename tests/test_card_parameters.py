"""The card counts the parameters of a model once, however many copies of it there are."""

from __future__ import annotations

import numpy as np

from mvc.cli.card import card_lines
from mvc.registry.card.copies import same_form
from tests.make_files import safetensors_bytes
from tests.make_pickles import tensor, torch_zip
from tests.test_card import MODEL, made, zeros  # noqa: F401  made is a fixture

SIZE = 64 * 8 + 64 + 8


def test_copies_of_a_model_count_once(made):  # noqa: F811
    shapes = {"head.weight": (3, 2), "head.bias": (6,)}
    state = {"head.weight": tensor("0", (3, 2), (2, 1)), "head.bias": tensor("1", (6,), (1,))}
    storages = {"0": bytes(24), "1": bytes(24)}
    small = {name: zeros("BF16", *shape) for name, shape in shapes.items()}
    first, *others = small
    card = made(
        {
            "whole.safetensors": safetensors_bytes(small),
            "m-00001-of-00002.safetensors": safetensors_bytes({first: small[first]}),
            "m-00002-of-00002.safetensors": safetensors_bytes({name: small[name] for name in others}),
            "checkpoint.pt": torch_zip({"state_dict": state, "epoch": 3}, storages),
            "other/llm.safetensors": safetensors_bytes(MODEL),
        }
    )
    assert len(card.weights) == 4
    assert card.parameters == 12 + SIZE


def test_quantised_weights_are_a_copy_and_have_scales(made):  # noqa: F811
    quantised = {name: zeros("I8", *shape) for name, (_, shape, _) in MODEL.items()}
    quantised["model.layers.0.self_attn.q_proj.weight_scale"] = zeros("F16", 8, 1)
    quantised["model.norm.weight"] = MODEL["model.norm.weight"]
    card = made({"a.safetensors": safetensors_bytes(MODEL), "b.safetensors": safetensors_bytes(quantised)})
    assert card.parameters == SIZE
    assert (card.weights[1].scales, card.weights[1].buffers) == (8, 0)
    text = "\n".join(card_lines(card, 200))
    assert "584: I8 576, F32 8, and 8 scales, in 3 tensors, 608 B, b.safetensors" in text
    assert "584: BF16 576, F32 8 in 3 tensors" in text


def test_arrays_without_names_are_no_copies(made):  # noqa: F811
    import io

    def array(value: int) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, np.full((2, 3), value, "<f4"))
        return buffer.getvalue()

    assert made({"a.npy": array(1), "b.npy": array(2)}).parameters == 12


def test_forms():
    model = {"model.a.weight": (2, 3), "model.b": (4,)}
    bare = {name.removeprefix("model."): shape for name, shape in model.items()}
    wrapped = {f"state_dict.{name}": shape for name, shape in model.items()}
    tied = {**wrapped, "state_dict.lm_head.weight": (2, 3)}
    for other in (model, bare, wrapped, tied):
        assert same_form(model, other) and same_form(other, model)
    turned = {**model, "model.b": (2, 2)}
    renamed = {"model.a.weight": (2, 3), "b": (4,)}
    for other in (turned, renamed, {}):
        assert not same_form(model, other) and not same_form(other, model)
