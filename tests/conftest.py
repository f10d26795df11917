"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import pytest
import servers
from hypothesis import settings

# Before anything imports numpy: tests run side by side, and OpenBLAS' threads would wait for each other. A
# command sets this for itself where it has a process of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples in every run, so that a change is judged by what it changes; `make test-full` looks for
# new ones (--hypothesis-profile=default).
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # so it is for what a shell starts in the background, and children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    """A real S3 server, shared by the tests of a session."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    try:
        servers.weed()
    except servers.Unavailable as reason:
        pytest.skip(str(reason))
    with servers.started(tmp_path_factory.mktemp("seaweed")) as server:
        yield server
