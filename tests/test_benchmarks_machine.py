"""The description of a machine says what a reader needs, and not whose machine it is."""

from __future__ import annotations

import getpass
import json
import platform

from benchmarks.machine import describe, sentence


def test_it_names_cores_python_and_versions(tmp_path) -> None:
    found = describe(tmp_path)
    assert isinstance(found["cores"], int)
    assert found["cores"] >= 1
    assert found["python"] == platform.python_version()
    assert found["numpy"]
    json.dumps(found)


def test_it_names_neither_host_nor_user_nor_folder(tmp_path) -> None:
    text = sentence(describe(tmp_path))
    assert str(tmp_path) not in text
    assert platform.node() not in text.split()
    assert getpass.getuser() not in text.split()


def test_what_is_unknown_is_left_out() -> None:
    assert sentence({"cores": 2, "memory GiB": None, "zipnn": None, "numpy": "2.0"}) == "2 cores, numpy 2.0"
