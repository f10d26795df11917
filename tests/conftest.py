"""What holds for all tests."""

from __future__ import annotations

import os
import signal

# Before anything imports numpy: tests run side by side, and OpenBLAS' threads would wait for each other. A
# command sets this for itself where it has a process of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # so it is for what a shell starts in the background, and children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
