"""Codes bytes with one peer library, in a process of its own, which may run under another Python.

Started with the peer's name. It answers ``{"version": …}``, or ``{"missing": why}`` and ends. Then, for each
line ``{"dtype": …, "width": bytes per element, "length": n}`` with n bytes behind it, one line
``{"size": stored bytes}``: the least of several settings, where the peer has them, or null for a type that
it cannot code. The bytes are decoded again and compared. Imports nothing of this project, which that Python
need not have.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version

ZIPNN_TYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def zipnn_size(module, data, request):
    """Stored bytes; None for types that it has no setting for."""
    kind = ZIPNN_TYPES.get(request["dtype"])
    if kind is None:
        return None

    def coder():
        return module.ZipNN(bytearray_dtype=kind, threads=1)

    coded = coder().compress(bytearray(data))  # it works in place: a copy
    if bytes(coder().decompress(coded)) != data:
        raise SystemExit("zipnn gave other bytes back")
    return len(coded)


def blosc2_size(module, data, request):
    """The less of shuffled and bit-shuffled bytes under zstd."""
    sizes = []
    for kind in (module.Filter.SHUFFLE, module.Filter.BITSHUFFLE):
        settings = {"typesize": request["width"], "codec": module.Codec.ZSTD, "clevel": 9}
        coded = module.compress2(data, filters=[kind], nthreads=1, **settings)
        if module.decompress2(coded) != data:
            raise SystemExit("blosc2 gave other bytes back")
        sizes.append(len(coded))
    return min(sizes)


PEERS = {"zipnn": zipnn_size, "blosc2": blosc2_size}


def main():
    """Answer until there is no more input."""
    name = sys.argv[1]
    # what a library prints while it is imported must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        module = __import__(name)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers)
        return
    print(json.dumps({"version": version(name)}), file=answers)
    source = sys.stdin.buffer
    while line := source.readline():
        request = json.loads(line)
        data = source.read(request["length"])
        print(json.dumps({"size": PEERS[name](module, data, request)}), file=answers)


if __name__ == "__main__":
    main()
