"""What imports read of other tools: objects of Git, pointers of git-lfs, files of DVC, results."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mvc.errors import UserError
from mvc.origins.dvc import caches, read_folder, read_outs
from mvc.origins.git_objects import parse_commit, parse_tag, parse_tree
from mvc.origins.lfs import read_pointer
from mvc.origins.results import READERS, metrics
from mvc.origins.series import place
from tests.fuzz.target import Target


def _git(data: bytes) -> None:
    for parse in (parse_commit, parse_tag, lambda item: parse_tree(item, 20)):
        with contextlib.suppress(UserError):
            parse(data)
    read_pointer(data)


def _dvc(data: bytes) -> None:
    with contextlib.suppress(UserError):
        found = read_outs("a/b.dvc", data)
        assert all(not out.path.startswith(("/", "../")) for out in found.outs)
    with contextlib.suppress(UserError):
        read_outs("dvc.lock", data, data)
    with contextlib.suppress(UserError):
        read_folder(data)
    with contextlib.suppress(UserError):
        caches([data.decode("utf-8", "replace")], Path("/nowhere"))


def _names(data: bytes) -> None:
    names = data.decode("utf-8", "surrogateescape").split("\n")
    assert all(one.path for one in place(names))
    for name in READERS:
        metrics(name, data)


def _git_seeds() -> list[bytes]:
    commit = b"tree " + b"0" * 40 + b"\nauthor A <a@b> 1600000000 +0130\nencoding latin1\n\nmessage\n"
    tag = b"object " + b"0" * 40 + b"\ntype commit\ntag v1\ntagger A <a@b> 1 -0100\n\nwhy\n"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n"
    return [commit, tag, b"100644 name\0" + bytes(20) + b"40000 d\0" + bytes(20), pointer]


def _dvc_seeds() -> list[bytes]:
    md5 = b"0" * 32
    lock = (
        b"schema: '2.0'\nstages:\n  a:\n    cmd: x\n    outs:\n    - path: y\n      md5: " + md5 + b".dir\n"
    )
    return [
        b"wdir: ..\nouts:\n- md5: " + md5 + b'\n  hash: md5\n  path: "m"\n',
        lock,
        b'[{"md5": "' + md5 + b'", "relpath": "a"}]',
        b"[cache]\ndir = x\n['remote \"a\"']\nurl = ../b\n",
    ]


def _name_seeds() -> list[bytes]:
    return [
        b"checkpoint-5\ncheckpoint-10\nfinal",
        b"v01_2024-07-09_x.onnx\nv02_2025-08-25_x.onnx",
        b'{"global_step": 3, "log_history": [{"loss": 1.5}], "a": {"b": 2}}',
    ]


TARGETS = [
    Target("import git", _git, _git_seeds),
    Target("import dvc", _dvc, _dvc_seeds),
    Target("import names", _names, _name_seeds),
]
