"""``mvc fsck``."""

import re
import secrets
from dataclasses import asdict
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.damage import advice, block, damage_lines
from mvc.cli.declare import Option, command
from mvc.errors import DamageError, UsageError
from mvc.ops.fsck import fsck as check
from mvc.text import count, size
from mvc.upkeep.check import Report
from mvc.upkeep.sample import Wish

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SAMPLE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(%|[kKMGT]?B)")


@command(
    "mvc fsck",
    "mvc fsck --full",
    "mvc fsck --sample 5%",
    "mvc fsck --sample 200MB --seed 7",
    "mvc fsck --full --remote origin",
    exits=("5 something is missing or wrong",),
    data="An object: sound, full, commits, files, objects, records, packs (how many were looked at); "
    "purged (objects gone on purpose); elsewhere and elsewhere_bytes (pieces that a partial clone left "
    "out, and what they take when read), shallow (versions whose earlier history it left out); "
    "sample: null, or seed, records, of_records, bytes, of_bytes; damage, as it was met: what, how, "
    "needed_by, object (an id or nothing); damaged, for each damaged object: kind, id, how, readable "
    "(another record of it is sound), dependants (objects lost with it), touched. That has versions "
    "(count, newest, oldest, ids; of more than 100 the first and last 50), refs that lead there, "
    "operations that do where no ref does, file_count, and files (1,000 at most): path (ending in a "
    "slash: a folder), versions, bytes (pairs of first byte and the one behind the last; none: all "
    "of it), tensors: name, bytes (from the tensor's beginning).",
)
def fsck(
    call: Call,
    full: Annotated[bool, Option("--full", "Decode and hash everything, files too.")] = False,
    sample: Annotated[
        str | None,
        Option("--sample", "Decode and hash so much, drawn at random from every pack.", "PERCENT|SIZE"),
    ] = None,
    seed: Annotated[int | None, Option("--seed", "Draw as the run that printed this seed.", "N")] = None,
    remote: Annotated[
        str | None, Option("--remote", "Check the store of a remote instead.", "REMOTE")
    ] = None,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> int:
    """Check that everything stored is there and sound.

    The quick check reads index, versions and file lists, and looks that every piece has its place. With
    --full every byte is read, decoded and hashed; with --sample a share of the records is, as 5% or 200MB.

    Each damaged object is named with the versions, files and tensors that it touches, those included that
    are stored as differences from it.
    """
    with call.store_at(remote) as store:
        report = check(store, full=full, sample=_wish(full, sample, seed))
    if json:
        call.data({"sound": not report.damage, "full": full, **asdict(report)})
        return DamageError.exit_code if report.damage else 0
    looked = [count(report.commits, "version"), count(report.files, "file"), count(report.objects, "object")]
    if full:
        looked += [count(report.records, "record"), count(report.packs, "pack")]
    call.report(f"checked {', '.join(looked)}")
    if report.purged:
        call.report(f"{count(report.purged, 'object')} gone on purpose; mvc purge --list tells of them")
    if report.elsewhere:
        left = f"{count(report.elsewhere, 'piece')}, {size(report.elsewhere_bytes)} when read,"
        call.report(f"{left} left with the store that was cloned; what is read of them is fetched")
    if report.shallow:
        call.report(
            f"history ends at {count(report.shallow, 'version')}; mvc fetch --unshallow brings the rest"
        )
    if report.sample is not None:
        drawn = report.sample
        share = f"{drawn.records:,} of {count(drawn.of_records, 'record')} ({_percent(report)})"
        parts = f"{size(drawn.bytes)} of {size(drawn.of_bytes)}"
        call.report(f"decoded {share}, {parts}; --seed {drawn.seed} draws the same")
    if report.damage:
        _tell(call, report)
        return DamageError.exit_code
    call.report(_verdict(full, report))
    return 0


def _wish(full: bool, sample: str | None, seed: int | None) -> Wish | None:
    """What --sample and --seed ask for."""
    if sample is None:
        if seed is not None:
            raise UsageError("--seed says what --sample draws", hint="for example --sample 5% --seed 7")
        return None
    if full:
        raise UsageError("--full checks everything, and --sample a share of it", hint="give one of them")
    match = _SAMPLE.fullmatch(sample.strip())
    number = float(match[1]) if match else 0.0
    percent = match is not None and match[2] == "%"
    if match is None or number <= 0 or (percent and number > 100):
        raise UsageError(
            f"--sample takes a share or a size, not {sample!r}",
            hint="for example --sample 5% or --sample 200MB",
        )
    drawn = seed if seed is not None else secrets.randbelow(1_000_000)
    if percent:
        return Wish(number / 100, None, drawn)
    return Wish(None, max(int(number * _UNITS[match[2].upper()]), 1), drawn)


def _percent(report: Report) -> str:
    assert report.sample is not None
    return f"{100 * report.sample.records / max(report.sample.of_records, 1):.3g} %"


def _verdict(full: bool, report: Report) -> str:
    if full:
        return "everything is there and sound"
    if report.sample is not None:
        return "nothing is missing, and what was decoded is sound; --full checks every byte"
    return "nothing is missing; --full checks every byte"


def _tell(call: Call, report: Report) -> None:
    lines = list(damage_lines(report))
    for line in lines:
        call.print(call.paint(line, "red"))
    for item in report.damaged:
        if not item.readable and not item.touched.is_needed:
            continue
        head, *rest = block(item)
        call.print("")
        call.print(call.paint(head, "red"))
        for line in rest:
            call.print(line)
    hidden = sum(not item.readable and not item.touched.is_needed for item in report.damaged)
    if hidden:
        call.print("")
        call.print(
            f"{count(hidden, 'object')} more, to which nothing that can be read leads; --json lists them"
        )
    objects = count(len(report.damaged), "damaged object")
    call.report(f"{objects}; {count(len(lines), 'other problem')}" if lines else objects)
    for line in advice(report):
        call.report(line)
