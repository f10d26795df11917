"""Makes ``codecs.json``: what each codec stored when its version was released.

Run once per new codec or version and commit the result; entries that are there already are kept as they are,
because they stand for repositories in the world. Another release of zstd may store other bytes for the same
input; decoding must not care.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from mvc.codecs import CODECS

TARGET = Path(__file__).with_name("codecs.json")


def noise(seed: str, length: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(length)


def weights(seed: str, width: int, count: int, tail: int = 0) -> bytes:
    """Elements with noisy low bytes, a skewed top byte, and some that are all ones, all zeros or a NaN."""
    low = noise(seed + " low", count * width)
    skew = noise(seed + " skew", count)
    out = bytearray()
    for i in range(count):
        element = bytearray(low[i * width : (i + 1) * width])
        zeros = len(f"{skew[i]:08b}") - len(f"{skew[i]:08b}".lstrip("0"))
        element[-1] = (0x3F - zeros) | (skew[i] & 1) << 7
        out += element
    for i, special in enumerate((b"\x00", b"\xff", b"\x01", b"\x80")):
        out[i * width : (i + 1) * width] = special * width
    return bytes(out) + noise(seed + " tail", tail)


def moved(base: bytes, width: int, seed: str) -> bytes:
    """The base with small steps, and another tail."""
    steps = noise(seed, len(base) // width)
    out = bytearray(base)
    for i, step in enumerate(steps):
        place = slice(i * width, (i + 1) * width)
        value = int.from_bytes(base[place], "little") + (step % 11 - 5) * (1 if i % 3 else 0)
        out[place] = (value % (1 << 8 * width)).to_bytes(width, "little")
    tail = len(base) % width
    return bytes(out[: len(base) - tail]) + noise(seed + " tail", tail)


def cases() -> list[tuple[str, int, dict[str, Any], bytes, bytes | None]]:
    text = b"layers.0.attention.weight layers.1.attention.weight layers.2.mlp.weight " * 20
    out: list[tuple[str, int, dict[str, Any], bytes, bytes | None]] = [
        ("zstd", 1, {}, b"", None),
        ("zstd", 1, {}, text, None),
        ("zstd", 1, {"dictionary": True}, text + noise("head", 300), noise("head", 300) + text),
        ("zstd", 1, {"dictionary": True}, text, b""),
        ("zstd", 1, {"dictionary": True}, text, b"\x37\xa4\x30\xec" + text),  # magic of a trained dictionary
    ]
    for width in (1, 2, 4, 8):
        odd = width - 1
        plain = weights(f"rot {width}", width, 300, odd)
        out.append(("rot", 1, {"width": width}, plain, None))
        low = {1: 0, 2: 5, 4: 21, 8: 50}[width]
        half = bytes(len(plain) // 2) + plain[len(plain) // 2 :]
        for data in (plain, half, noise(f"wild {width}", 3001), bytes(4000), noise("short", odd)):
            out.append(("buckets", 1, {"width": width, "low": low}, data, None))
        planes = {"width": width, "block": 4096}
        out += [
            ("planes", 1, planes, weights(f"planes {width}", width, 5000 // width, odd), None),
            ("planes", 1, planes, bytes(b % 16 if b < 250 else b for b in noise("small", 4999)), None),
            ("planes", 1, planes, b"\x07" * 5001, None),
            ("planes", 1, planes, noise("noise", 4096), None),
            ("planes", 1, planes, noise("short", odd), None),
        ]
    for width, shift, bits in (
        (1, 3, 4),
        (2, 7, 8),
        (2, 10, 5),
        (2, 0, 0),
        (4, 23, 8),
        (8, 52, 11),
        (8, 0, 0),
    ):
        base = weights(f"ig {width}", width, 4500 // width, width - 1)
        params = {"width": width, "shift": shift, "bits": bits, "block": 4096}
        step = moved(base, width, f"step {width}")
        out.append(("ig", 1, params, step, base))
        params = {"width": width, "shift": shift, "bits": bits}
        masked = bytes(len(step) // 2) + step[len(step) // 2 :]
        out += [
            ("tokens", 1, params, masked, base),
            ("tokens", 1, params, noise(f"far {width}", len(base)), base),
            ("tokens", 1, params, base, base),
            ("tokens", 1, params, base[: width - 1], base[: width - 1]),
        ]
    return out


def encode64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def main() -> None:
    kept = json.loads(TARGET.read_text()) if TARGET.exists() else []
    done = {(v["name"], v["version"]) for v in kept}
    for name, version, params, plain, prediction in cases():
        if (name, version) in done:
            continue
        stored = bytes(CODECS[name, version].encode(plain, params, prediction))
        kept.append(
            {
                "name": name,
                "version": version,
                "params": params,
                "plain": encode64(plain),
                "prediction": encode64(prediction),
                "stored": encode64(stored),
            }
        )
    TARGET.write_text(json.dumps(kept, indent=0) + "\n")


if __name__ == "__main__":
    main()
