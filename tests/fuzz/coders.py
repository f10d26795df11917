"""Every codec and predictor of the tables, and chains of them as records name them."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import msgpack

from mvc.codecs import CODECS, Step
from mvc.errors import CorruptObject, UnsupportedFeature
from mvc.odb.decoder import decode_chain, decode_chain_into
from mvc.predictors import PREDICTORS
from tests.fuzz.target import Target
from tests.test_codecs import PARAMS, near, raw
from tests.test_predictors import CASES

_MOST = 1 << 16  # bytes that come out

Key = tuple[str, int]


# --- codecs ------------------------------------------------------------------------------------------------
def _prediction(length: int) -> bytes:
    """The same for the same length; weights, as far as a codec can tell."""
    return (b"\x12\x3c\x80\xbf\x00\x01\x02\x3f" * (length // 8 + 1))[:length]


def _decode(key: Key, data: bytes) -> None:
    """An input is which parameters (1), the plain length (2), and the stored bytes."""
    if len(data) < 3:
        return
    params = PARAMS[key][data[0] % len(PARAMS[key])]
    length = int.from_bytes(data[1:3], "little")
    prediction = _prediction(length)
    try:
        plain = CODECS[key].decode(data[3:], params, prediction, length)
    except CorruptObject:
        return
    assert memoryview(plain).nbytes == length
    # What was accepted is a value like any other, and survives the way there and back.
    stored = raw(CODECS[key].encode(plain, params, prediction))
    assert raw(CODECS[key].decode(stored, params, prediction, length)) == raw(plain)


def _codec_seeds(key: Key) -> list[bytes]:
    seeds = []
    for number, params in enumerate(PARAMS[key]):
        for length in (0, 1, 67, 4097):
            prediction = _prediction(length)
            for plain in (near(prediction), random.Random(length).randbytes(length), bytes(length)):
                stored = raw(CODECS[key].encode(plain, params, prediction))
                seeds.append(bytes([number]) + length.to_bytes(2, "little") + stored)
    return seeds


# --- chains ------------------------------------------------------------------------------------------------
def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return None


def _chain(data: bytes) -> None:
    """An input is a msgpack array: steps, plain length, whether there is a prediction, stored bytes."""
    match _unpacked(data):
        case [[*steps], int(length), bool(predicted), bytes(stored)] if (
            type(length) is int and length <= _MOST
        ):
            pass
        case _:
            return
    if not all(isinstance(step, list) and len(step) == 4 for step in steps):
        return
    chain = tuple(Step(*step) for step in steps)
    prediction = _prediction(length) if predicted and length > 0 else None
    try:
        plain: bytes | None = raw(decode_chain(chain, stored, length, prediction))
    except (CorruptObject, UnsupportedFeature):
        plain = None
    else:
        assert len(plain) == length
    if length < 0:
        return
    out = bytearray(length)
    try:
        decode_chain_into(chain, stored, memoryview(out), prediction)
    except (CorruptObject, UnsupportedFeature):
        assert plain is None
    else:
        assert out == plain


def _chain_seeds() -> list[bytes]:
    seeds = [msgpack.packb([[], 3, False, b"abc"])]
    for key, listed in PARAMS.items():
        for params in listed[::3]:
            for length in (67, 4097):
                prediction = _prediction(length)
                stored = raw(CODECS[key].encode(near(prediction), params, prediction))
                step = [*key, params, len(stored)]
                seeds.append(msgpack.packb([[step], length, True, stored]))
                width = params.get("width", 1)
                planes = {"width": width, "block": 4096}
                if key[0] in ("rot", "ig") and len(stored) % width == 0:
                    split = raw(CODECS["planes", 1].encode(stored, planes, None))
                    chain = [step, ["planes", 1, planes, len(split)]]
                    seeds.append(msgpack.packb([chain, length, True, split]))
    return seeds


# --- predictors --------------------------------------------------------------------------------------------
def _predict(key: Key, data: bytes) -> None:
    """An input is a msgpack array: parameters, length, bases."""
    match _unpacked(data):
        case [dict(params), int(length), [*bases]] if type(length) is int and 0 <= length <= _MOST:
            pass
        case _:
            return
    if not all(isinstance(base, bytes) for base in bases):
        return
    try:
        predicted = raw(PREDICTORS[key].predict(bases, params, length))
    except (CorruptObject, UnsupportedFeature):
        return
    # What stands end to end may be a dictionary, which is as long as it is.
    assert len(predicted) == length or key[0] == "concat"
    assert raw(PREDICTORS[key].predict(bases, params, length)) == predicted


def _predictor_seeds(key: Key) -> list[bytes]:
    return [msgpack.packb([params, len(made), bases]) for bases, params, made in CASES[key]]


TARGETS = [
    *(Target(f"codec:{key[0]}", partial(_decode, key), partial(_codec_seeds, key)) for key in PARAMS),
    Target("chain", _chain, _chain_seeds),
    *(Target(f"predictor:{key[0]}", partial(_predict, key), partial(_predictor_seeds, key)) for key in CASES),
]
