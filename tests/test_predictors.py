"""Every predictor in the table: it repeats itself exactly, and refuses what it cannot read."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from mvc.errors import CorruptObject
from mvc.parallel import ordered_map
from mvc.predictors import PREDICTORS

Bases = list[bytes]
Params = dict[str, Any]


def noise(count: int) -> bytes:
    """So many bytes that are the same for ever: every exponent, infinities and NaNs occur in them."""
    return blake3(b"predictors").digest(length=count)


def near(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


def bf16(*numbers: float) -> bytes:
    return (np.array(numbers, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


MEAN: Params = {
    "from": "BF16",
    "to": "BF16",
    "coefficients": [1.0, 1.0],
    "divisor": 2.0,
    "form": "sum",
    "compute": "F32",
    "fused": False,
}
PRUNE: Params = {"width": 2, "threshold": 0x3F80, "keep_sign": False}
TWO_OF_FOUR: Params = {"width": 2, "keep": 2, "of": 4, "ties": "first", "keep_sign": False}
INT8: Params = {
    "from": "BF16",
    "to": "I8",
    "group": 4,
    "skip": 0,
    "scale": ["absmax", 127.0, "F32"],
    "multiply": False,
    "round": "even",
    "zero": 0,
    "low": -127,
    "high": 127,
    "compute": "F32",
}
BY_ONE: Params = {**INT8, "scale": ["given", 1.0], "group": 2}
LORA: Params = {
    "dtype": "BF16",
    "adapter": "F32",
    "rank": 2,
    "columns": 3,
    "skip": 0,
    "scale": 2.0,
    "compute": "F32",
}
TIES: Params = {"from": "F32", "to": "F32", "thresholds": [0x3F800000, 0x3F800000], "scale": 1.0}

CASES: dict[tuple[str, int], list[tuple[Bases, Params, bytes]]] = {
    ("concat", 1): [
        ([b"abc"], {}, b"abc"),
        ([b""], {}, b""),
        ([b"ab", b"", b"c"], {}, b"abc"),
        ([bytes([i]) for i in range(64)], {}, bytes(range(64))),
    ],
    ("cast", 1): [
        ([near(1.0, -2.0)], {"from": "F32", "to": "BF16"}, bf16(1.0, -2.0)),
        ([near(1.0), near(-2.0)], {"from": "F32", "to": "BF16"}, bf16(1.0, -2.0)),
        # ties go to the even neighbour, too large numbers to infinity, NaNs to one NaN
        (
            [bytes.fromhex("0080803f 0080813f 0180803f ffff7f7f 010080ff")],
            {"from": "F32", "to": "BF16"},
            bytes.fromhex("803f 823f 813f 807f c07f"),
        ),
        (
            [bytes.fromhex("0100 80ff 81ff")],
            {"from": "BF16", "to": "F32"},
            bytes.fromhex("0000010000 0080ff 000081ff"),
        ),
        (
            [near(65504.0, 65520.0, 2.0**-25, -(2.0**-24))],
            {"from": "F32", "to": "F16"},
            bytes.fromhex("ff7b 007c 0000 0180"),
        ),
        ([near(448.0, 464.0, 465.0, -0.001)], {"from": "F32", "to": "F8_E4M3"}, bytes.fromhex("7e 7e 7f 81")),
        ([b""], {"from": "F32", "to": "F16"}, b""),
    ],
    ("linear", 1): [
        ([bf16(1.0, 3.0), bf16(2.0, 5.0)], MEAN, bf16(1.5, 4.0)),
        ([bf16(1.0, 3.0) + bf16(2.0), bf16(5.0)], MEAN, bf16(1.5, 4.0)),
        (
            [bf16(1.0), bf16(3.0)],
            {**MEAN, "coefficients": [1.0, 0.5], "divisor": 1.0, "form": "task"},
            bf16(2.0),
        ),
        (
            [bf16(1.0), bf16(3.0), bf16(5.0)],
            {**MEAN, "coefficients": [1.0, 0.5, 0.25], "divisor": 1.0, "form": "tasks"},
            bf16(3.0),
        ),
        (
            [bf16(1.0), bf16(3.0), bf16(5.0)],
            {**MEAN, "coefficients": [1.0, 0.5, 0.0], "divisor": 1.0, "form": "analogy", "to": "F32"},
            near(0.0),
        ),
        # 1 + 1/256 is a tie of BF16, 1 + 3/256 another
        ([bf16(1.0), bf16(2.0**-8)], {**MEAN, "divisor": 0.5, "compute": "F32"}, bytes.fromhex("0040")),
        ([bf16(1.0), bf16(3 * 2.0**-8)], {**MEAN, "to": "F32", "divisor": 1.0}, near(1 + 3 / 256)),
        (
            [bf16(1.0), bf16(3 * 2.0**-8)],
            {**MEAN, "to": "F32", "divisor": 1.0, "compute": "native"},
            near(1 + 4 / 256),
        ),
    ],
    ("prune", 1): [
        ([bf16(0.5, 1.0, -0.5, -2.0)], PRUNE, bf16(0.0, 1.0, 0.0, -2.0)),
        ([bf16(0.5, 1.0), bf16(-0.5, -2.0)], {**PRUNE, "keep_sign": True}, bf16(0.0, 1.0, -0.0, -2.0)),
        (
            [bytes([1, 0x82, 0x7F, 0xFF])],
            {"width": 1, "threshold": 0x7F, "keep_sign": True},
            bytes([0, 0x80, 0x7F, 0xFF]),
        ),
        ([near(0.5, -1.0)], {"width": 4, "threshold": 0x3F800000, "keep_sign": False}, near(0.0, -1.0)),
    ],
    ("n_of_m", 1): [
        ([bf16(1.0, -3.0, 2.0, 0.5)], TWO_OF_FOUR, bf16(0.0, -3.0, 2.0, 0.0)),
        ([bf16(1.0, -1.0), bf16(1.0, 1.0)], TWO_OF_FOUR, bf16(1.0, -1.0, 0.0, 0.0)),
        ([bf16(1.0, -1.0, 1.0, 1.0)], {**TWO_OF_FOUR, "ties": "last"}, bf16(0.0, 0.0, 1.0, 1.0)),
        (
            [near(-1.0, -2.0)],
            {"width": 4, "keep": 1, "of": 2, "ties": "first", "keep_sign": True},
            near(-0.0, -2.0),
        ),
    ],
    ("quantise", 1): [
        ([bf16(127.0, -1.0, 0.5, 1.5, 0.0, 0.0, 0.0, 0.0)], INT8, bytes([127, 255, 0, 2, 0, 0, 0, 0])),
        # a piece from the middle of the first group into the second
        ([bf16(127.0, -1.0, 0.5, 2.5, 4.0, 2.0, 1.0, 0.0)], {**INT8, "skip": 2}, bytes([0, 2, 127, 64])),
        (
            [bf16(127.0, -1.0, 0.5, 2.5, 4.0, 2.0, 1.0, 0.0)],
            {**INT8, "skip": 1, "round": "away"},
            bytes([255, 1, 3, 127]),
        ),
        (
            [bf16(1.0, 2.0, 3.0, 4.0), near(0.5, 2.0)],
            {**BY_ONE, "scale": ["stored", "F32"]},
            bytes([2, 4, 2, 2]),
        ),
        ([bf16(1.0, 300.0, -300.0, -1.5)], BY_ONE, bytes([1, 127, 129, 254])),
        (
            [bf16(1.0, 300.0, -300.0, -1.5)],
            {**BY_ONE, "zero": 128, "to": "U8", "low": 0, "high": 255},
            bytes([129, 255, 0, 126]),
        ),
        ([bf16(1.0, -1.0, 7.0, -8.0)], {**BY_ONE, "to": "I4", "low": -8, "high": 7}, bytes([0xF1, 0x87])),
        (
            [bf16(1.0, -1.0, 700.0, 0.0)],
            {**BY_ONE, "to": "F8_E4M3", "low": -448, "high": 448},
            bytes.fromhex("38b87e00"),
        ),
        # no numbers and no scale are zero
        ([bytes.fromhex("c07f 807f 80ff 0000")], BY_ONE, bytes([0, 127, 129, 0])),
        ([bf16(0.0, 0.0, 1.0, 2.0)], {**INT8, "group": 2, "multiply": True}, bytes([0, 0, 64, 127])),
        ([], INT8, b""),
    ],
    ("absmax", 1): [
        (
            [near(1.0, -127.0, 0.5, 254.0)],
            {"from": "F32", "to": "F16", "group": 2, "divisor": 127.0},
            bytes.fromhex("003c0040"),
        ),
        ([near(-3.0)], {"from": "F32", "to": "F32", "group": 1, "divisor": 1.0}, near(3.0)),
    ],
    ("q8_0", 1): [
        (
            [near(127.0, -1.5, 0.5, 2.5, *[0.0] * 28)],
            {"from": "F32"},
            bytes.fromhex("003c 7f fe 01 03") + bytes(28),
        ),
        ([bf16(*[0.0] * 32)], {"from": "BF16"}, bytes(34)),
    ],
    ("rows", 1): [
        ([b"abc", b"d"], {"runs": [2, -3, 2]}, b"ab\0\0\0cd"),
        ([b"abc"], {"runs": [-1, 3, -1]}, b"\0abc\0"),
        ([], {"runs": [-2]}, b"\0\0"),
        ([b""], {"runs": []}, b""),
    ],
    ("lora", 1): [
        (
            [bf16(1.0, 1.0, 1.0, 0.0), near(1.0, 2.0, 3.0, 0.0, 1.0, 0.5), near(1.0, 2.0, 0.5, 0.0)],
            LORA,
            bf16(3.0, 9.0, 9.0, 1.0),
        ),
        # from the middle of a row
        (
            [bf16(1.0, 0.0), near(1.0, 2.0, 3.0, 0.0, 1.0, 0.5), near(1.0, 2.0, 0.5, 0.0)],
            {**LORA, "skip": 2},
            bf16(9.0, 1.0),
        ),
        # 1 + 2^-8 + 2^-8: the scaled product is rounded before it is added only where each operation is
        (
            [bf16(1.0), near(1.0), near(1.00390625)],
            {**LORA, "rank": 1, "columns": 1, "scale": 1.0},
            bf16(2.0),
        ),
    ],
    ("ties", 1): [
        # agreed: the mean; against each other: the larger one; trimmed: the other one alone; both: the base
        (
            [near(1.0, 1.0, 1.0, 1.0, -0.0), near(3.0, 3.0, 3.0, 1.5, -0.0), near(5.0, 0.0, 1.5, 0.5, 0.0)],
            TIES,
            near(4.0, 3.0, 3.0, 1.0, -0.0),
        ),
        # a change of just the threshold is kept, the next smaller one is not; equal ones against each other
        # are none
        ([near(0.0, 0.0, 0.0), near(1.0, 0.99999994, 2.0), near(0.0, 0.0, -2.0)], TIES, near(1.0, 0.0, 0.0)),
        (
            [near(0.0, 0.0), near(2.0, -4.0), near(4.0, -8.0)],
            {**TIES, "scale": 0.5, "to": "BF16"},
            bf16(1.5, -3.0),
        ),
        # no number in, no number out; infinities against each other are none either
        (
            [near(0.0, 0.0, 0.0), bytes.fromhex("0100c0ff 0000807f 0000807f"), near(0.0, 0.0, -float("inf"))],
            TIES,
            bytes.fromhex("0000c07f 0000807f 0000c07f"),
        ),
        # three, of which two agree and outweigh the third
        (
            [bf16(1.0), bf16(3.0), bf16(2.0), bf16(-1.0)],
            {**TIES, "from": "BF16", "to": "BF16", "thresholds": [0, 0, 0]},
            bf16(2.5),
        ),
        (
            [np.array([1.0, 2.0]).tobytes(), np.array([1.0 + 2**-40, 4.0]).tobytes()],
            {**TIES, "from": "F64", "to": "F64", "thresholds": [1]},
            np.array([1.0 + 2**-40, 4.0]).tobytes(),
        ),
        ([], TIES, b""),
    ],
}
"""For each predictor: bases, parameters, and the prediction that repositories rely on. Never change one."""

HOSTILE: dict[tuple[str, int], list[Params]] = {
    ("concat", 1): [],
    ("cast", 1): [
        {"from": "BF16"},
        {"to": "F32"},
        {"from": "I8"},
        {"from": b"F32"},
        {"from": ["F32"]},
        {"to": None},
        {"to": "F64"},
    ],
    ("linear", 1): [
        {"coefficients": []},
        {"coefficients": [1.0]},
        {"coefficients": [1.0] * 3},
        {"coefficients": [1.0] * 65},
        {"coefficients": [1, 1]},
        {"coefficients": [1.0, float("nan")]},
        {"coefficients": "ab"},
        {"divisor": 0.0},
        {"divisor": float("inf")},
        {"divisor": True},
        {"form": "task"},
        {"form": "analogy", "divisor": 1.0},
        {"form": "product"},
        {"compute": "F16"},
        {"compute": "F64", "fused": True},
        {"fused": 1},
        {"compute": 1},
        {"from": "Q8_0"},
        {"to": "F32"},
    ],
    ("prune", 1): [
        {"width": 3},
        {"width": 16},
        {"width": True},
        {"threshold": 0},
        {"threshold": 0x8000},
        {"threshold": -1},
        {"threshold": 1.0},
        {"threshold": 1 << 70},
        {"keep_sign": 1},
    ],
    ("n_of_m", 1): [
        {"width": 3},
        {"width": 4},
        {"keep": 0},
        {"keep": 4},
        {"keep": True},
        {"of": 1},
        {"of": 8},
        {"of": 17},
        {"ties": "both"},
        {"keep_sign": None},
    ],
    ("quantise", 1): [
        {"from": "F64"},
        {"from": "F8_E4M3"},
        {"to": "I16"},
        {"group": 0},
        {"group": 3},
        {"group": (1 << 20) + 1},
        {"group": 1 << 20},
        {"skip": -1},
        {"skip": 4},
        {"skip": 1},
        {"scale": "absmax"},
        {"scale": []},
        {"scale": ["absmax", 0.0, "F32"]},
        {"scale": ["absmax", 127, "F32"]},
        {"scale": ["absmax", 127.0, "I8"]},
        {"scale": ["absmax", 127.0]},
        {"scale": ["stored", "F32"]},
        {"scale": ["stored", "I8"]},
        {"scale": ["given", float("nan")]},
        {"scale": ["given", -1.0]},
        {"scale": ["given", 1.0, 1.0]},
        {"multiply": 0},
        {"round": "down"},
        {"zero": 256},
        {"zero": 0.0},
        {"low": -129},
        {"low": 127},
        {"high": 128},
        {"high": -127},
        {"compute": "F64"},
        {"to": "I4"},
        {"to": "F8_E4M3", "zero": 1},
        {"to": "F8_E4M3", "round": "away"},
    ],
    ("absmax", 1): [
        {"from": "F64"},
        {"to": "I8"},
        {"group": 0},
        {"group": 1},
        {"group": 1 << 21},
        {"divisor": 0.0},
        {"divisor": -1.0},
        {"divisor": 127},
        {"divisor": float("inf")},
    ],
    ("q8_0", 1): [{"from": "F16"}, {"from": "F64"}, {"from": 1}],
    ("rows", 1): [
        {"runs": []},
        {"runs": [7]},
        {"runs": [-7]},
        {"runs": [4, -2]},
        {"runs": [4, -3, 0]},
        {"runs": [4.0, -3]},
        {"runs": [True, 3, -3]},
        {"runs": [1 << 70, -(1 << 70), 4, -3]},
        {"runs": [4, 3]},
        {"runs": "4"},
        {"runs": [1] * 5000},
    ],
    ("lora", 1): [
        {"dtype": "F64"},
        {"dtype": "F32"},
        {"adapter": "F8_E4M3"},
        {"adapter": "BF16"},
        {"rank": 0},
        {"rank": 1},
        {"rank": 1025},
        {"columns": 0},
        {"columns": 2},
        {"columns": 1 << 30},
        {"skip": 3},
        {"skip": 2.0},
        {"scale": float("nan")},
        {"scale": 2},
        {"compute": "F64"},
    ],
    ("ties", 1): [
        {"thresholds": []},
        {"thresholds": [0]},
        {"thresholds": [0] * 64},
        {"thresholds": [0, -1]},
        {"thresholds": [0, 1.0]},
        {"thresholds": [0, True]},
        {"thresholds": [0, 1 << 31]},
        {"thresholds": "ab"},
        {"scale": float("nan")},
        {"scale": 1},
        {"from": "I8"},
        {"from": "BF16"},
        {"to": "Q8_0"},
    ],
}
"""Changes to the first case's parameters with which there is no prediction."""

FROZEN: list[tuple[tuple[str, int], list[int | tuple[str, int]], Params, int, str]] = [
    (("cast", 1), [8192], {"from": "F32", "to": "BF16"}, 4096, "b19a29e0e72bea08"),
    (("cast", 1), [8192], {"from": "F32", "to": "F16"}, 4096, "53a25698e4f496f0"),
    (("cast", 1), [8192], {"from": "F32", "to": "F8_E4M3"}, 2048, "1f90910fe288994f"),
    (("cast", 1), [8192], {"from": "F32", "to": "F8_E5M2"}, 2048, "1997b22af4ca945b"),
    (("cast", 1), [8192], {"from": "F64", "to": "F32"}, 4096, "57a83016d2bf436c"),
    (("cast", 1), [8192], {"from": "F64", "to": "BF16"}, 2048, "717104e162ae2ef9"),
    (("cast", 1), [8192], {"from": "F16", "to": "F32"}, 16384, "d8e7ed12c3fcaab1"),
    (("cast", 1), [8192], {"from": "BF16", "to": "F32"}, 16384, "8180ac294b6ab6c9"),
    (("cast", 1), [8192], {"from": "F8_E4M3", "to": "BF16"}, 16384, "64a20f31f9e8c23a"),
    (("cast", 1), [8192], {"from": "F8_E5M2", "to": "F64"}, 65536, "9a5682316a934a3d"),
    (("linear", 1), [8192], MEAN, 4096, "7e8e246110215194"),
    (("linear", 1), [8192], {**MEAN, "compute": "native"}, 4096, "7e8e246110215194"),
    (("linear", 1), [8192], {**MEAN, "from": "F16", "to": "F32", "compute": "F64"}, 8192, "2560b60e404bcb7f"),
    (
        ("linear", 1),
        [6144, 6144],
        {**MEAN, "coefficients": [1.0, 0.6, 0.4], "divisor": 1.0, "form": "task"},
        4096,
        "d9fe94691659b8ba",
    ),
    (
        ("linear", 1),
        [12288],
        {
            "from": "F32",
            "to": "F32",
            "coefficients": [0.3, 0.6, 0.1],
            "divisor": 1.0,
            "form": "tasks",
            "compute": "native",
            "fused": False,
        },
        4096,
        "b3f3491ad1e808a0",
    ),
    (
        ("linear", 1),
        [("BF16", 4096), ("BF16", 4096), ("BF16", 4096)],
        {**MEAN, "coefficients": [0.9, 0.1, 0.7], "fused": True, "divisor": 3.0, "to": "F32"},
        8192,
        "e28934797981ee46",
    ),
    (
        ("linear", 1),
        [("BF16", 4096), ("BF16", 4096), ("BF16", 4096)],
        {
            **MEAN,
            "coefficients": [1.0, 0.3, 0.0],
            "fused": True,
            "divisor": 1.0,
            "form": "analogy",
            "compute": "native",
        },
        4096,
        "fa933bb58f61561f",
    ),
    (
        ("linear", 1),
        [("F32", 4096), ("F32", 4096), ("F32", 4096)],
        {
            "from": "F32",
            "to": "F32",
            "coefficients": [1.0, 0.3, 0.6],
            "fused": True,
            "divisor": 1.0,
            "form": "task",
            "compute": "F32",
        },
        4096,
        "7e7fdfab6c092881",
    ),
    (("prune", 1), [4096], PRUNE, 4096, "53c83ba3edc7d3c9"),
    (("prune", 1), [4096], {"width": 8, "threshold": 1 << 62, "keep_sign": True}, 4096, "14bf4423109876d6"),
    (("n_of_m", 1), [4096], TWO_OF_FOUR, 4096, "5b43976e6ce9d26d"),
    (
        ("n_of_m", 1),
        [4096],
        {"width": 1, "keep": 3, "of": 16, "ties": "last", "keep_sign": True},
        4096,
        "708fc96bf0c3e7ef",
    ),
    (("quantise", 1), [8192], {**INT8, "group": 64}, 4096, "c14d78c7f2cb394c"),
    (("quantise", 1), [("BF16", 8192)], {**INT8, "group": 64}, 4096, "c476d860c13b6d50"),
    (
        ("quantise", 1),
        [("BF16", 8192)],
        {**INT8, "group": 64, "round": "away", "multiply": True},
        4096,
        "be841b195b9b133b",
    ),
    (
        ("quantise", 1),
        [("BF16", 8192)],
        {**INT8, "group": 64, "skip": 63, "compute": "native"},
        4000,
        "587d80af29d86cb1",
    ),
    (
        ("quantise", 1),
        [("F32", 16384), ("F16", 128)],
        {**INT8, "from": "F32", "group": 64, "scale": ["stored", "F16"], "low": -128},
        4096,
        "828dc9e4deddcfd0",
    ),
    (
        ("quantise", 1),
        [("F16", 8192)],
        {**BY_ONE, "from": "F16", "to": "F8_E5M2", "low": -57344, "high": 57344, "scale": ["given", 0.3]},
        4096,
        "d3d3bb76d16cfa3e",
    ),
    (
        ("quantise", 1),
        [("F32", 8192)],
        {
            **INT8,
            "from": "F32",
            "to": "U4",
            "group": 32,
            "zero": 8,
            "low": 0,
            "high": 15,
            "scale": ["absmax", 7.0, "BF16"],
        },
        1024,
        "c058a22a91c2981c",
    ),
    (
        ("absmax", 1),
        [("BF16", 8192)],
        {"from": "BF16", "to": "F16", "group": 64, "divisor": 127.0},
        128,
        "6575b2971391adbf",
    ),
    (
        ("absmax", 1),
        [8192],
        {"from": "F16", "to": "BF16", "group": 16, "divisor": 448.0},
        512,
        "05580202a071c2a3",
    ),
    (("q8_0", 1), [("F32", 8192)], {"from": "F32"}, 2176, "c97fcc9b382d9acc"),
    (("q8_0", 1), [("F16", 8192)], {"from": "F16"}, 4352, "24669e5a578f71fd"),
    (("q8_0", 1), [8192], {"from": "BF16"}, 4352, "b4043ba40914f40c"),
    (("rows", 1), [4096], {"runs": [1000, -96, 3096]}, 4192, "32772c7dadd4744f"),
    (
        ("lora", 1),
        [("BF16", 4000), ("F32", 512), ("F32", 256)],
        {**LORA, "columns": 64, "skip": 32},
        4000,
        "62385af3fffdd04d",
    ),
    (
        ("lora", 1),
        [("BF16", 4000), ("BF16", 384), ("BF16", 192)],
        {**LORA, "rank": 3, "columns": 64, "skip": 32, "compute": "native", "adapter": "BF16"},
        4000,
        "c122dbd206142ced",
    ),
    (("lora", 1), [4000, 512, 256], {**LORA, "columns": 64, "skip": 32}, 4000, "0fbf602ce6741743"),
    (("ties", 1), [12288], {**TIES, "scale": 0.7}, 4096, "b0209b059283a210"),
    (
        ("ties", 1),
        [("BF16", 4096), ("BF16", 4096), ("BF16", 4096), ("BF16", 4096)],
        {"from": "BF16", "to": "F32", "thresholds": [0x3F000000, 0x3F800000, 0], "scale": 0.3},
        8192,
        "c395b6a772aaaf29",
    ),
    (
        ("ties", 1),
        [("F16", 4096), ("F16", 4096), ("F16", 4096)],
        {"from": "F16", "to": "F16", "thresholds": [0x3E800000, 0x3E800001], "scale": 1.0},
        4096,
        "a42625fd414c2d66",
    ),
    (
        ("ties", 1),
        [12288],
        {"from": "F64", "to": "F64", "thresholds": [1 << 62, 0], "scale": 1.3},
        4096,
        "4270911e72eb11a3",
    ),
]
"""For each: lengths of the bases, cut from `noise` (those with a type are numbers of much the same
size); parameters; length of the prediction; the first 16 digits of its BLAKE3. Never change one."""


def cut(lengths: list[int | tuple[str, int]]) -> Bases:
    wanted = [item if isinstance(item, tuple) else ("any", item) for item in lengths]
    data = noise(sum(length for _kind, length in wanted))
    ends = np.cumsum([0, *(length for _kind, length in wanted)]).tolist()
    return [
        tame(data[start:end], kind)
        for (kind, _length), (start, end) in zip(wanted, pairwise(ends), strict=True)
    ]


def tame(data: bytes, kind: str) -> bytes:
    """Numbers from 1/8 to 2, of both signs."""
    if kind == "BF16":
        return ((np.frombuffer(data, "<u2") & 0x81FF) | 0x3E00).tobytes()
    if kind == "F32":
        return ((np.frombuffer(data, "<u4") & 0x81FFFFFF) | 0x3E000000).tobytes()
    if kind == "F16":
        return ((np.frombuffer(data, "<u2") & 0x8FFF) | 0x3000).tobytes()
    return data


def test_every_listed_predictor_has_cases() -> None:
    assert set(CASES) == set(PREDICTORS)
    assert set(HOSTILE) == set(PREDICTORS)
    assert {key for key, *_ in FROZEN} == set(PREDICTORS) - {("concat", 1)}
    for key, predictor in PREDICTORS.items():
        assert key == (predictor.name, predictor.version)


@pytest.mark.parametrize(("key", "case"), [(key, case) for key, list_ in CASES.items() for case in list_])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_predictions_are_for_ever(key, case, kind) -> None:
    bases, params, expected = case
    prediction = PREDICTORS[key].predict([kind(base) for base in bases], params, len(expected))
    assert bytes(prediction).hex() == expected.hex()


@pytest.mark.parametrize(("key", "lengths", "params", "length", "digest"), FROZEN)
def test_predictions_from_any_bits_are_for_ever(key, lengths, params, length, digest) -> None:
    prediction = bytes(PREDICTORS[key].predict(cut(lengths), params, length))
    assert len(prediction) == length
    assert blake3(prediction).hexdigest()[:16] == digest


@pytest.mark.parametrize(("key", "lengths", "params", "length", "digest"), FROZEN)
def test_how_operands_are_cut_into_bases_changes_nothing(key, lengths, params, length, digest) -> None:
    data = b"".join(cut(lengths))
    pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    prediction = bytes(PREDICTORS[key].predict([b"", *pieces, b""], params, length))
    assert blake3(prediction).hexdigest()[:16] == digest


@pytest.mark.parametrize("key", CASES)
def test_what_cannot_be_predicted_from_is_damage(key) -> None:
    bases, params, expected = CASES[key][0]
    with pytest.raises(CorruptObject):
        PREDICTORS[key].predict([], params, len(expected))
    with pytest.raises(CorruptObject):
        PREDICTORS[key].predict(bases, {**params, "unknown": 1}, len(expected))
    for name in params:
        with pytest.raises(CorruptObject):
            PREDICTORS[key].predict(bases, {k: v for k, v in params.items() if k != name}, len(expected))


@pytest.mark.parametrize(
    ("key", "change"), [(key, change) for key, list_ in HOSTILE.items() for change in list_]
)
def test_parameters_out_of_range_are_damage(key, change) -> None:
    bases, params, expected = CASES[key][0]
    with pytest.raises(CorruptObject):
        PREDICTORS[key].predict(bases, params | change, len(expected))


@pytest.mark.parametrize(("key", "lengths", "params", "length", "_digest"), FROZEN)
def test_lengths_that_do_not_fit_are_damage_and_allocate_nothing(
    key, lengths, params, length, _digest
) -> None:
    bases = cut(lengths)
    predict = PREDICTORS[key].predict
    predict(bases, params, length)  # imports and buffers that threads keep
    tracemalloc.start()
    try:
        near_ones = () if key[0] == "quantise" else (length - 1, length + 1)  # bases are whole groups
        for wrong in (0, 1, *near_ones, length // 2, 2 * length, 48 << 20, (48 << 20) - 1):
            with pytest.raises(CorruptObject):
                predict(bases, params, wrong)
        for fewer in (bases[:-1], [*bases, b"\0"], [bases[0][:-1], *bases[1:]]):
            with pytest.raises(CorruptObject):
                predict(fewer, params, length)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("key", "lengths", "params", "length", "_digest"), FROZEN)
def test_predictions_are_the_callers_own(key, lengths, params, length, _digest) -> None:
    """None is a view of a buffer that the next one uses."""
    bases = cut(lengths)
    first = PREDICTORS[key].predict(bases, params, length)
    before = bytes(first)
    PREDICTORS[key].predict([bytes(len(base)) for base in bases], params, length)
    assert bytes(first) == before


def test_threads_do_not_disturb_each_other() -> None:
    rows = 3 * FROZEN

    def digest(row: Any) -> str:
        key, lengths, params, length, _digest = row
        return blake3(bytes(PREDICTORS[key].predict(cut(lengths), params, length))).hexdigest()[:16]

    assert list(ordered_map(digest, rows, workers=4)) == [row[-1] for row in rows]
