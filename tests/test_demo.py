"""The demonstration: its model, its trainer, and the story that it tells."""

import hashlib
import json
import math
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_safetensors

from mvc.demo import checkpoint, story, training
from mvc.demo.checkpoint import Hyperparameters
from mvc.demo.model import Config, batch, corpus, draw, initial, loss_and_gradients
from mvc.demo.record import read_record, verify
from mvc.demo.shell import Child, Failed, isolated
from mvc.errors import UserError

TINY = Config(layers=2, width=8, heads=2, context=6, batch=3)


# --- the model ------------------------------------------------------------
def test_the_default_model_has_more_than_a_million_parameters():
    assert sum(values.size for values in initial(Config(), 1).values()) >= 1_000_000


def test_gradients_agree_with_finite_differences():
    parameters = initial(TINY, 7, np.float64)
    for name, values in parameters.items():
        if values.ndim == 1:  # gains of exactly 1 would hide a gain that is missing from a gradient
            values += draw(7, name, 1, values.size) / 2**33
    inputs, targets = batch(TINY, corpus(), 7, 0)
    _, gradients = loss_and_gradients(TINY, parameters, inputs, targets)
    assert gradients.keys() == parameters.keys()
    for name, values in parameters.items():
        assert gradients[name].shape == values.shape
        flat, gradient = values.reshape(-1), gradients[name].reshape(-1)
        for place in (*np.argsort(-np.abs(gradient))[:4], *draw(7, name, 2, 4) % flat.size):
            kept, losses = flat[place], []
            for shift in (1e-6, -1e-6):
                flat[place] = kept + shift
                losses.append(loss_and_gradients(TINY, parameters, inputs, targets)[0])
            flat[place] = kept
            assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-8), name


def test_a_loss_depends_on_no_later_character():
    parameters = initial(TINY, 3, np.float64)
    inputs, targets = batch(TINY, corpus(), 3, 0)
    others = targets.copy()
    others[:, :-1] = (others[:, :-1] + 1) % TINY.vocabulary
    first, second = (
        loss_and_gradients(TINY, parameters, inputs, wanted)[1]["position.weight"]
        for wanted in (targets, others)
    )
    # what the earlier places are asked for cannot move the last place
    np.testing.assert_array_equal(first[-1], second[-1])
    assert np.abs(first[:-1] - second[:-1]).min(axis=1).max() > 0


def test_draws_are_pinned():
    # no release of numpy or blake3 may change them: a run must be resumable after an upgrade
    assert draw(2026, "batch", 0, 2).tolist() == [3706476550, 705688861]
    assert draw(2026, "batch", 1, 2).tolist() != draw(2026, "batch", 0, 2).tolist()


# --- the files ------------------------------------------------------------
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@settings(deadline=None, max_examples=100)
def test_bf16_is_the_nearest_with_ties_to_even(numbers):
    values = np.array(numbers, np.float32)
    for value, got in zip(values, checkpoint.bf16(values), strict=True):
        low = int(value.view(np.uint32)) >> 16  # toward zero; the next one is away from it
        inner, outer = (abs(float(value) - _bf16_value(bits)) for bits in (low, low + 1))
        assert int(got) == (low + (low & 1) if inner == outer else low + (outer < inner))


def _bf16_value(bits):
    value = float(np.array([bits << 16], np.uint32).view(np.float32)[0])
    # rounding to infinity begins half way to the number that would come next
    return math.copysign(2.0**128, value) if math.isinf(value) else value


def test_the_reference_library_reads_the_files():
    values = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([-0.5], np.float32)}
    data = checkpoint.safetensors(values, "F32")
    read = load_safetensors(data)
    assert read.keys() == values.keys()
    for name in values:
        np.testing.assert_array_equal(read[name], values[name])
    assert int.from_bytes(data[:8], "little") % 8 == 0


def test_a_checkpoint_comes_back_with_the_same_bits(tmp_path):
    state = training.fresh(TINY, Hyperparameters(seed=5))
    for _ in range(3):
        training.advance(TINY, state, corpus())
    for name, file in checkpoint.save(tmp_path, state).items():
        assert file == _written((tmp_path / name).read_bytes())
    loaded = checkpoint.load(tmp_path)
    assert (loaded.step, loaded.loss, loaded.hyperparameters) == (3, state.loss, state.hyperparameters)
    for kind in ("master", "exp_avg", "exp_avg_sq"):
        before, after = getattr(state, kind), getattr(loaded, kind)
        assert before.keys() == after.keys()
        assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert list((tmp_path / checkpoint.PARTIAL).iterdir()) == []


def _written(data):
    return checkpoint.Written(len(data), hashlib.sha256(data).hexdigest())


# --- training ------------------------------------------------------------
def test_a_run_in_three_pieces_ends_with_the_same_bits(tmp_path):
    straight = training.fresh(TINY, Hyperparameters())
    for _ in range(9):
        training.advance(TINY, straight, corpus())
    broken = training.fresh(TINY, Hyperparameters())
    for _ in range(3):
        for _ in range(3):
            training.advance(TINY, broken, corpus())
        checkpoint.save(tmp_path, broken)
        broken = checkpoint.load(tmp_path)
    files = checkpoint.save(tmp_path, broken)
    (tmp_path / "straight").mkdir()
    assert checkpoint.save(tmp_path / "straight", straight) == files


def test_training_learns():
    state = training.fresh(TINY, Hyperparameters(lr=1e-2))
    training.advance(TINY, state, corpus())
    first = state.loss
    for _ in range(60):
        training.advance(TINY, state, corpus())
    assert first == pytest.approx(math.log(TINY.vocabulary), rel=0.1)
    assert state.loss < 0.9 * first


def test_a_loss_that_is_not_finite_stops_the_run():
    state = training.fresh(TINY, Hyperparameters())
    state.master["head.weight"][0, 0] = np.nan
    with pytest.raises(ArithmeticError, match="step 0"):
        training.advance(TINY, state, corpus())


def test_the_trainer_ends_at_a_checkpoint_when_its_time_is_up(tmp_path, capsys):
    record = tmp_path / "record"
    options = training.Options(
        tmp_path / "run",
        steps=100,
        every=2,
        resume=False,
        commit=False,
        record=record,
        stop_after=0.0,
        least=3,
    )
    assert training.train(options, TINY).step == 4
    events = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(event["event"], event["step"]) for event in events] == [("written", 2), ("written", 4)]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["step", "2"],
        ["step", "4"],
    ]
    last = events[-1]["files"][checkpoint.MODEL]
    assert checkpoint.Written(**last) == _written((tmp_path / "run" / checkpoint.MODEL).read_bytes())
    assert training.train(replace(options, stop_after=math.inf, steps=3), TINY).step == 3


# --- how the story runs programs and checks files ---------------------------------------------
def test_a_killed_child_takes_its_children_along(tmp_path):
    # the grandchild prints its number, then both sleep for longer than the test may take
    program = (
        "import subprocess, sys, time\n"
        "inner = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'\n"
        "subprocess.Popen([sys.executable, '-c', inner])\n"
        "time.sleep(600)\n"
    )
    with Child([sys.executable, "-c", program], tmp_path, dict(os.environ)) as child:
        lines = []
        while not lines:
            lines = child.read(10)
            assert lines is not None
        assert child.kill() == -signal.SIGKILL
        assert child.read(0) is None
    deadline = time.monotonic() + 10
    while _alive(int(lines[0])):  # its pipe is closed a moment before the kernel is done with it
        assert time.monotonic() < deadline


def _alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # dead, and nobody has asked for its status yet


def test_leaving_the_block_kills_what_still_runs(tmp_path):
    with pytest.raises(KeyboardInterrupt), _sleeper(tmp_path) as child:
        raise KeyboardInterrupt
    assert child.wait() == -signal.SIGKILL


def _sleeper(folder):
    return Child([sys.executable, "-c", "import time; time.sleep(600)"], folder, dict(os.environ))


def test_children_find_no_settings_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    environment = isolated(tmp_path)
    assert not {"GIT_DIR", "XDG_CONFIG_HOME"} & environment.keys()
    assert (environment["HOME"], environment["OMP_NUM_THREADS"]) == (str(tmp_path), "1")
    assert environment["PATH"] == os.environ["PATH"]


def test_a_changed_or_missing_file_is_named(tmp_path):
    data = b"weights"
    files = {"m": (len(data), hashlib.sha256(data).hexdigest())}
    (tmp_path / "m").write_bytes(data)
    verify(tmp_path, files, "v1")
    (tmp_path / "m").write_bytes(b"weightz")
    with pytest.raises(Failed, match="v1: m is not"):
        verify(tmp_path, files, "v1")
    (tmp_path / "m").unlink()
    with pytest.raises(Failed, match="v1: m is missing"):
        verify(tmp_path, files, "v1")


def test_a_step_that_gives_other_files_the_second_time_is_found(tmp_path):
    path = tmp_path / "record"

    def written(step, sha256):
        return (
            json.dumps({"event": "written", "step": step, "files": {"m": {"size": 1, "sha256": sha256}}})
            + "\n"
        )

    path.write_text(written(2, "a") + written(4, "b") + written(4, "b"))
    assert read_record(path).files == {2: {"m": (1, "a")}, 4: {"m": (1, "b")}}
    path.write_text(written(4, "b") + written(4, "c"))
    with pytest.raises(Failed, match="step 4"):
        read_record(path)


# --- the story --------------------------------------------------------------------------------
def test_a_failed_check_is_reported_and_nothing_stays(tmp_path, monkeypatch):
    def fail(self, seconds):
        (self._repository / "deep").mkdir(parents=True)
        raise Failed("v1: model.safetensors is not what was trained")

    monkeypatch.setattr(story._Story, "tell", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines = []
    assert story.run(lines.append) == 1
    assert lines[-1] == "FAILED: v1: model.safetensors is not what was trained"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        story.run(print, keep=tmp_path)
    with pytest.raises(UserError, match="is a file"):
        story.run(print, keep=tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.slow
def test_the_whole_story_is_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines = []
    assert story.run(lines.append, seconds=0.0) == 0, "\n".join(lines)
    text = "\n".join(lines)
    assert "killed -9 while it committed step" in text
    assert "both runs" in text
    assert lines[-1].startswith("Verified")
    assert list(tmp_path.iterdir()) == []
