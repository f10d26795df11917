"""``mvc demo``."""

import sys
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Option, command


@command("mvc demo", "mvc demo --keep /tmp/story")
def demo(
    call: Call,
    keep: Annotated[str | None, Option("--keep", "Play in this folder, and leave it there.", "DIR")] = None,
) -> int:
    """Play the whole story: train a small model, version it, break it, go back, and compare the cost."""
    from mvc.demo.story import run  # the only command that needs it

    def write(line: str) -> None:
        call.print(line)
        sys.stdout.flush()

    return run(write, keep=None if keep is None else call.context.cwd / keep)
