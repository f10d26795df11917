"""What holds for all tests."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # so it is for what a shell starts in the background, and children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
