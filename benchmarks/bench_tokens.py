"""What each step of ``tokens`` takes for a piece of 1 MiB, and a whole piece and a small tensor.

    python -m benchmarks.bench_tokens [BF16|F16|F32] [--rounds 60]

Made-up weights and a base that moved by 1 %. Milliseconds, the best of some rounds, one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np

from benchmarks.bench_codecs import CHUNK, made_up
from mvc.codecs import native, rans, shares, tokens
from mvc.codecs.plane import Reader
from mvc.dtypes import DTYPES
from mvc.elements import view
from mvc.odb.decoder import decode_chain
from mvc.odb.encoder import encode_tensor
from mvc.odb.estimate import choose, lane

SMALL = 4096
PRECISION = 12
LANES = 64


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dtype", nargs="?", default="BF16", choices=("BF16", "F16", "F32"))
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    dtype, seen = DTYPES[options.dtype], lane(DTYPES[options.dtype])
    chunk = made_up(options.dtype, CHUNK)[0]
    if chunk.base is None:
        raise SystemExit("a piece without a base")
    plain, before, cut = chunk.plain, chunk.base, tokens.Layout(*seen)
    target, base = view(plain, seen.width)[0], view(before, seen.width)[0]
    keep = tokens.kept_bits(seen.width, target.size)
    found, keys, counts, extras = tokens.tokenise(target, base, cut, keep)
    # copies, because the next call uses their memory again
    found, keys, counts, packed = found.copy(), keys.copy(), counts.copy(), memoryview(bytes(extras))
    model, stored = shares.fit(counts, PRECISION)
    model, table = shares.Model(model.contexts.copy(), model.shares.copy()), memoryview(bytes(stored))
    coded = rans.encode(found, keys, model, PRECISION, LANES).copy()
    symbols, out = np.empty_like(found), np.empty(target.nbytes, np.uint8)
    steps: dict[str, Callable[[], object]] = {
        "choose": lambda: choose(plain, seen, before),
        "tokenise": lambda: tokens.tokenise(target, base, cut, keep),
        "fit shares": lambda: shares.fit(counts, PRECISION),
        "rANS encode": lambda: rans.encode(found, keys, model, PRECISION, LANES),
        "read shares": lambda: shares.read(Reader(table), counts.shape[1], PRECISION),
        "keys": lambda: tokens.keys_of(base, cut),
        "rANS decode": lambda: rans.decode(coded, keys, model, PRECISION, LANES, symbols),
        "untokenise": lambda: tokens.untokenise(found, base, keep, packed, out),
    }
    for size in (CHUNK, SMALL):
        whole, beside = plain[:size], before[:size]
        encoded = encode_tensor(whole, dtype, beside)
        used = beside if encoded.used_prediction else None
        steps[f"encode {size}"] = lambda w=whole, b=beside: encode_tensor(w, dtype, b)
        steps[f"decode {size}"] = lambda e=encoded, n=size, u=used: decode_chain(e.chain, e.stored, n, u)
    kernel = "native kernel" if native.available() else "no kernel"
    print(f"{options.dtype}, {kernel}; ms, best of {options.rounds}")
    for name, step in steps.items():
        print(f"  {name:16}{1000 * best(step, options.rounds):8.3f}")


def best(call: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest call."""
    seconds = []
    for _ in range(rounds):
        started = perf_counter()
        call()
        seconds.append(perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
