"""``mvc gc``."""

from dataclasses import asdict
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Option, command
from mvc.errors import UsageError
from mvc.ops.gc import UNDO_DAYS, Collected, Request
from mvc.ops.gc import gc as collect
from mvc.text import count, size

_NOTABLE = 1.01
"""By how much a store must grow for it to need a word."""


@command(
    "mvc gc",
    "mvc gc --dry-run",
    "mvc gc --expire now",
    "mvc gc --repack",
    exits=("4 another gc is running", "5 something needed is missing or damaged; nothing was thrown away"),
    data="An object: dry_run; before and after (in a dry run as far as it can be foreseen): records, packs, "
    "segments, bytes; garbage: records and bytes that nothing needs; expired_operations; freed_bytes; "
    "waiting_bytes (condemned, and still used by another command).",
)
def gc(
    call: Call,
    repack: Annotated[
        bool, Option("--repack", "Store everything anew: newest versions alone, older ones as differences.")
    ] = False,
    best: Annotated[bool, Option("--best", "As --repack, and take the time to make it small.")] = False,
    expire: Annotated[
        str | None, Option("--expire", "Forget what was undone that many days ago, or all of it.", "DAYS|now")
    ] = None,
    dry_run: Annotated[bool, Option("-n --dry-run", "Change nothing; tell what would go.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> None:
    """Throw away what nothing needs any more, and join small files of the store.

    What a branch, a tag, HEAD, a file of the folder or an operation of the last 30 days (the setting
    gc.undo-days) leads to stays; other commands may run meanwhile. Older operations leave the operation log
    and cannot be undone any more.

    After --repack a version that a branch or HEAD names is read without any other; older ones are differences
    from those. The setting gc.standalone = refs has it so for tags too, which takes more room.
    """
    days = _days(call, expire)
    alone = (config.string("gc.standalone") for config in call.settings())
    all_refs = next((wish for wish in alone if wish is not None), "heads") == "refs"
    request = Request(call.now(), days, dry_run, repack or best, best, all_refs)
    done = collect(call.repository, request)
    if json:
        freed = done.before.bytes - done.after.bytes
        call.data({"dry_run": dry_run, **asdict(done), "freed_bytes": freed})
        return
    for line in _lines(done, dry_run):
        call.report(line)
    if request.repack and done.after.bytes > _NOTABLE * done.before.bytes:
        call.report("what branches name is read without older versions now, which takes more room")


def _days(call: Call, text: str | None) -> int:
    if text is None:
        wishes = (config.count("gc.undo-days") for config in call.settings())
        return next((wish for wish in wishes if wish is not None), UNDO_DAYS)
    if text != "now" and not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"--expire takes a number of days or now, not {text!r}", hint="for example --expire 7"
        )
    return 0 if text == "now" else int(text)


def _lines(done: Collected, dry_run: bool) -> list[str]:
    before, after = done.before, done.after
    gone, freed = count(done.garbage.records, "record"), size(max(before.bytes - after.bytes, 0))
    told = [f"would remove {gone}, about {freed}" if dry_run else f"removed {gone}, {freed} freed"]
    if done.expired_operations:
        verb = "would leave" if dry_run else "left"
        told.append(f"{count(done.expired_operations, 'operation')} {verb} the operation log")
    told += [
        f"{name:8s} {getattr(before, name):>10,} -> {getattr(after, name):,}"
        for name in ("records", "packs", "segments")
    ]
    told.append(f"stored   {size(before.bytes):>10s} -> {size(after.bytes)}")
    if done.waiting_bytes:
        told.append(f"{size(done.waiting_bytes)} wait for other commands that may be reading them")
    return told
