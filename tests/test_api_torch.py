"""Tensors of torch through the Python API."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvc

pytestmark = pytest.mark.slow  # importing torch takes seconds
torch: Any = None


@pytest.fixture(autouse=True, scope="module")
def _import_torch() -> None:
    """Not at the top: whoever leaves these tests out must not pay for the import."""
    global torch
    torch = pytest.importorskip("torch", reason="torch is not installed")


DTYPES = [
    *(
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "bfloat16",
    ),
    *("float32", "float64", "complex64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


@pytest.fixture
def repo(tmp_path: Path):
    with mvc.Repo.init(tmp_path) as made:
        yield made


def random_tensor(shape: tuple[int, ...], name: str, seed: int = 0):
    kind = getattr(torch, name)
    count = int(np.prod(shape)) * torch.empty(0, dtype=kind).element_size()
    raw = np.random.default_rng(seed).integers(0, 2 if name == "bool" else 256, count, np.uint8)
    return torch.from_numpy(raw).view(kind).reshape(shape)


def bits(tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(given, back) -> None:
    assert (given.dtype, given.shape) == (back.dtype, back.shape)
    assert bits(given) == bits(back)


@pytest.mark.parametrize("name", DTYPES)
def test_every_element_type_comes_back_bit_for_bit(repo, name: str) -> None:
    whole = random_tensor((40, 30), name)
    given = {
        "whole": whole,
        "view": whole[3:20, 5:9],
        "turned": random_tensor((30, 20), name, 1).T,
        "zero": random_tensor((1,), name, 2)[0],
        "none": torch.empty((0, 3), dtype=getattr(torch, name)),
    }
    back = repo.commit({"m": given}, "all").state_dict("m", framework="torch")
    assert set(back) == set(given)
    for key, tensor in given.items():
        assert_same(tensor, back[key])


def test_a_training_state_goes_on_where_it_stopped(repo) -> None:
    def made():
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 4))
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.99))

    def step(model, optimizer) -> None:
        loss = model(torch.randn(8, 16)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model, optimizer = made()
    for _ in range(3):
        step(model, optimizer)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": {"cpu": torch.get_rng_state()},
        "epoch": 3,
    }
    revision = repo.commit(state, "epoch 3", metrics={"loss": torch.tensor(1.5)})
    assert revision.metrics["loss"] == 1.5
    step(model, optimizer)

    other, other_optimizer = made()
    back = repo.load_state_dict(framework="torch", device="cpu")
    other.load_state_dict(back["model"])
    other_optimizer.load_state_dict(back["optimizer"])
    torch.set_rng_state(back["rng"]["cpu"])
    assert back["epoch"] == 3
    assert back["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    step(other, other_optimizer)
    for name, tensor in model.state_dict().items():
        assert_same(tensor, other.state_dict()[name])


def test_the_state_of_a_generator_is_a_value_of_its_own(repo) -> None:
    model = torch.nn.Linear(3, 2)
    rng = torch.get_rng_state()
    params = {"dtype": torch.bfloat16, "device": torch.device("cpu"), "lr": torch.tensor(0.5)}
    version = repo.commit({"model": model.state_dict(), "rng": rng}, "one", params=params)
    assert dict(version.params) == {"dtype": "torch.bfloat16", "device": "cpu", "lr": 0.5}
    torch.set_rng_state(repo.load_state_dict("HEAD", framework="torch")["rng"])
    assert torch.equal(torch.get_rng_state(), rng)
    with pytest.raises(mvc.UsageError) as caught:
        repo.commit(model.state_dict(), "without a key")
    assert "commit({'model': state_dict}" in caught.value.hint


def test_parameters_tied_weights_and_conjugates(repo) -> None:
    shared = torch.nn.Parameter(torch.randn(300, 300))
    given = {
        "a": shared,
        "b": shared,
        "c": torch.randn(5, dtype=torch.complex64).conj(),
        "d": shared.data[::2],
    }
    back = repo.commit({"m": given}, "tied").state_dict("m", framework="torch")
    assert_same(shared, back["a"])
    assert_same(shared, back["b"])
    assert_same(given["c"].resolve_conj(), back["c"])
    assert_same(shared.data[::2], back["d"])
    assert not back["a"].requires_grad


def test_what_torch_gives_numpy_reads(repo) -> None:
    pytest.importorskip("ml_dtypes")
    given = torch.randn(40, 50).to(torch.bfloat16)
    revision = repo.commit({"m": {"x": given}}, "one")
    array = revision["m.safetensors"].tensors["x"]
    assert array.dtype.name == "bfloat16"
    assert array.tobytes() == bits(given)
    assert (
        repo.commit({"m": {"x": array}}, "same", allow_empty=True)["m.safetensors"].sha256
        == revision["m.safetensors"].sha256
    )


HOSTILE = {
    "meta": (lambda: torch.empty(3, device="meta"), "meta device"),
    "sparse": (lambda: torch.eye(3).to_sparse(), "sparse"),
    "sparse rows": (lambda: torch.eye(3).to_sparse_csr(), "sparse"),
    "quantised": (lambda: torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8), "quantised"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "no plain bytes"),
    "complex": (lambda: torch.ones(3, dtype=torch.complex128), "complex128"),
    "narrow": (lambda: torch.empty(3, dtype=torch.uint4), "uint4"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_tensors_without_plain_bytes_are_refused(repo, name: str) -> None:
    make, told = HOSTILE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some of these prototypes
        tensor = make()
    with pytest.raises(mvc.UserError) as caught:
        repo.commit({"m": {"w": tensor}}, name)
    assert told in caught.value.message and "'m.w'" in caught.value.message
    assert repo.head is None


def test_other_objects_of_torch_are_refused_by_name(repo) -> None:
    with pytest.raises(mvc.UserError, match=r"'m\.dtype' is a dtype"):
        repo.commit({"m": {"dtype": torch.float32}}, "dtype")
