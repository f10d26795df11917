"""What the benchmark's corpus is made of: its text, and the files that are derived from weights."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.corpus_files import mean_file, merged_names, write
from benchmarks.corpus_runs import Plan, load, save, shapes
from benchmarks.corpus_standin import make
from benchmarks.corpus_text import BYTES, Vocabulary, read_text
from benchmarks.tensor_files import bf16, from_bf16, read

EMBEDDING = "model.embed_tokens.weight"

TEXT = b"def spam(eggs):\n    return eggs + eggs  # caf\xc3\xa9 42\n" * 3


def test_tokens_give_the_text_back() -> None:
    vocabulary = Vocabulary(TEXT, BYTES + 3)
    tokens = vocabulary.encode(TEXT)
    assert vocabulary.decode(tokens) == TEXT
    assert vocabulary.decode(vocabulary.encode(b"\xff\x00 unknown")) == b"\xff\x00 unknown"


def test_frequent_words_are_one_token() -> None:
    vocabulary = Vocabulary(TEXT, BYTES + 3)
    assert b"eggs" in vocabulary.words
    assert len(vocabulary.words) == 3
    assert vocabulary.encode(b"eggs").size == 1


def test_tokens_stay_inside_the_vocabulary() -> None:
    assert Vocabulary(TEXT, BYTES + 3).encode(TEXT).max() < BYTES + 3


def test_the_same_text_gives_the_same_vocabulary() -> None:
    assert Vocabulary(TEXT, 270).words == Vocabulary(TEXT, 270).words


def test_the_text_is_the_same_each_time_and_as_long_as_asked() -> None:
    first, second = read_text(200_000)
    assert (first, second) == read_text(200_000)
    assert len(first) == 180_000
    assert len(second) == 20_000
    assert b"def " in first
    assert first[:1000] != second[:1000]


SMALL = Plan(vocabulary=300, width=32, hidden=48, layers=1, heads=2, steps=200)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "files"
    write(make(SMALL), folder / "no torch files", folder)
    return folder


def values(path: Path, name: str = EMBEDDING) -> np.ndarray:
    tensor = read(path)[name]
    assert tensor.values is not None
    return tensor.values.reshape(tensor.shape)


def test_the_stand_in_is_the_same_each_time() -> None:
    assert np.array_equal(make(SMALL).base[EMBEDDING], make(SMALL).base[EMBEDDING])


def test_kept_runs_come_back(tmp_path) -> None:
    runs = make(SMALL)
    runs.moments[200] = {"exp_avg": runs.base, "exp_avg_sq": runs.sparse}
    runs.adapters[30] = {"a.lora_A.weight": runs.base["model.norm.weight"]}
    save(runs, tmp_path)
    back = load(tmp_path)
    assert (back.maker, back.missing) == (runs.maker, runs.missing)
    assert list(back.finetunes) == list(runs.finetunes)
    assert np.array_equal(back.base[EMBEDDING], runs.base[EMBEDDING])
    assert np.array_equal(back.moments[200]["exp_avg_sq"][EMBEDDING], runs.sparse[EMBEDDING])
    assert list(back.adapters[30]) == ["a.lora_A.weight"]
    assert np.array_equal(back.pure_bf16[EMBEDDING], runs.pure_bf16[EMBEDDING])


def test_moves_are_as_large_as_their_names_say(files) -> None:
    base = values(files / "pretrain-bf16/step-0200.safetensors")
    for share in (0.003, 0.03, 0.1):
        (path,) = files.glob(f"finetune-bf16/moved{share}/*.safetensors")
        move = np.linalg.norm(values(path) - base) / np.linalg.norm(base)
        assert move == pytest.approx(share, rel=0.15)


def test_bf16_is_rounded_to_the_nearest() -> None:
    numbers = np.array([1.0, -2.5, 1 + 2**-8, 1 + 3 * 2**-8, 1e-40], "<f4")  # two ties, to even
    assert from_bf16(bf16(numbers))[:4].tolist() == [1.0, -2.5, 1.0, 1 + 2**-6]


def test_half_of_each_matrix_is_pruned(files) -> None:
    base = values(files / "pretrain-bf16/step-0200.safetensors")
    for kind in ("magnitude50", "random50", "2of4"):
        pruned = values(files / f"pruned-bf16/{kind}.safetensors")
        assert np.mean(pruned == 0) == pytest.approx(0.5, abs=0.03)
        assert np.array_equal(pruned[pruned != 0], base[pruned != 0])
    fours = values(files / "pruned-bf16/2of4.safetensors").reshape(-1, 4)
    assert np.all(np.count_nonzero(fours, axis=1) <= 2)


def test_quantised_weights_stand_for_their_parent(files) -> None:
    base = values(files / "pretrain-bf16/step-0200.safetensors")
    int8 = read(files / "int8/model.safetensors")
    codes = np.frombuffer(int8[EMBEDDING].data, np.int8).reshape(base.shape)
    scale = int8[f"{EMBEDDING}_scale"].values
    assert np.abs(codes).max() == 127
    assert np.abs(codes * scale[:, None] - base).max() <= 0.51 * scale.max()
    fp8 = read(files / "fp8/model.safetensors")
    decoded = (
        np.frombuffer(fp8[EMBEDDING].data, ml_dtypes.float8_e4m3fn).astype(np.float32).reshape(base.shape)
    )
    wanted = (base.astype("<f4") / np.float32(fp8[f"{EMBEDDING}_scale"].values[0])).astype(np.float32)
    assert np.array_equal(decoded, wanted.astype(ml_dtypes.float8_e4m3fn).astype(np.float32))


def test_a_grown_vocabulary_keeps_its_old_rows(files) -> None:
    base = values(files / "pretrain-bf16/step-0200.safetensors")
    appended = values(files / "vocab-grown-bf16/append128.safetensors")
    assert np.array_equal(appended[:-128], base)
    inserted = values(files / "vocab-grown-bf16/insert64.safetensors")
    assert len(inserted) == len(base) + 64
    assert np.array_equal(np.concatenate([inserted[:151], inserted[215:]]), base)


def test_the_average_is_the_mean_of_two_fine_tunes(files, tmp_path) -> None:
    one, other = merged_names(make(SMALL))
    parents = [files / f"finetune-bf16/{name}.safetensors" for name in (one, other)]
    again = mean_file(*parents, tmp_path / "again.safetensors")
    assert again.read_bytes() == (files / "merged-bf16/average.safetensors").read_bytes()


def test_shards_hold_every_tensor_once(files) -> None:
    whole = read(files / "pretrain-bf16/step-0200.safetensors")
    shards = [read(path) for path in sorted(files.glob("sharded-bf16/*.safetensors"))]
    assert len(shards) == 2
    assert {**shards[0], **shards[1]} == whole
    assert sum(map(len, shards)) == len(whole)


def test_the_safetensors_library_reads_our_files(files) -> None:
    assert set(load_file(files / "pretrain-fp32/step-0200.safetensors")) == set(shapes(SMALL))
