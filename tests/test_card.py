"""The card says what a version is, from manifests and small documents alone, whatever files it holds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from mvc.errors import CorruptObject
from mvc.lineage import Code, Data, Environment
from mvc.objectid import BlobId
from mvc.ops.show import card as card_of
from mvc.ops.show import show
from mvc.registry.card import Card, build_card, contents
from mvc.registry.card.contents import number_of
from mvc.registry.card.documents import flatten
from mvc.registry.card.roles import file_role, tensor_role
from mvc.spans import Span
from tests.engine import make_repository, open_repository, snapshot
from tests.make_files import safetensors_bytes

CHECKPOINTS = Path(__file__).parent.parent.parent / "shared" / "data" / "checkpoints"


def zeros(dtype: str, *shape: int) -> tuple[str, tuple[int, ...], bytes]:
    width = {"F32": 4, "BF16": 2, "F16": 2, "I8": 1, "I64": 8, "U8": 1}[dtype]
    return dtype, shape, bytes(width * int(np.prod(shape, dtype=np.int64)))


def number(dtype: str, value: float) -> tuple[str, tuple[int, ...], bytes]:
    return dtype, (), np.array(value, {"F32": "<f4", "I64": "<i8"}[dtype]).tobytes()


MODEL = {
    "model.embed_tokens.weight": zeros("BF16", 64, 8),
    "model.layers.0.self_attn.q_proj.weight": zeros("BF16", 8, 8),
    "model.norm.weight": zeros("F32", 8),
}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "vocab_size": 64,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def made(tmp_path):
    """Commits files, given by path as bytes, text or what JSON holds, and gives the card."""
    repository = make_repository(tmp_path)

    def make(files: dict[str, object], **options) -> Card:
        for path, content in files.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if not isinstance(content, bytes | str):
                content = json.dumps(content)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        done = snapshot(repository, **options)
        with open_repository(tmp_path).reading() as view:
            return card_of(show(repository, view, done.id.hex()))

    return make


def states(card: Card) -> dict[str, str]:
    return {item.name: item.state for item in card.checklist}


def test_an_empty_version_lacks_everything(made):
    card = made({"notes.txt": "hello"})
    assert not card.weights and not card.complete and card.parameters == 0
    assert {name for name, state in states(card).items() if state == "missing"} == {
        *(
            "architecture",
            "parameters",
            "optimizer",
            "progress",
            "random state",
            "hyperparameters",
            "metrics",
        ),
        *("data", "code", "environment"),
    }
    assert all(item.hint for item in card.checklist if item.state == "missing")


def test_a_complete_language_model(made):
    optimizer = {f"state.{n}.{slot}": zeros("F32", 8) for n in range(3) for slot in ("exp_avg", "exp_avg_sq")}
    optimizer |= {f"state.{n}.step": number("F32", 800) for n in range(3)}
    card = made(
        {
            "model.safetensors": safetensors_bytes(MODEL),
            "config.json": CONFIG,
            "tokenizer.json": "{}",
            "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer"},
            "optimizer.safetensors": safetensors_bytes(optimizer),
            "optimizer.json": {
                "param_groups": [{"lr": 1e-4, "betas": {"$tuple": [0.9, 0.95]}, "params": [0, 1]}]
            },
            "rng_state.safetensors": safetensors_bytes(
                {"cpu": zeros("U8", 5056), "cuda.0": zeros("U8", 16), "numpy.1": zeros("U8", 16)}
            ),
            "trainer_state.json": {
                "epoch": 2.5,
                "global_step": 800,
                "log_history": [{"loss": 1.5}, {"eval": 1}],
            },
        },
        metrics={"loss": 1.9},
        params={"lr": 1e-4},
        data={"train": Data("uri", "x://y")},
        code=Code("ab" * 20),
        environment=Environment(python="3.12"),
    )
    assert card.complete, [item for item in card.checklist if item.state == "missing"]
    assert set(states(card).values()) == {"present"}
    (architecture,) = card.architectures
    assert (architecture.name, architecture.kind, architecture.source) == (
        "LlamaForCausalLM",
        "llama",
        "config.json",
    )
    assert architecture.settings["vocab_size"] == 64
    (weights,) = card.weights
    assert (weights.parameters, weights.tensors, weights.name) == (64 * 8 + 64 + 8, 3, "model.safetensors")
    assert weights.dtypes == {"BF16": 64 * 8 + 64, "F32": 8}
    assert weights.bytes == 2 * (64 * 8 + 64) + 4 * 8
    (optimizer,) = card.optimizers
    assert (optimizer.kind, optimizer.slots, optimizer.step) == (
        "Adam",
        ("exp_avg", "exp_avg_sq", "step"),
        800,
    )
    assert (optimizer.tensors, optimizer.groups) == (9, 1)
    assert optimizer.settings == {"lr": 1e-4, "betas": [0.9, 0.95]}
    (training,) = card.training
    assert (training.epoch, training.step, training.rng) == (2.5, 800, ("cuda", "numpy", "torch"))
    assert training.noted == {"loss": 1.5}
    assert card.tokenizer.kind == "LlamaTokenizer"
    assert card.tensor_changes.added == card.weights[0].tensors + 9 + 3


def test_only_weights_are_parameters_and_each_counts_once(made):
    card = made(
        {
            "checkpoint.safetensors": safetensors_bytes(
                {
                    "model.conv.weight": zeros("F32", 4, 4),
                    "model.bn.running_mean": zeros("F32", 4),
                    "model.bn.num_batches_tracked": number("I64", 7),
                    "ema.conv.weight": zeros("F32", 4, 4),
                    "optimizer.state.0.momentum_buffer": zeros("F32", 4, 4),
                    "rng.torch": zeros("U8", 64),
                    "epoch": number("I64", 12),
                    "lr_scheduler.base": zeros("F32", 2),
                },
                {"step": "3", "loss": "0.25", "format": "pt"},
            )
        }
    )
    (weights,) = card.weights
    assert (weights.parameters, weights.buffers, weights.averaged) == (16, 5, 16)
    assert card.optimizers[0].kind == "SGD with momentum"
    (training,) = card.training
    assert (training.epoch, training.step, training.scheduler) == (12, 3, True)
    assert (training.rng, training.noted) == (("torch",), {"loss": 0.25})
    assert states(card)["tokenizer"] == "not applicable"


def test_tied_tensors_count_once(made, monkeypatch):
    class Tied:
        """A format whose tensors are two names of one place, and a third."""

        name = "tied"

        def claims(self, name, head):
            return name.endswith(".tied")

        def scan(self, view, sibling):
            from mvc.spans import Layout

            place = (0, 400, "F32", (10, 10))
            spans = [Span(place[0], place[1], name, *place[2:]) for name in ("wte.weight", "lm_head.weight")]
            return {view.name: Layout(self.name, (*spans, Span(400, 40, "norm", "F32", (10,))))}

        def values(self, view, sibling):
            return {
                "arch": "tiny",
                "epoch": 3,
                "optimizer.param_groups.0.lr": 0.1,
                "optimizer.param_groups.0.momentum": 0,
                "optimizer.param_groups.0.nesterov": False,
                "optimizer.param_groups.1.lr": 0.2,
                "lr_scheduler.last_epoch": 9,
                "rng.python.1.#": 625,
                "hyper_parameters.width": 5,
            }

    from mvc import formats

    monkeypatch.setattr(formats, "FORMATS", (Tied(),))
    card = made({"a.tied": bytes(range(250)) + bytes(190)})
    (weights,) = card.weights
    assert (weights.parameters, weights.tensors, weights.shared, weights.bytes) == (110, 2, 1, 440)
    assert card.architectures[0].name == "tiny"
    assert (card.optimizers[0].kind, card.optimizers[0].groups) == ("SGD", 2)
    (training,) = card.training
    assert (training.epoch, training.scheduler, training.rng) == (3, True, ("python",))
    assert states(card)["tokenizer"] == "missing"  # wte is an embedding of words
    assert states(card)["hyperparameters"] == "present"


def test_shards_are_one_model_and_what_is_missing_is_named(made):
    first, second, third = (safetensors_bytes({name: value}) for name, value in list(MODEL.items())[:3])
    names = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = {"weight_map": dict(zip(MODEL, names, strict=True)) | {"gone.weight": names[0]}}
    card = made({names[0]: first, names[1]: second, "model.safetensors.index.json": index})
    (weights,) = card.weights
    assert (weights.name, len(weights.files)) == ("model-*-of-00003.safetensors", 2)
    (shards,) = card.shards
    assert (shards.missing_files, shards.missing_tensors, shards.complete) == ((names[2],), 1, False)
    assert states(card)["parameters"] == "missing"
    index["weight_map"].pop("gone.weight")
    card = made({names[2]: third, "model.safetensors.index.json": index})
    assert card.shards[0].complete
    assert card.weights[0].parameters == 64 * 8 + 64 + 8
    assert states(card)["parameters"] == "present"


def test_shards_without_an_index_are_counted_by_their_names(made):
    one = safetensors_bytes({"a": zeros("F32", 2)})
    card = made({"m-00001-of-00003.safetensors": one, "d/m-00001-of-00001.safetensors": one})
    rows = {item.name: item.missing_files for item in card.shards}
    assert rows == {
        "m-*-of-00003.safetensors": ("m-00002-of-00003.safetensors", "m-00003-of-00003.safetensors"),
        "d/m-*-of-00001.safetensors": (),
    }


def test_adapters(made):
    tensors = {
        "base_model.q_proj.lora_A.weight": zeros("F32", 4, 8),
        "base_model.q_proj.lora_B.weight": zeros("F32", 8, 4),
    }
    config = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["v", "q"],
        "base_model_name_or_path": "org/b",
    }
    card = made(
        {
            "a/adapter_model.safetensors": safetensors_bytes(tensors),
            "a/adapter_config.json": config,
            "b/adapter.safetensors": safetensors_bytes(tensors),
        }
    )
    known, guessed = card.adapters
    assert (known.kind, known.rank, known.alpha, known.targets, known.base) == (
        "LORA",
        4,
        8,
        ("q", "v"),
        "org/b",
    )
    assert (guessed.rank, guessed.base, guessed.source) == (4, None, "b/adapter.safetensors")
    assert states(card)["architecture"] == "present"


def test_several_checkpoints_are_told_apart(made):
    card = made(
        {
            f"step-{step}.safetensors": safetensors_bytes({"w": zeros("F32", 4)}, {"step": str(step)})
            for step in (700, 800)
        }
    )
    assert [(row.step, row.sources) for row in card.training] == [
        (700, ("step-700.safetensors",)),
        (800, ("step-800.safetensors",)),
    ]
    assert len(card.weights) == 2


def test_what_changed_is_told_from_manifests(made):
    files = {"m.safetensors": safetensors_bytes(MODEL)}
    made(files)
    changed = {**MODEL, "model.norm.weight": ("F32", (8,), b"\1" * 32), "new": zeros("F32", 3)}
    del changed["model.embed_tokens.weight"]
    card = made({"m.safetensors": safetensors_bytes(changed)})
    found = card.tensor_changes
    assert (found.files, found.added, found.removed, found.changed, found.unchanged) == (1, 1, 1, 1, 1)


HOSTILE_JSON = [
    "[" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    "9" * 50_000,
    '{"architectures": {"a": 1}, "model_type": 5, "hidden_size": [], "vocab_size": NaN}',
    '{"architectures": [null], "weight_map": {"a": 5, "b": null, "c": "../../x", "d": "/etc/passwd"}}',
    '{"r": "x", "lora_alpha": {}, "target_modules": [1, {}], "base_model_name_or_path": []}',
    '{"epoch": "nan", "global_step": 1e999, "log_history": [1, null, {"loss": {}}], "best_metric": []}',
    '"text"',
    "\udcff",
    "",
    "{" + ",".join(f'"{n}": 1' for n in range(600_000)) + "}",
]


@pytest.mark.parametrize("text", HOSTILE_JSON, ids=range(len(HOSTILE_JSON)))
def test_no_document_can_hurt(made, text):
    names = ("config.json", "adapter_config.json", "trainer_state.json", "m.safetensors.index.json", "m.json")
    raw = text.encode(errors="surrogateescape")
    began = time.process_time()
    card = made(
        {**dict.fromkeys((*names, "tokenizer_config.json"), raw), "m.safetensors": safetensors_bytes(MODEL)}
    )
    assert card.weights[0].parameters == 64 * 8 + 64 + 8
    assert time.process_time() - began < 20


def test_tensors_are_not_read(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(
        safetensors_bytes({"a.weight": ("F32", (1000, 1000), np.random.default_rng(1).bytes(4_000_000))})
    )
    done = snapshot(repository)
    with open_repository(tmp_path).reading() as view:
        parts = show(repository, view, "HEAD").changes[0].new
        read = []

        class Watched:
            find_prefix = view.objects.find_prefix

            def get(self, identity):
                data = view.objects.get(identity)
                if isinstance(identity, BlobId):
                    read.append(len(data))
                return data

        assert parts is not None
        card = build_card(Watched(), done.id)
    assert card.parameters == 1_000_000
    assert sum(read) < 10_000


def test_what_is_read_is_bounded(made, monkeypatch):
    monkeypatch.setattr(contents, "MAX_READ_BYTES", 3000)
    monkeypatch.setattr(contents, "MAX_OTHERS", 2)
    files = {
        f"{n}.safetensors": safetensors_bytes({"w": zeros("F32", 4)}, {"step": "1", "x": "y" * 900})
        for n in range(9)
    }
    card = made(files | {f"{n}.txt": str(n) for n in range(5)})
    assert sum(row.step == 1 for row in card.training) == 1  # one row of those that were looked into
    assert 1 <= len(card.training[0].sources) < 9
    assert len(card.weights) == 9
    assert card.notes == (
        "looked at 11 of 14 files",
        "too many or too large files: not all of them were looked into",
    )


def test_damage_is_not_taken_for_a_missing_part(tmp_path):
    repository = make_repository(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG) + " " * 9000)  # too long to stand inline
    done = snapshot(repository)
    with open_repository(tmp_path).reading() as view:

        class Torn:
            find_prefix = view.objects.find_prefix

            def get(self, identity):
                if isinstance(identity, BlobId):
                    raise CorruptObject("torn")
                return view.objects.get(identity)

        with pytest.raises(CorruptObject):
            build_card(Torn(), done.id)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.0.weight", "weight"),
        ("optimizer.state.0.exp_avg", "optimizer"),
        ("optimizer_states.0.state.5.step", "optimizer"),
        ("state.12.exp_avg_sq", "optimizer"),
        ("exp_avg.model.norm.weight", "optimizer"),
        ("step.model.norm.weight", "optimizer"),
        ("optimizer_weights/adam/dense/kernel_m:0", "optimizer"),
        ("metrics\\mean/vars/0", "other"),
        ("bn/moving_mean:0", "buffer"),
        ("optimizer_g.state.0.exp_avg", "optimizer"),
        ("rng.torch", "rng"),
        ("torch_rng_state", "rng"),
        ("cuda_rng_states.0", "rng"),
        ("lr_schedulers.0.base", "scheduler"),
        ("model_ema.layer.weight", "average"),
        ("bn.running_var", "buffer"),
        ("a.weight_scale", "scale"),
        ("a.qzeros", "scale"),
        ("norm.scale", "weight"),
        ("logit_scale", "weight"),
        ("epoch", "other"),
        ("state.encoder.weight", "weight"),
        ("ring.weight", "weight"),
        ("scaler_head.weight", "weight"),
        ("", "weight"),
        ("...", "weight"),
    ],
)
def test_roles_of_tensors(name, role):
    assert tensor_role(Span(0, 4, name, "F32", (1,))) == role


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("checkpoint-500/optimizer.pt", "optimizer"),
        ("step-0800.optim.safetensors", "optimizer"),
        ("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "optimizer"),
        ("rng_state_0.pth", "rng"),
        ("random_states_0.pkl", "rng"),
        ("scheduler.pt", "scheduler"),
        ("scaler.pt", "scaler"),
        ("optimized.onnx", None),
        ("optimizer.py", None),
        ("model.safetensors", None),
    ],
)
def test_roles_of_files(path, role):
    assert file_role(path) == role


def test_numbers_and_documents():
    assert [number_of(value) for value in ("800", "-3", "1.5", "x", "nan", True, None, 7, "9" * 40)] == [
        *(800, -3, 1.5, None, None, None, None, 7, None)
    ]
    document = {
        "a": [{"b": 1}, {"$tuple": [1, "x"]}],
        "c": {"$dict": [[3, {"d": None}]]},
        "e": list(range(20)),
    }
    document |= {"f": {"$tensor": "f"}, "g": {"$bytes": "x"}}
    assert flatten(document) == {"a.0.b": 1, "a.1.0": 1, "a.1.1": "x", "c.3.d": None, "e.#": 20}


# --- real files --------------------------------------------------------------------------------------------
def real(made, *paths: str) -> Card:
    if not CHECKPOINTS.is_dir():
        pytest.skip("the trained checkpoints are not here")
    return made({path: (CHECKPOINTS / path).read_bytes() for path in paths})


def test_a_training_checkpoint_of_torch(made):
    card = real(made, "torch-training/step-0800.pt")
    (weights,), (optimizer,), (training,) = card.weights, card.optimizers, card.training
    assert (weights.parameters, weights.dtypes) == (2 * 384 * 384, {"F32": 2 * 384 * 384})
    assert (optimizer.kind, optimizer.step, optimizer.tensors) == ("Adam", 800, 6)
    assert optimizer.settings == {"lr": 1e-4, "betas": [0.9, 0.95]}
    assert (training.epoch, training.step, training.rng) == (1, 800, ("python", "torch"))
    assert training.noted == {"loss": 4.1}


def test_moments_beside_master_weights(made):
    card = real(made, "pretrain-fp32/step-0800.safetensors", "pretrain-fp32/step-0800.optim.safetensors")
    assert len(card.weights) == 1 and card.weights[0].parameters == 1_967_232
    assert (card.optimizers[0].kind, card.optimizers[0].step, card.optimizers[0].tensors) == ("Adam", 800, 12)
    assert card.training[0].step == 800


def test_an_adapter_and_shards(made):
    card = real(made, "lora/step-0120/adapter_config.json", "lora/step-0120/adapter_model.safetensors")
    assert (card.adapters[0].rank, card.adapters[0].alpha) == (16, 32)
    shards = [f"sharded-bf16/model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    card = real(made, *shards, "sharded-bf16/model.safetensors.index.json")
    assert card.shards[0].complete
    assert max(item.parameters for item in card.weights) == 1_967_232


def test_an_optimizer_of_keras(made, monkeypatch):
    described = {
        "config.class_name": "Sequential",
        "config.config.name": "net",
        "config.compile_config.optimizer.class_name": "Adam",
        "config.compile_config.optimizer.config.learning_rate": 0.001,
        "config.compile_config.optimizer.config.clipnorm": None,
    }
    monkeypatch.setattr(contents, "read_values", lambda *_: described)
    tensors = {"dense/vars/0": zeros("F32", 4, 2), "optimizer/vars/0": number("I64", 90)}
    tensors |= {f"optimizer/vars/{n}": zeros("F32", 4, 2) for n in (1, 2)}
    card = made({"m.safetensors": safetensors_bytes(tensors)})
    (optimizer,) = card.optimizers
    assert (optimizer.kind, optimizer.step, optimizer.tensors) == ("Adam", 90, 3)
    assert optimizer.settings == {"learning_rate": 0.001}
    assert (card.architectures[0].name, card.architectures[0].kind) == ("net", "keras Sequential")
    assert card.weights[0].parameters == 8


def test_files_of_many_tensors_have_one_budget(made, monkeypatch) -> None:
    monkeypatch.setattr(contents, "MAX_TENSORS", 5)
    names = [[f"t{place}.{number}" for place in range(3)] for number in range(4)]
    files = {
        f"m{number}.safetensors": safetensors_bytes({name: zeros("F32", 2) for name in found})
        for number, found in enumerate(names)
    }
    assert any("looked at 2 of 4 files" in note for note in made(files).notes)
