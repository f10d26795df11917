"""What ``diff --explain`` says of made weights, for each way in which weights come from others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mvc.cli.main import main
from mvc.explaining.wording import _spread
from mvc.predictors import PREDICTORS
from mvc.predictors.floats import store, width_of
from tests.make_files import safetensors_bytes

ROWS, COLUMNS, LAYERS = 96, 64, 3
MODULES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")
Weights = dict[str, np.ndarray]


def test_far_moves_are_told_as_times() -> None:
    assert _spread([0.014, 60.9], 39.7) == " by 39.7 times their norm (1.4 % to 60.9 times)"
    assert _spread([1708.0], 1708.0) == " by 1,708 times their norm"
    assert _spread([0.014], 0.014) == " by 1.4 % of their norm"


def bits(values: np.ndarray, dtype: str) -> bytes:
    out = np.empty(values.size, f"<u{width_of(dtype)}")
    store(np.array(values, np.float32).reshape(-1), dtype, out)
    return out.tobytes()


def as_numbers(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, "<f4").reshape(shape)


def rounded(values: np.ndarray) -> np.ndarray:
    return as_numbers(bits(values, "BF16"), "BF16", values.shape)


def model(seed: int = 0) -> Weights:
    """Weights that bf16 holds exactly."""
    rng = np.random.default_rng(seed)
    found = {"model.embed_tokens.weight": 0.05 * rng.standard_normal((128, COLUMNS))}
    for layer in range(LAYERS):
        for module in MODULES:
            found[f"model.layers.{layer}.{module}.weight"] = 0.03 * rng.standard_normal((ROWS, COLUMNS))
        found[f"model.layers.{layer}.norm.weight"] = 1 + 0.01 * rng.standard_normal(COLUMNS)
    return {name: rounded(values.astype("<f4")) for name, values in found.items()}


def moved(weights: Weights, by: float, seed: int, only: str = "") -> Weights:
    rng = np.random.default_rng(seed)
    found = dict(weights)
    for name, values in weights.items():
        if only in name:
            step = rng.standard_normal(values.shape) * by * np.sqrt(np.mean(values**2))
            found[name] = rounded((values + step).astype("<f4"))
    return found


def write(weights: Weights, path: str = "model.safetensors", dtype: str = "BF16", **metadata: str) -> None:
    rows = {name: (dtype, values.shape, bits(values, dtype)) for name, values in weights.items()}
    Path(path).write_bytes(safetensors_bytes(rows, metadata or None))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / "repo"
    place.mkdir()
    monkeypatch.chdir(place)
    assert main(["init", "-q"]) == 0
    return place


def commit(name: str) -> None:
    assert main(["commit", "-q", "-m", name]) == 0
    assert main(["tag", "-q", name]) == 0


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    """The findings between two versions, or from one to the work tree."""

    def ask(*words: str) -> list[dict[str, Any]]:
        capfd.readouterr()
        code = main(["diff", "--explain", "--json", *words])
        out, err = capfd.readouterr()
        assert (code, err) == (0, ""), err
        found: list[dict[str, Any]] = json.loads(out)
        return found

    return ask


def only(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    assert [one["kind"] for one in found] == [kind], [one["text"] for one in found]
    return found[0]


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    matching = [one for one in found if one["kind"] == kind]
    assert len(matching) == 1, [one["text"] for one in found]
    return matching[0]


# --- nothing, first, other ---------------------------------------------------------------------------------
def test_identical_versions_and_the_first_one(said) -> None:
    assert said() and only(said(), "first")
    write(model())
    found = only(said(), "first")
    assert "1 file, 13 tensors in model.safetensors" in found["text"]
    commit("base")
    assert only(said("base"), "nothing")["certified"]
    assert only(said("base", "base"), "nothing")["text"] == "nothing differs"


def test_weights_that_have_nothing_in_common(said) -> None:
    write(model(1))
    commit("base")
    write(model(2))
    found = [one for one in said() if one["kind"] == "moved"]
    assert "nothing in common" in found[0]["text"] and not found[0]["certified"]


def test_only_metadata_changed(said) -> None:
    write(model(), step="1")
    commit("base")
    write(model(), step="2")
    found = only(said(), "metadata")
    assert found["certified"] and "bit for bit" in found["text"]


def test_other_files_and_models_that_came_and_went(said) -> None:
    write(model())
    Path("config.json").write_text("{}")
    commit("base")
    Path("model.safetensors").unlink()
    Path("config.json").write_text('{"a": 1}')
    write({"thing": np.ones((40, 40), "<f4")}, "new.safetensors", "F32")
    found = said()
    assert of_kind(found, "new")["path"] == "new.safetensors"
    assert "model.safetensors" in of_kind(found, "removed")["text"]
    assert "config.json" in of_kind(found, "files")["text"]


# --- training ----------------------------------------------------------------------------------------------
def test_a_full_fine_tune_says_how_far(said) -> None:
    write(model())
    commit("base")
    write(moved(model(), 0.02, 1))
    found = only(said(), "moved")
    assert found["text"].startswith("full fine-tune: all 13 tensors moved by ")
    assert found["figures"]["relative"] == pytest.approx(0.02, rel=0.1) and not found["certified"]


def test_frozen_layers_are_named(said) -> None:
    write(model())
    commit("base")
    write(moved(model(), 0.02, 1, "layers.2"))
    found = only(said(), "moved")
    assert found["text"].startswith("fine-tuned in part") and "(layer 2)" in found["text"]
    frozen = found["text"].partition("frozen: ")[2]
    assert "(layers 0–1)" in frozen and "embed_tokens" in frozen


def test_state_of_an_optimizer_is_no_weight(said) -> None:
    rng = np.random.default_rng(1)
    state = {
        f"optimizer.state.{n}.exp_avg": rng.standard_normal((ROWS, COLUMNS)).astype("<f4") for n in range(2)
    }
    write(model() | state, "train.safetensors", "F32")
    commit("base")
    state = {name: rng.standard_normal((ROWS, COLUMNS)).astype("<f4") for name in state}
    write(moved(model(), 0.01, 1) | state, "train.safetensors", "F32")
    texts = [one["text"] for one in said()]
    assert any(text.startswith("full fine-tune: all 13 tensors") for text in texts)
    assert "the optimizer's state went on: 2 tensors" in texts


# --- LoRA --------------------------------------------------------------------------------------------------
def adapter(rank: int, seed: int = 3) -> Weights:
    rng = np.random.default_rng(seed)
    found = {}
    for layer in range(LAYERS):
        for module in MODULES[:2]:
            head = f"base_model.model.model.layers.{layer}.{module}"
            found[f"{head}.lora_A.weight"] = rng.standard_normal((rank, COLUMNS)).astype("<f4") * np.float32(
                0.05
            )
            found[f"{head}.lora_B.weight"] = rng.standard_normal((ROWS, rank)).astype("<f4") * np.float32(
                0.05
            )
    return found


def with_adapter(weights: Weights, given: Weights, scale: float) -> Weights:
    found = dict(weights)
    for name, down in given.items():
        if ".lora_A." in name:
            up = given[name.replace("lora_A", "lora_B")]
            target = name.removeprefix("base_model.model.").replace(".lora_A", "")
            total = np.zeros((ROWS, COLUMNS), "<f4")  # as the predictor sums: one product after the other
            for k in range(len(down)):
                total = up[:, k : k + 1] * down[k] if not k else total + up[:, k : k + 1] * down[k]
            found[target] = rounded(weights[target] + total * np.float32(scale))
    return found


def test_a_merged_adapter_is_certified_where_it_is_there(said) -> None:
    write(model())
    commit("base")
    write(adapter(4), "adapter_model.safetensors", "F32")
    found = said()
    added = only(found, "adapter")
    assert "rank 4" in added["text"] and "q_proj, v_proj of 3 layers" in added["text"]
    write(with_adapter(model(), adapter(4), 2.0))
    merged = of_kind(said(), "LoRA")
    assert merged["certified"] and merged["text"].startswith(
        "LoRA of rank 4 merged in, from work tree:adapter_model"
    )
    assert merged["figures"]["scale"] == 2 and "q_proj, self_attn.v_proj" in merged["text"]


@pytest.mark.parametrize("rank", [2, 8])
def test_a_merged_adapter_is_seen_without_it(said, rank) -> None:
    write(model())
    commit("base")
    write(with_adapter(model(), adapter(rank), 2.0))
    found = only(said(), "moved")
    assert found["text"].startswith(f"looks like a LoRA of rank {rank} merged in")
    assert found["figures"]["ranks"] == [rank] and not found["certified"]


def test_training_an_adapter_on(said) -> None:
    write(adapter(4), "adapter_model.safetensors", "F32")
    commit("base")
    write(adapter(4, 4), "adapter_model.safetensors", "F32")
    assert said()
    write(
        {name: values * np.float32(1.01) for name, values in adapter(4).items()},
        "adapter_model.safetensors",
        "F32",
    )
    assert only(said(), "moved")["text"].startswith("the adapter was trained on")


# --- casts, pruning, quantising ----------------------------------------------------------------------------
def test_casts_either_way(said) -> None:
    rng = np.random.default_rng(4)
    exact = {
        name: (values * (1 + 1e-3 * rng.standard_normal(values.shape))).astype("<f4")
        for name, values in model().items()
    }
    write(exact, dtype="F32")
    commit("exact")
    write(exact, dtype="BF16")
    commit("half")
    write(exact, dtype="F16")
    commit("other")
    assert only(said("exact", "half"), "cast")["text"] == "cast from F32 to BF16: all 13 tensors"
    assert only(said("exact", "half"), "cast")["certified"]
    assert only(said("half", "exact"), "master")["certified"]
    cast = only(said("half", "other"), "cast")
    assert cast["certified"] and "from exact:model.safetensors" in cast["text"]
    write({name: rounded(values) for name, values in exact.items()}, dtype="F32")
    assert only(said("half"), "widened")["certified"]


def test_two_roundings_of_what_is_not_here(said) -> None:
    rng = np.random.default_rng(4)
    exact = {
        name: (values * (1 + 1e-3 * rng.standard_normal(values.shape))).astype("<f4")
        for name, values in model().items()
    }
    write(exact, dtype="BF16")
    commit("half")
    write(exact, dtype="F16")
    found = only(said(), "precision")
    assert "no more than rounding" in found["text"] and not found["certified"]
    write({name: values * np.float32(1.02) for name, values in exact.items()}, dtype="F16")
    assert of_kind(said(), "moved")["figures"]["relative"] == pytest.approx(0.02, rel=0.1)


def pruned(values: np.ndarray, share: float) -> np.ndarray:
    return np.where(np.abs(values) < np.quantile(np.abs(values), share), np.float32(0), values)


def test_pruning_by_magnitude_and_in_a_pattern(said) -> None:
    write(model())
    commit("base")
    write({name: pruned(values, 0.6) if values.ndim > 1 else values for name, values in model().items()})
    found = only(said(), "prune")
    assert found["certified"] and found["figures"]["pattern"] == "magnitude"
    assert found["figures"]["zeros"] == pytest.approx(0.6, abs=0.01)
    params = {"width": 2, "keep": 2, "of": 4, "ties": "first", "keep_sign": False}
    half = {
        name: as_numbers(
            bytes(PREDICTORS["n_of_m", 1].predict([bits(v, "BF16")], params, v.size * 2)), "BF16", v.shape
        )
        for name, v in model().items()
    }
    write(half)
    found = only(said(), "prune")
    assert found["certified"] and "2:4 sparse" in found["text"] and "50 % of the elements" in found["text"]


def test_int8_with_scales_and_back(said) -> None:
    write(model())
    commit("base")
    rows: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    floats: Weights = {}
    for name, values in model().items():
        if values.ndim < 2:
            rows[name] = ("BF16", values.shape, bits(values, "BF16"))
            floats[name] = values
            continue
        scales = (np.abs(values).max(axis=1, keepdims=True) / np.float32(127)).astype("<f4")
        codes = np.clip(np.rint(values / scales), -128, 127).astype(np.int8)
        rows[name] = ("I8", values.shape, codes.tobytes())
        rows[f"{name}_scale"] = ("F32", scales.shape, scales.tobytes())
        floats[name] = codes * scales
    Path("model.safetensors").write_bytes(safetensors_bytes(rows))
    found = said()
    quantised = of_kind(found, "quantise")
    assert quantised["certified"] and "from BF16 to I8 with a scale for each row" in quantised["text"]
    assert of_kind(found, "scale")["certified"] and len(found) == 2
    commit("int8")
    write(floats, dtype="F32")
    assert of_kind(said(), "dequantise")["text"].count("dequantised from I8 to F32")


def test_q8_0(said) -> None:
    write(model())
    commit("base")
    rows = {}
    for name, values in model().items():
        size = values.size // 32 * 34
        made = PREDICTORS["q8_0", 1].predict([bits(values, "BF16")], {"from": "BF16"}, size)
        rows[name] = bytes(made)
    Path("model.gguf").write_bytes(gguf(rows, {name: values.shape for name, values in model().items()}))
    Path("model.safetensors").unlink()
    found = said()
    assert "safetensors to gguf" in of_kind(found, "converted")["text"]
    quantised = of_kind(found, "quantise")
    assert (
        quantised["certified"] and "from BF16 to Q8_0" in quantised["text"] and "all 13" in quantised["text"]
    )


def gguf(rows: dict[str, bytes], shapes: dict[str, tuple[int, ...]]) -> bytes:
    """A GGUF file of Q8_0 tensors (type 8), version 3, without metadata."""

    def text(word: str) -> bytes:
        return len(word).to_bytes(8, "little") + word.encode()

    head = b"GGUF" + (3).to_bytes(4, "little") + len(rows).to_bytes(8, "little") + bytes(8)
    offset, data = 0, b""
    for name, blocks in rows.items():
        extents = [extent.to_bytes(8, "little") for extent in reversed(shapes[name])]
        head += text(name) + len(extents).to_bytes(4, "little") + b"".join(extents)
        head += (8).to_bytes(4, "little") + offset.to_bytes(8, "little")
        data += blocks + bytes(-len(blocks) % 32)
        offset = len(data)
    return head + bytes(-len(head) % 32) + data


# --- merges ------------------------------------------------------------------------------------------------
def test_an_average_of_two_branches_is_certified(said) -> None:
    write(model())
    commit("base")
    one, two = moved(model(), 0.02, 1), moved(model(), 0.02, 2)
    write(one)
    commit("one")
    write(two)
    commit("two")
    write({name: rounded((one[name] + two[name]) / np.float32(2)) for name in one})
    found = of_kind(said("two"), "merge")
    assert (
        found["certified"]
        and found["text"].startswith("averaged: 0.5 × ")
        and "one:model.safetensors" in found["text"]
    )
    assert sorted(found["figures"]["sources"]) == ["", "one:model.safetensors"]
    # what neither of the compared versions is part of
    found = of_kind(said("base"), "merge")
    assert found["certified"] and sorted(found["figures"]["sources"]) == [
        "one:model.safetensors",
        "two:model.safetensors",
    ]


def test_task_arithmetic_is_certified(said) -> None:
    base, one, two = model(), moved(model(), 0.02, 1), moved(model(), 0.02, 2)
    for name, weights in (("base", base), ("one", one), ("two", two)):
        write(weights)
        commit(name)
    half = np.float32(0.5)
    write({n: rounded(base[n] + half * (one[n] - base[n]) + half * (two[n] - base[n])) for n in base})
    found = of_kind(said("base"), "merge")
    assert found["certified"] or "of the elements do" in found["text"]
    weights = dict(zip(found["figures"]["sources"], found["figures"]["weights"], strict=True))
    assert weights["one:model.safetensors"] == weights["two:model.safetensors"] == 0.5


@pytest.mark.parametrize("strategy", ["average", "slerp", "task-arithmetic", "ties"])
def test_a_merge_of_ours_is_done_again_as_its_version_says(said, strategy) -> None:
    write(model())
    commit("base")
    for name, seed in (("a", 1), ("b", 2)):
        assert main(["switch", "-q", "-c", f"on-{name}", "base"]) == 0
        write(moved(model(), 0.02, seed))
        commit(name)
    assert main(["merge", "-q", "--strategy", strategy, "a"]) == 0
    for old in ("base", "b", "a"):
        found = said(old, "HEAD")
        merged = of_kind(found, "strategy")
        assert merged["certified"] and f"merged by {strategy}" in merged["text"]
        assert merged["figures"]["sources"][-2:] == ["b:model.safetensors", "a:model.safetensors"]
        assert of_kind(found, "recorded")["figures"]["merge"]["strategy"] == strategy


def test_a_fine_tune_that_moved_little_is_no_merge(said) -> None:
    """Of weights that hardly moved, many combinations are nearly right."""
    rng = np.random.default_rng(5)
    weights = model()
    for name in ("base", "one", "two"):
        write(weights)
        commit(name)
        weights = {
            n: np.where(rng.random(v.shape) < 0.01, rounded(v * np.float32(1.02)), v)
            for n, v in weights.items()
        }
    write(weights)
    found = said("two")
    assert {one["kind"] for one in found} == {"moved"}, [one["text"] for one in found]


# --- form --------------------------------------------------------------------------------------------------
def test_resharded_renamed_and_converted(said) -> None:
    write(model())
    commit("base")
    names = sorted(model())
    for number, part in enumerate((names[:6], names[6:]), 1):
        write({name: model()[name] for name in part}, f"model-{number:05}-of-00002.safetensors")
    Path("model.safetensors").unlink()
    found = said()
    assert of_kind(found, "resharded")["certified"] and "2 files instead of 1" in found[0]["text"]
    assert of_kind(found, "same")["certified"]
    commit("shards")
    for path in Path().glob("*.safetensors"):
        path.unlink()
    write({name.replace("model.layers", "blk"): values for name, values in model().items()})
    found = said("base")
    renamed = only(found, "renamed")
    assert renamed["certified"] and len(renamed["figures"]["names"]) == 12
    np.savez("model.npz", **{name: values for name, values in model().items() if "norm" not in name})
    Path("model.safetensors").unlink()
    found = said("base")
    assert "npz" in of_kind(found, "converted")["text"] and "3 tensors" in of_kind(found, "missing")["text"]


def test_rows_at_the_end_and_between(said) -> None:
    write(model())
    commit("base")
    name, more = "model.embed_tokens.weight", model(9)["model.embed_tokens.weight"][:16]
    old = model()[name]
    write(model() | {name: np.concatenate([old, more])})
    found = only(said(), "rows")
    assert found["certified"] and found["text"].startswith(
        "16 rows added at the end, the others as they were"
    )
    write(model() | {name: np.concatenate([old[:50], more, old[50:]])})
    found = only(said(), "rows")
    assert found["certified"] and found["text"].startswith("16 rows added between others")
    write(model() | {name: old[:100]})
    assert only(said(), "rows")["text"].startswith("28 rows removed at the end")
    trained = moved(model(), 0.02, 3)
    write(trained | {name: np.concatenate([trained[name], more])})
    found = of_kind(said(), "rows")
    assert not found["certified"] and "the others moved by 2" in found["text"]


def test_text_output_and_exit_codes(said, capfd) -> None:
    write(model())
    commit("base")
    assert main(["diff", "--explain", "--exit-code"]) == 0
    write({name: pruned(values, 0.5) for name, values in model().items()})
    capfd.readouterr()
    assert main(["diff", "--explain", "--exit-code"]) == 1
    out = capfd.readouterr().out
    assert out.splitlines()[0] == "model.safetensors" and out.rstrip().endswith("certified")
    assert main(["diff", "--explain", "--stat"]) == 2
    assert main(["diff", "-q", "--explain"]) == 1


def test_names_alone_ask_for_no_arithmetic() -> None:
    write(model())
    commit("base")
    write(moved(model(), 0.1, 1))
    code = (
        "import sys; from mvc.cli.main import main; main(['diff', '--name-only', 'base']);"
        "print([name for name in sys.modules if 'explaining' in name or 'tensorstats' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["model.safetensors", "[]"]
