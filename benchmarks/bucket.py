"""What mvc's way to a bucket costs beside obstore alone, against a real S3 server on this machine.

    python -m benchmarks.bucket [--rounds N] [--megabytes N] [--delay SECONDS]

Each figure is mvc's time divided by bare obstore's for the same objects, taken in turns; the median of all
rounds. Then parts of one object: asked for one after the other, and by ``get_ranges``, through a proxy that
keeps every request waiting for ``--delay``. Times are of this machine, ratios less so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import obstore
from obstore.store import S3Store

from mvc.backends.buckets import open_bucket
from mvc.backends.objectstore import ObjectStoreBackend
from tests.faultproxy import FaultProxy
from tests.servers import BUCKET, KEY, SECRET, Server, started

PARTS, PART_BYTES, PART_STEP = 64, 4096, 300_000


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = perf_counter()
    work()
    return perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bucket", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.02)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, started(Path(place)) as server:
        beside_obstore(server, given.rounds, os.urandom(given.megabytes << 20))
        parts(server, given.rounds, given.delay)


def beside_obstore(server: Server, rounds: int, large: bytes) -> None:
    """Large objects and small ones, both ways."""
    prefix = server.address().rsplit("/", 1)[1]
    ours = backend(server, prefix)
    bare = S3Store(
        BUCKET,
        prefix=prefix,
        endpoint=server.endpoint(),
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    for name, data, count in ((f"{len(large) >> 20} MiB", large, 1), ("2 kB", large[:2000], 100)):
        times: dict[str, list[float]] = {"put": [], "get": []}
        for turn in range(rounds):
            keys = [f"packs/{turn}/{len(data)}-{n}" for n in range(count)]
            put = seconds(lambda keys=keys, data=data: [ours.put(f"{key}.a", [data]) for key in keys])
            put /= seconds(
                lambda keys=keys, data=data: [
                    obstore.put(bare, f"{key}.b", data, mode="create", use_multipart=False) for key in keys
                ]
            )
            got = seconds(lambda keys=keys: [ours.view(f"{key}.a") for key in keys])
            got /= seconds(lambda keys=keys: [obstore.get(bare, f"{key}.b").bytes() for key in keys])
            times["put"].append(put)
            times["get"].append(got)
        for kind, ratios in times.items():
            print(f"{kind} of {count} × {name}: {median(ratios):.2f} × obstore alone")


def parts(server: Server, rounds: int, delay: float) -> None:
    """Small parts of a large object, from afar."""
    with FaultProxy(server.ports[0], delay=delay) as proxy:
        store = backend(server, server.address().rsplit("/", 1)[1], proxy.port)
        store.put("packs/x", [os.urandom(PARTS * PART_STEP)])
        ranges = [(n * PART_STEP, PART_BYTES) for n in range(PARTS)]
        ratios = []
        for _ in range(rounds):
            together = seconds(lambda: store.get_ranges("packs/x", ranges))
            ratios.append(seconds(lambda: [store.get_range("packs/x", *part) for part in ranges]) / together)
    print(
        f"{PARTS} parts, {delay * 1000:.0f} ms each: get_ranges {median(ratios):.1f} × as fast as one by one"
    )


def backend(server: Server, prefix: str, port: int | None = None) -> ObjectStoreBackend:
    """mvc's."""
    return open_bucket("s3", BUCKET, prefix, server.environment(port=port), lambda _path: None)


if __name__ == "__main__":
    main()
