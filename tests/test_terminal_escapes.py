"""What a file, a message or a setting says never reaches the terminal as control characters: every
command that prints, on names, messages, authors, metrics and tensor names that are full of them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mvc.cli.main import main
from mvc.objects import Person
from mvc.ops.commit import Request, commit
from tests.engine import make_repository, now
from tests.make_files import npy_bytes, onnx_bytes, onnx_tensor, safetensors_bytes

EVIL = "a\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066\r\x08b"
"""Clears the screen, names the window, colours by C1, turns the direction, writes over what stands there."""

PRINTING = [
    ["status"],
    ["log"],
    ["log", "--stat"],
    ["log", "--oneline", "--graph"],
    ["log", "--json"],
    ["log", "--format", "%an %s %b"],
    ["show"],
    ["show", "--json"],
    ["show", "HEAD:model.safetensors"],
    ["ls"],
    ["ls", "--tensors"],
    ["ls", "--json", "--tensors"],
    ["diff", "HEAD~1", "HEAD"],
    ["diff", "HEAD~1", "HEAD", "--json"],
    ["diff", "HEAD~1", "HEAD", "--explain"],
    ["blame", "model.safetensors"],
    ["blame", "notes.txt"],
    ["grep", "a"],
    ["stats"],
    ["oplog"],
    ["branch"],
    ["tag"],
    ["notes"],
    ["estimate", "."],
    ["fsck", "--full"],
    ["config", "--list"],
    ["checkout", EVIL],
    ["show", f"HEAD:{EVIL}"],
    ["diff", EVIL],
    [EVIL],
    ["log", "--author", EVIL],
    ["commit", "--allow-empty", "-m", EVIL, "--author", f"{EVIL} <a@b.c>"],
    ["gc"],
]


def _is_harmless(character: str) -> bool:
    return character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def test_no_control_character_reaches_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    work = tmp_path / "work"
    repository = make_repository(work)
    for step in (1, 2):
        data = bytes([step] * 8)
        weights = {EVIL: ("F32", (2,), data), "plain": ("F32", (2,), data)}
        (work / "model.safetensors").write_bytes(safetensors_bytes(weights, {EVIL: EVIL}))
        (work / "model.onnx").write_bytes(onnx_bytes((5, onnx_tensor(EVIL, "F32", (2,), data))))
        (work / "x.npy").write_bytes(npy_bytes(__import__("numpy").arange(step)))
        (work / "notes.txt").write_text(f"{EVIL} {step}\n" * 3)
        (work / "config.json").write_text('{"model_type": "\\u001b[2J", "architectures": ["\\u009b1m"]}')
        commit(
            repository,
            Request(f"{EVIL}\n\n{EVIL}", Person(EVIL, EVIL), now(), metrics={EVIL: 1.5}, params={EVIL: EVIL}),
        )
    (work / "untracked\x1b[2J").write_bytes(b"bad name")
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in PRINTING:
        capfdbinary.readouterr()
        code = main(words)
        out, err = (text.decode() for text in capfdbinary.readouterr())
        assert code in (0, 1, 2, 3, 4), (words, code, err)
        assert "Traceback" not in err
        bad = [character for character in out + err if not _is_harmless(character)]
        assert not bad, (words, bad[:5], (out + err)[:400])
