"""``diff --explain`` on really trained checkpoints, each against the one that it was made from.

They are not part of the repository; the suite stands on data that it makes itself (test_explaining.py).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mvc.cli.main import main

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "checkpoints"
pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real checkpoints (../shared/data) are not on this machine"
)

BASE = "pretrain-bf16/step-0800.safetensors"
FINE_TUNES = [
    "finetune-bf16/lr1e-5/final.safetensors",
    "finetune-bf16/lr2e-5/final.safetensors",
    "finetune-bf16/lr2e-5/step-0060.safetensors",
    "finetune-bf16/lr2e-5/step-0120.safetensors",
    "finetune-bf16/pure-bf16-lr2e-5/final.safetensors",
]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """The findings from some files, committed, to others that take their place; both named by what they are
    called in the repository."""
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / "repo"
    place.mkdir()
    monkeypatch.chdir(place)
    assert main(["init", "-q"]) == 0

    def put(files: dict[str, str]) -> None:
        for path in place.iterdir():
            if path.is_file():
                path.unlink()
        for name, source in files.items():
            shutil.copyfile(SHARED / source, place / name)

    def ask(old: dict[str, str], new: dict[str, str]) -> dict[str, dict[str, Any]]:
        """By kind; of several of one kind the largest."""
        put(old)
        assert main(["commit", "-q", "--allow-empty", "-m", "old"]) == 0
        put(new)
        capfd.readouterr()
        assert main(["diff", "--explain", "--json"]) == 0
        return {finding["kind"]: finding for finding in json.loads(capfd.readouterr().out)[::-1]}

    return ask


def one(source: str, name: str = "model.safetensors") -> dict[str, str]:
    return {name: source}


@pytest.mark.parametrize("source", FINE_TUNES)
def test_fine_tunes_are_full_ones(said, source) -> None:
    found = said(one(BASE), one(source))
    assert list(found) == ["moved"] and found["moved"]["text"].startswith("full fine-tune: 8 of 11 tensors")
    assert "norm" in found["moved"]["text"].partition("unchanged: ")[2]


def test_casts_and_their_masters(said) -> None:
    fp32 = "pretrain-fp32/step-0800.safetensors"
    found = said(one(fp32), one(BASE))
    assert found["cast"]["certified"] and "from F32 to BF16: all 11" in found["cast"]["text"]
    found = said(one(BASE), one(fp32))
    assert found["master"]["certified"]
    found = said(one(fp32), one("fp16/step-0800.safetensors"))
    assert found["cast"]["certified"] and "from F32 to F16: all 11" in found["cast"]["text"]


def test_fp16_against_bf16_without_their_master(said) -> None:
    found = said(one(BASE), one("fp16/step-0800.safetensors"))
    assert list(found) == ["precision"] and not found["precision"]["certified"]


def test_quantised_pruned_and_grown(said) -> None:
    found = said(one(BASE), one("int8/step-0800.safetensors"))
    assert found["quantise"]["certified"] and found["scale"]["certified"] and len(found) == 2
    found = said(one(BASE), one("pruned-bf16/mag50.safetensors"))
    assert list(found) == ["prune"] and found["prune"]["certified"]
    assert found["prune"]["figures"] | {"tensors": 0} == {
        "tensors": 0,
        "zeros": pytest.approx(0.5, abs=1e-3),
        "pattern": "magnitude",
    }
    found = said(one(BASE), one("vocab-grown-bf16/append128.safetensors"))
    assert list(found) == ["rows"] and found["rows"]["certified"] and found["rows"]["figures"]["rows"] == 128


def test_a_merged_adapter_with_and_without_it(said) -> None:
    merged = one("lora-merged-bf16/model.safetensors")
    found = said(one(BASE), merged)
    assert list(found) == ["moved"] and found["moved"]["figures"]["ranks"] == [16]
    adapters = {f"step-{n}.safetensors": f"lora/step-0{n}/adapter_model.safetensors" for n in ("040", "120")}
    found = said(one(BASE) | adapters, merged | adapters)
    assert "from HEAD:step-120.safetensors with scale 2" in found["LoRA"]["text"]


def test_containers(said) -> None:
    shards = {
        f"model-0000{n}-of-00002.safetensors": f"sharded-bf16/model-0000{n}-of-00002.safetensors"
        for n in (1, 2)
    }
    found = said(one(BASE), shards)
    assert found["same"]["certified"] and found["resharded"]["certified"] and len(found) == 2
    found = said(one(BASE), one("torch-bf16/step-0800.pt", "model.pt"))
    assert found["same"]["certified"] and found["converted"]["certified"]


def test_states_of_training(said) -> None:
    steps = [one(f"pretrain-fp32/step-0{n}.optim.safetensors") for n in (790, 800)]
    found = said(*steps)
    assert list(found) == ["moved"] and found["moved"]["text"] == "the optimizer's state went on: 12 tensors"
    found = said(one(BASE), one(BASE) | one("torch-training/step-0800.pt", "train.pt"))
    assert found["source"]["figures"]["source"] == "model.safetensors"
    assert found["added"]["text"] == "new state of an optimizer: 7 tensors"
    assert found["master"]["certified"] and "rounded" in found["master"]["text"]
