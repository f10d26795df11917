"""``mvc commit`` records where a version comes from, ``mvc show`` prints its card."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mvc.cli.card import many
from tests.make_files import safetensors_bytes
from tests.test_cli import fails, ok, run  # noqa: F401  run is a fixture

pytestmark = pytest.mark.usefixtures("run")


@pytest.fixture
def model(run):  # noqa: F811
    """A repository with one version of a small model."""
    ok(run("init"))
    Path("model.safetensors").write_bytes(
        safetensors_bytes({"head.weight": ("F32", (100, 100), bytes(40_000))}, {"step": "7"})
    )
    Path("config.json").write_text(json.dumps({"model_type": "tiny\x1b[31m", "hidden_size": 100}))
    Path("train.csv").write_text("1,2\n")
    ok(run("commit", "-m", "first", "--data", "train=train.csv", "--data", "hub=https://u:p@h/d?sig=abc"))
    return run


def test_show_prints_the_card(model):
    out = ok(model("show")).out
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line and not line.startswith(" "))
    assert lines["Parameters"] == "10 k F32 in 1 tensor, 40.0 kB, model.safetensors"
    assert lines["Model"] == "tiny\\u001b[31m: hidden_size 100"
    assert lines["Training"] == "step 7, model.safetensors"
    assert lines["Data"].startswith("hub: https://***@h/d?sig=***")
    assert "train: train.csv, 4 B, BLAKE3 " in out
    assert "CPython" in lines["Environment"]
    assert "optimizer — save optimizer.state_dict()" in out
    assert out.index("Missing") < out.index("A  config.json")


def test_quiet_show_has_no_card(model):
    out = ok(model("show", "-q")).out
    assert "Missing" not in out and "Parameters" not in out
    assert "A  config.json" in out and "first" in out


def test_lines_fit_the_terminal(model, monkeypatch):
    for width in (60, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = ok(model("show")).out.splitlines()[1:]
        # a word alone may be longer
        assert all(len(line) <= width or len(line.split()[-1]) > 20 for line in lines)


def test_show_as_json_has_everything(model):
    data = ok(model("show", "--json")).data
    assert data["data"]["hub"] == {
        "kind": "uri",
        "location": "https://***@h/d?sig=***",
        "size": None,
        "files": None,
        "blake3": None,
    }
    assert len(data["data"]["train"]["blake3"]) == 64
    assert data["environment"]["of"] in ("interpreter", "virtualenv", "conda")
    assert data["code"] is None
    card = data["card"]
    assert card["parameters"] == 10_000
    assert card["weights"][0]["dtypes"] == {"F32": 10_000}
    assert card["complete"] is False
    assert {item["state"] for item in card["checklist"]} <= {"present", "missing", "not applicable"}


def test_code_is_recorded_and_both_can_be_switched_off(model):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run(["git", "config", "remote.origin.url", "https://u:secret@h/r.git"], check=True)
    ok(model("commit", "-m", "second", "--allow-empty"))
    code = ok(model("show", "--json")).data["code"]
    assert code["remote"] == "https://***@h/r.git"
    assert code["dirty"] is False
    ok(model("config", "commit.code", "false"))
    ok(model("config", "--global", "commit.environment", "false"))
    ok(model("commit", "-m", "third", "--allow-empty"))
    data = ok(model("show", "--json")).data
    assert (data["code"], data["environment"], data["data"]) == (None, None, {})
    fails(model("config", "commit.code", "no"), 3, "takes true or false")


def test_a_secret_param_is_masked_with_a_warning(model):
    result = ok(
        model("commit", "-m", "x", "--allow-empty", "--param", "api_key=abc", "--param", "max_tokens=5")
    )
    assert "warning: param api_key looks like a secret" in result.err
    assert ok(model("show", "--json")).data["params"] == {"api_key": "***", "max_tokens": 5}


def test_data_that_makes_no_sense(model):
    fails(model("commit", "-m", "x", "--data", "train.csv"), 2, "not a name and a value", "--data train=")
    fails(model("commit", "-m", "x", "--data", "t=gone.csv"), 3, "there is no data", "gone.csv'")
    fails(model("commit", "-m", "x", "--data", "t="), 2, "lies nowhere")
    fails(model("commit", "-m", "x", "--data", "t=file:///etc/passwd"), 2, "give its path")


def test_large_counts():
    assert [many(value) for value in (0, 9_999, 10_000, 294_912, 999_600, 17_300_000, 7 * 10**9)] == [
        *("0", "9,999", "10 k", "295 k", "1 M", "17.3 M", "7 G")
    ]
