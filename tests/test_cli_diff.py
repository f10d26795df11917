"""``mvc diff`` on the command line: how far tensors moved, in which order, as JSON and as pictures."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from mvc.cli.main import main
from mvc.history.tensornames import numbers_text, place_of, shortened
from tests.make_files import safetensors_bytes

SVG = "{http://www.w3.org/2000/svg}"
Weights = dict[str, np.ndarray]


def model(layers: int = 2) -> Weights:
    rng = np.random.default_rng(0)
    found = {"model.embed.weight": rng.standard_normal((40, 16)), "counter": np.array([1.0])}
    for layer in range(layers):
        for kind in ("q_proj", "mlp"):
            found[f"model.layers.{layer}.{kind}.weight"] = rng.standard_normal((24, 16))
    return {name: values.astype("<f4") for name, values in found.items()}


def write(weights: Weights, path: str = "m.safetensors") -> None:
    names = {"float32": "F32", "int64": "I64", "float16": "F16"}
    rows = {n: (names[v.dtype.name], v.shape, v.tobytes()) for n, v in weights.items()}
    Path(path).write_bytes(safetensors_bytes(rows))


def commit(name: str) -> None:
    assert main(["commit", "-q", "-m", name]) == 0
    assert main(["tag", "-q", name]) == 0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model, and one of which some moved by known amounts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / "repo"
    place.mkdir()
    monkeypatch.chdir(place)
    assert main(["init", "-q"]) == 0
    write(model())
    commit("one")
    new = model()
    new["model.layers.0.mlp.weight"] = new["model.layers.0.mlp.weight"] * np.float32(1.5)
    new["model.layers.1.q_proj.weight"] = new["model.layers.1.q_proj.weight"].copy()
    new["model.layers.1.q_proj.weight"][0, 0] += np.float32(8)
    new["model.embed.weight"] = -new["model.embed.weight"]
    write(new)
    commit("two")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def ask(*words: str, code: int = 0) -> str:
        capfd.readouterr()
        assert main(["diff", *words]) == code
        out, err = capfd.readouterr()
        assert code or err == "", err
        return out if not code else err

    return ask


def stats(run: Callable[..., str], *words: str) -> dict[str, dict[str, Any]]:
    (file,) = json.loads(run("--json", *words))
    return {tensor["name"]: tensor for tensor in file["tensors"]}


def test_numbers_are_those_of_numpy(run) -> None:
    found = stats(run, "one", "two")
    assert set(found) == {"model.layers.0.mlp.weight", "model.layers.1.q_proj.weight", "model.embed.weight"}
    scaled = found["model.layers.0.mlp.weight"]["stats"]
    old = model()["model.layers.0.mlp.weight"].astype(float)
    assert scaled["relative"] == pytest.approx(0.5) and scaled["cosine"] == pytest.approx(1)
    assert scaled["l2"] == pytest.approx(np.linalg.norm(old) / 2)
    assert scaled["norm"] == pytest.approx(np.linalg.norm(old))
    assert scaled["largest"] == pytest.approx(np.abs(old).max() / 2)
    assert scaled["elements"] == old.size and scaled["moved"] == 1
    one = found["model.layers.1.q_proj.weight"]
    assert one["stats"]["rank"] == pytest.approx(1) and one["moved"] == 1 / 384
    assert one["stats"]["largest"] == pytest.approx(8) and one["stats"]["low_rank"] == 1
    assert found["model.embed.weight"]["stats"]["cosine"] == pytest.approx(-1)


def test_orders_and_how_many(run) -> None:
    def names(*words: str) -> list[str]:
        return [line.split()[1] for line in run("one", "two", *words).splitlines()[1:] if "changed" in line]

    embed, mlp, q_proj = "model.embed.weight", "model.layers.0.mlp.weight", "model.layers.1.q_proj.weight"
    assert names("--sort", "name") == [embed, mlp, q_proj]
    assert names("--sort", "relative") == [embed, mlp, q_proj]
    assert names("--sort", "max") == [q_proj, embed, mlp]
    assert names("--sort", "share")[-1] == q_proj
    assert names("--sort", "cosine") == [embed, q_proj, mlp]
    assert names("--sort", "rank")[-1] == q_proj
    assert names("--sort", "l2", "-n", "1") == [embed]
    out = run("one", "two", "-n", "1")
    assert "… and 2 more tensors" in out
    assert [
        t["name"] for t in json.loads(run("one", "two", "--json", "--sort", "max", "-n", "1"))[0]["tensors"]
    ] == [q_proj]
    run("--sort", "size", code=2)
    run("-n", "-1", code=2)


def test_lines_say_how_far(run) -> None:
    lines = {line.split()[1]: line for line in run("one", "two").splitlines()[1:]}
    largest = 2 * np.abs(model()["model.embed.weight"]).max()
    assert lines["model.embed.weight"].endswith(f"by 200 %  max {largest:.3g}")
    assert "0.3 % moved" in lines["model.layers.1.q_proj.weight"]
    full = run("one", "two", "-v")
    assert "cos -1.000000" in full and "rank 1.0" in full and "L2 8" in full
    stat = run("one", "two", "--stat").splitlines()
    assert (
        "3 tensors changed" in stat[0]
        and "by 1" in stat[0]
        and stat[-1] == "1 file: 1 modified, 3 tensors changed"
    )


def test_what_is_no_number_is_counted_and_null(run) -> None:
    new = model()
    new["model.embed.weight"] = new["model.embed.weight"].copy()
    new["model.embed.weight"][0, :3] = np.nan, np.inf, -np.inf
    new["counter"] = np.array([np.nan], "<f4")
    write(new)
    found = stats(run, "one")
    embed = found["model.embed.weight"]["stats"]
    assert (embed["nans"], embed["infinities"], embed["l2"]) == ([0, 1], [0, 2], 0)
    counter = found["counter"]["stats"]
    assert counter["relative"] is None and counter["cosine"] is None and counter["rank"] is None
    assert "NaN 0 -> 1, inf 0 -> 2" in run("one")


def test_casts_and_rows(run) -> None:
    new = model()
    new["model.layers.0.mlp.weight"] = new["model.layers.0.mlp.weight"].astype("<f2")
    new["model.embed.weight"] = np.concatenate([new["model.embed.weight"], np.ones((2, 16), "<f4")])
    write(new)
    found = stats(run, "one")
    cast = found["model.layers.0.mlp.weight"]
    assert cast["kind"] == "cast" and cast["moved"] is None and 0 < cast["stats"]["relative"] < 1e-3
    grown = found["model.embed.weight"]
    assert grown["kind"] == "reshaped" and grown["stats"]["elements"] == 640 and grown["stats"]["moved"] == 0
    assert "+2 rows, 0 % moved of the others" in run("one")


def test_three_dots_begin_at_the_merge_base(run) -> None:
    assert main(["checkout", "-q", "-b", "side", "one"]) == 0
    Path("side.txt").write_text("x\n")
    commit("three")
    assert run("--name-only", "two...side") == "side.txt\n"
    assert run("--name-only", "two..side") == "m.safetensors\nside.txt\n"
    assert run("--name-only", "side...") == run("--name-only", "side...HEAD")


# --- pictures ----------------------------------------------------------------------------------------------
def test_the_drawing_shows_layers_and_kinds(run) -> None:
    run("one", "two", "--plot", "a.svg")
    root = ElementTree.parse("a.svg").getroot()
    words = [node.text for node in root.iter(f"{SVG}text")]
    assert "How far tensors moved: one → two" in words and {"model.embed", "model.layers.*.mlp"} <= set(words)
    assert "model.layers.0.mlp.weight" in words, "a histogram"
    titles = [node.text for node in root.iter(f"{SVG}title")]
    assert "model.layers.*.mlp.weight, layer 0: 50 %" in titles
    assert "model.layers.*.mlp.weight, layer 1: no change" in titles
    style = next(root.iter(f"{SVG}style")).text
    assert style is not None and "prefers-color-scheme:dark" in style
    first = Path("a.svg").read_bytes()
    run("one", "two", "--plot", "a.svg")
    assert Path("a.svg").read_bytes() == first


def png_pixels(path: str) -> np.ndarray:
    """The pixels of a PNG of ours, by the specification: 8-bit RGB, rows without filters."""
    data = Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, body, size = 8, b"", (0, 0)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, chunk = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + chunk) == int.from_bytes(data[at + 8 + length :][:4], "big")
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", chunk)
            assert rest == [8, 2, 0, 0, 0]
            size = height, width
        body += chunk if kind == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(size[0], 1 + 3 * size[1])
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(*size, 3)


@pytest.mark.parametrize("layers", [0, 1, 100])
def test_pictures_of_few_and_many_layers(run, layers) -> None:
    write(model(layers))
    commit("three")
    write({name: values * np.float32(1.01 + 0.001 * len(name)) for name, values in model(layers).items()})
    run("--plot", "a.png")
    run("--plot", "a.svg")
    pixels = png_pixels("a.png")
    root = ElementTree.parse("a.svg").getroot()
    assert pixels.shape[:2] == (2 * int(root.get("height", "0")), 2 * int(root.get("width", "0")))
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3)[::7].tolist()}
    assert (255, 255, 255) in colours and len(colours) > 20
    for node in root.iter(f"{SVG}rect"):
        assert (
            float(node.get("x", "0")) + float(node.get("width", "0")) <= float(root.get("width", "0")) + 0.6
        )


def test_pictures_of_nothing_and_of_blocks(run) -> None:
    run("two", "--plot", "a.svg")
    assert "no tensor moved" in Path("a.svg").read_text()
    Path("m.safetensors").write_bytes(safetensors_bytes({"<b> & 1": ("F4", (8,), b"abcd")}))
    commit("blocks")
    Path("m.safetensors").write_bytes(safetensors_bytes({"<b> & 1": ("F4", (8,), b"abce")}))
    run("--plot", "a.svg")
    assert "?" in [node.text for node in ElementTree.parse("a.svg").getroot().iter(f"{SVG}text")]
    run("--plot", "a.pdf", code=2)
    run("--plot", "a.svg", "--name-only", code=2)
    Path("a.svg").unlink()
    assert run("--plot", "a.svg", "-q") == ""
    assert "?" in Path("a.svg").read_text()
    assert "cannot write" in run("--plot", "nowhere/a.svg", code=3)


# --- names -------------------------------------------------------------------------------------------------
def test_names_fall_into_layers_and_kinds() -> None:
    assert place_of("model.layers.12.self_attn.q_proj.weight") == (
        12,
        "model.layers.*.self_attn.q_proj.weight",
    )
    assert place_of("blk.3.attn_q.weight") == (3, "blk.*.attn_q.weight")
    assert place_of("layers.0.experts.7.w1") == (0, "layers.*.experts.*.w1")
    assert place_of("conv1.weight") == (None, "conv1.weight")
    assert place_of("optimizer/state/5/exp_avg") == (5, "optimizer/state/*/exp_avg")
    assert place_of("x.99999999999999999999.y") == (None, "x.99999999999999999999.y")


def test_kinds_are_shortened_as_long_as_they_stay_different() -> None:
    assert shortened(["m.a.weight", "m.b.weight"]) == {"m.a.weight": "a", "m.b.weight": "b"}
    assert shortened(["m.a.weight", "m.a"]) == {"m.a.weight": "a.weight", "m.a": "a"}
    assert shortened(["one.weight"]) == {"one.weight": "one"}
    assert numbers_text([3, 1, 2, 7, 7]) == "1–3, 7"


def test_quantised_numbers_have_no_distance_to_what_they_stand_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    coded = model()
    coded["model.embed.weight"] = (coded["model.embed.weight"] * 40).astype("<i8")
    write(coded)
    capsys.readouterr()
    assert main(["diff", "one"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "embed" in line]
    assert "other numbers" in line and " by " not in line
