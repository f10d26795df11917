"""Names of low-rank adapters, as the peft library gives them, and the tensors that they belong to."""

from __future__ import annotations

from blake3 import blake3

_PREFIX = "base_model.model."
_FIRST, _SECOND = ".lora_A.", ".lora_B."

FIRST_ADAPTER_KEY = 1 << 63
"""Keys from here on are those of adapters; below are numbers of elements, those of sketches."""


def adapter_module(name: str) -> str | None:
    """The module whose weights a tensor called so adapts, if it is the first (A) of a pair; else None."""
    head, found, _tail = name.partition(_FIRST)
    return head.removeprefix(_PREFIX) if found else None


def partner_name(name: str) -> str:
    """What the second tensor (B) of a pair is called whose first has this name."""
    return name.replace(_FIRST, _SECOND, 1)


def adapter_key(module: str) -> int:
    """The key under which adapters of a module are found in the index of sketches."""
    return FIRST_ADAPTER_KEY | int.from_bytes(blake3(module.encode()).digest(8), "little") >> 1
