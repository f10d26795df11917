"""``mvc cat``."""

import sys
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, command
from mvc.ops.cat import cat as read_pieces


@command(
    "mvc cat HEAD~1:config.json",
    "mvc cat 'v1.0:model.safetensors#lm_head.weight' > lm_head.bin",
    anywhere=True,
)
def cat(
    call: Call,
    what: Annotated[
        str, Argument("REV:PATH", "A file of a version; with #TENSOR behind it, one tensor's bytes.")
    ],
) -> None:
    """Write a file of a version, or one tensor of it, to standard output, as it is."""
    out = sys.stdout.buffer
    with call.store.reading() as view:
        for piece in read_pieces(view, call.revision(what)):
            out.write(piece)
        out.flush()
