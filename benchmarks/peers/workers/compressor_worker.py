"""Compresses files one by one: ``compressor_worker.py PLACE PACKAGE`` line by line, or one line as last word.

Runs in the peers' environment, so it imports nothing of this project.
"""

import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")  # torch, which zipnn imports, warns of itself


def zipnn_codec():
    """ZipNN's functions; it writes into what it is given, so it gets memory of its own."""
    import zipnn

    coder = zipnn.ZipNN(bytearray_dtype="bfloat16")
    return coder.compress, coder.decompress


def blosc2_codec():
    """Blosc2's functions; it takes up to 2 GiB at once."""
    import blosc2

    settings = {"typesize": 2, "codec": blosc2.Codec.ZSTD, "filters": [blosc2.Filter.SHUFFLE]}
    return lambda data: blosc2.compress2(bytes(data), **settings), blosc2.decompress2


def main() -> None:
    """Do as told."""
    place = Path(sys.argv[1])
    compress, decompress = {"zipnn": zipnn_codec, "blosc2": blosc2_codec}[sys.argv[2]]()
    model = place / "work" / "model"
    for line in sys.argv[3:] or iter(sys.stdin.readline, ""):
        verb, _, number = line.strip().partition(" ")
        folder = place / "store" / number
        began = time.perf_counter()
        source, target, change = (
            (model, folder, compress) if verb == "commit" else (folder, model, decompress)
        )
        if verb != "ready":
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                new = target / path.relative_to(source)
                new.parent.mkdir(parents=True, exist_ok=True)
                data = bytearray(path.read_bytes())
                new.write_bytes(change(data) if data else b"")
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
