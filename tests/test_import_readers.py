"""The small readers that imports stand on: names, pointers, YAML of DVC, results, objects of Git."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.errors import UserError
from mvc.importing.survey import usable
from mvc.importing.version import Listing
from mvc.origins.dvc import Out, caches, read_folder, read_outs
from mvc.origins.dvc_text import Opaque, parse
from mvc.origins.git_objects import parse_commit, parse_tag, parse_tree
from mvc.origins.hub import HubRef, address, digest_of
from mvc.origins.lfs import Pointer, read_pointer
from mvc.origins.results import READERS, metrics
from mvc.origins.series import place

SERIES = [
    (["checkpoint-1500", "checkpoint-500", "runs"], ["checkpoint-500", "checkpoint-1500"], "checkpoint"),
    (["epoch_3", "epoch_12"], ["epoch_3", "epoch_12"], "epoch"),
    (["step-000800.pt", "step-60.pt"], ["step-60.pt", "step-000800.pt"], "step.pt"),
    (
        ["llama-7b-step-9.gguf", "llama-7b-step-10.gguf"],
        ["llama-7b-step-9.gguf", "llama-7b-step-10.gguf"],
        "llama-7b-step.gguf",
    ),
    (
        ["v2_2024-01-02_vad.onnx", "v10_2025-08-09_vad.onnx"],
        ["v2_2024-01-02_vad.onnx", "v10_2025-08-09_vad.onnx"],
        "vad.onnx",
    ),
    (["e-1-loss-2.5.pth", "e-2-loss-1.25.pth"], ["e-1-loss-2.5.pth", "e-2-loss-1.25.pth"], "e-loss.pth"),
    (["1.safetensors", "2.safetensors"], ["1.safetensors", "2.safetensors"], "model.safetensors"),
    (["checkpoint-5"], ["checkpoint-5"], "checkpoint"),
    (["step-5.pt", "best.pt", "final.pt"], ["step-5.pt", "best.pt", "final.pt"], "step.pt"),
]


@pytest.mark.parametrize(("names", "order", "path"), SERIES)
def test_checkpoints_by_their_names(names, order, path) -> None:
    found = place(names)
    assert [one.name for one in found] == order
    assert {one.path for one in found} == {path}


@pytest.mark.parametrize(
    "names", [["model-00001-of-00002.bin", "model-00002-of-00002.bin"], ["vocab_50k.json"], []]
)
def test_what_is_no_series(names) -> None:
    assert place(names) == []


@given(st.lists(st.text("ab12.-_v/é", max_size=12), unique=True))
def test_names_are_placed_once_and_paths_are_never_empty(names) -> None:
    found = place(names)
    assert len({one.name for one in found}) == len(found)
    assert {one.name for one in found} <= set(names)
    assert all(one.path for one in found)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n"


def test_pointers_of_git_lfs() -> None:
    assert read_pointer(POINTER) == Pointer("a" * 64, 12)
    assert read_pointer(POINTER.rstrip(b"\n")) == Pointer("a" * 64, 12)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        POINTER + b"more",
        POINTER.replace(b"a" * 64, b"a" * 63),
        POINTER.replace(b"a" * 64, b"../" * 21 + b"a"),
        POINTER.replace(b"\noid", b"\next-0-foo sha256:1\noid"),
        POINTER + b" " * 1000,
        POINTER.replace(b"12", b"-1"),
    ],
)
def test_what_is_no_pointer(data) -> None:
    assert read_pointer(data) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_pointer_or_not(data) -> None:
    read_pointer(data)
    read_pointer(POINTER + data)


def test_the_yaml_that_dvc_writes() -> None:
    text = b"""# a comment
schema: '2.0'
stages:
  train:
    cmd: python train.py
      --folded: here
    deps:
    - path: "with: colon"
      md5: abc
    -   path: 'it''s'
    params:
      lr: 0.1   # with a comment
      none:
      flow: [1, 2]
    block: |
      - not a list
      key: value
"""
    assert parse(text) == {
        "schema": "2.0",
        "stages": {
            "train": {
                "cmd": "python train.py --folded: here",
                "deps": [{"path": "with: colon", "md5": "abc"}, {"path": "it's"}],
                "params": {"lr": "0.1", "none": None, "flow": Opaque("[1, 2]")},
                "block": Opaque("| - not a list key: value"),
            }
        },
    }


@pytest.mark.parametrize(
    "data",
    [b"a: 1\na: 2\n", b"a: 1\n- b\n", b"\xff", b"a:\n" + b"".join(b" " * n + b"a:\n" for n in range(1, 50))],
)
def test_yaml_that_is_refused(data) -> None:
    with pytest.raises(UserError):
        parse(data)


@given(st.text("ab:-# '\"\n|[{&*\t", max_size=80))
def test_any_text_is_read_or_refused(text) -> None:
    with suppress(UserError):
        parse(text.encode())


VALUES = st.recursive(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text("abcdef", min_size=1, max_size=4), inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


def emit(value, indent: int = 0) -> str:
    """Block style, as DVC's writer lays it out: lists stand under their key."""
    pad = " " * indent
    if isinstance(value, str):
        return f"{pad}{value}\n"
    if isinstance(value, list):
        return "".join(pad + "- " + emit(item, indent + 2)[indent + 2 :] for item in value)
    rows = ""
    for key, item in value.items():
        if isinstance(item, str):
            rows += f"{pad}{key}: {item}\n"
        else:
            rows += f"{pad}{key}:\n" + emit(item, indent + 2 * isinstance(item, dict))
    return rows


@given(VALUES.filter(lambda value: not isinstance(value, str)))
def test_yaml_comes_back(value) -> None:
    def plain(item):
        if isinstance(item, list):
            return [plain(one) for one in item]
        if isinstance(item, dict):
            return {key: plain(one) for key, one in item.items()}
        return None if item in ("null", "Null", "NULL") else item

    assert parse(emit(value).encode()) == plain(value)


def test_outs_lie_where_their_stage_works() -> None:
    md5 = "0" * 32
    data = f"wdir: ..\nouts:\n- md5: {md5}\n  path: x/y\n- path: z\n  cache: false\n  md5: {md5}\n".encode()
    assert read_outs("a/b/c.dvc", data).outs == [Out("a/x/y", md5, False, True)]


@pytest.mark.parametrize("data", [b"{}", b"[1]", b'[{"md5": "x", "relpath": "a"}]', b"\xff", b"[" * 100_000])
def test_lists_of_folders_that_are_none(data) -> None:
    with pytest.raises(UserError):
        read_folder(data)


def test_caches_of_this_machine(tmp_path) -> None:
    text = "[cache]\ndir = ../shared\n['remote \"a\"']\nurl = s3://b/c\n['remote \"b\"']\nurl = /mnt/store\n"
    assert [str(path) for path in caches([text], tmp_path)] == [f"{tmp_path}/../shared", "/mnt/store"]
    with pytest.raises(UserError):
        caches(["no section = 1\n"], tmp_path)


def test_every_reader_of_results_takes_what_it_is_named_for() -> None:
    for name in READERS:
        assert metrics(name, b"[]") == metrics(name, b"no json") == metrics(name, b'{"a": "text"}') == {}
    nested = {"eval": {"loss": 1.5}, "ok": True, "nan": float("nan"), "huge": 1 << 70, "n": 3}
    assert metrics("metrics.json", json.dumps(nested).encode()) == {"eval.loss": 1.5, "n": 3}
    state = {
        "global_step": 9,
        "log_history": [{"loss": 2.0, "step": 1}, {"loss": 1.0}, "x"],
        "best_metric": None,
    }
    assert metrics("trainer_state.json", json.dumps(state).encode()) == {"loss": 1.0, "step": 9}
    assert metrics("metrics.json", b"[" * 100_000) == {}


def test_the_hub_says_little_and_that_is_used(tmp_path) -> None:
    assert address(tmp_path / "models--org--name") == "https://huggingface.co/org/name"
    assert address(tmp_path / "datasets--org--name") == "https://huggingface.co/datasets/org/name"
    assert address(tmp_path / "elsewhere") is None
    assert digest_of("a" * 64) == ("sha256", "a" * 64) and digest_of("b" * 40) == ("git", "b" * 40)
    assert digest_of("other") is None
    assert [HubRef(name, "").is_tag for name in ("v1.0", "1.2.3-rc1", "main", "dev", "pr/1")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@given(st.binary(max_size=200))
def test_objects_of_git_are_parsed_or_refused(data) -> None:
    for parser in (parse_commit, parse_tag, lambda item: parse_tree(item, 20)):
        with suppress(UserError):
            parser(data)


@pytest.mark.parametrize("zone", ["+0530", "-9959", "+000000", "east"])
def test_strange_times_do_no_harm(zone) -> None:
    commit = parse_commit(f"tree {'0' * 40}\nauthor A <a@b> 99999999999999 {zone}\n\nm".encode())
    assert commit.message == "m" and abs(commit.time.offset_minutes) <= 24 * 60


def test_a_file_in_the_place_of_a_folder_makes_way() -> None:
    listing = Listing({"a": object(), "a/b": object(), "x/../y": object()})  # type: ignore[dict-item]
    found = usable(listing)
    assert set(found.files) == {"a/b"}
    assert dict(found.left_out)["a"] == "is a file and a folder at once"
