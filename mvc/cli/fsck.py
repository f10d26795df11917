"""``mvc fsck``."""

from dataclasses import asdict
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Option, command
from mvc.errors import DamageError
from mvc.ops.fsck import fsck as check
from mvc.text import count, one_line
from mvc.upkeep.check import damage_lines


@command(
    "mvc fsck",
    "mvc fsck --full",
    exits=("5 something is missing or wrong",),
    data="An object: sound, full, commits, files, objects, records, packs (how many were looked at), and "
    "damage: what, how, needed_by.",
)
def fsck(
    call: Call,
    full: Annotated[bool, Option("--full", "Decode and hash everything, files too.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> int:
    """Check that everything stored is there and sound.

    The quick check reads index, versions and file lists, and looks that every piece has its place. With
    --full every byte is read, decoded and hashed.
    """
    report = check(call.repository, full=full)
    if json:
        call.data({"sound": not report.damage, "full": full, **asdict(report)})
        return DamageError.exit_code if report.damage else 0
    looked = [count(report.commits, "version"), count(report.files, "file"), count(report.objects, "object")]
    if full:
        looked += [count(report.records, "record"), count(report.packs, "pack")]
    call.report(f"checked {', '.join(looked)}")
    for line in damage_lines(report):
        call.print(call.paint(one_line(line), "red"))
    if report.damage:
        call.report(f"{count(len(report.damage), 'problem')} found")
        return DamageError.exit_code
    call.report("everything is there and sound" if full else "nothing is missing; --full checks every byte")
    return 0
