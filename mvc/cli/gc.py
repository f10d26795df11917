"""``mvc gc``."""

from dataclasses import asdict
from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Option, command
from mvc.cli.text import iso
from mvc.errors import DamageError, UsageError
from mvc.objects import Timestamp
from mvc.ops.gc import (
    GRACE_HOURS,
    TRASH_DAYS,
    UNDO_DAYS,
    Collected,
    Request,
    Returned,
    empty_trash,
    gc_store,
    undo_gc,
)
from mvc.ops.gc import gc as collect
from mvc.text import count, size

_OTHERS = "other commands that may be reading them"

_NOTABLE = 1.01
"""By how much a store must grow for it to need a word."""


@command(
    "mvc gc",
    "mvc gc --dry-run",
    "mvc gc --expire now",
    "mvc gc --repack",
    "mvc gc --undo",
    "mvc gc --remote origin",
    exits=(
        "1 --undo: there is nothing in the trash",
        "4 another gc, a repair or a purge is running",
        "5 something needed is missing or damaged, and nothing was thrown away; "
        "--undo: something could not be brought back",
    ),
    data="An object: dry_run; before and after (in a dry run as far as it can be foreseen): records, packs, "
    "segments, bytes (of what versions need), disk_bytes (allocated for .mvc without the trash), trash_bytes "
    "(allocated for the trash); garbage: records and bytes that nothing needs; expired_operations; "
    "freed_bytes; freed_disk_bytes; waiting_bytes (condemned, and still used by another command). "
    "--undo: dry_run; time (of the gc that is undone, or null); objects, bytes and "
    "operations that came back; lost (objects) and lost_operations, which could not and stay in the trash. "
    "--empty-trash: freed_disk_bytes.",
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
    undo: Annotated[bool, Option("--undo", "Bring back what the last gc threw away.")] = False,
    empty: Annotated[bool, Option("--empty-trash", "Delete for good what gc threw away.")] = False,
    no_trash: Annotated[bool, Option("--no-trash", "Throw away for good, at once.")] = False,
    remote: Annotated[
        str | None, Option("--remote", "Collect the garbage of a remote's store instead.", "REMOTE")
    ] = None,
    grace: Annotated[
        int | None,
        Option("--grace", "In a bucket: delete what was condemned so long ago.", "HOURS"),
    ] = None,
    dry_run: Annotated[bool, Option("-n --dry-run", "Change nothing; tell what would go.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> int:
    """Throw away what nothing needs any more, and join small files of the store.

    What a branch, a tag, HEAD, a file of the folder or an operation of the last 90 days (the setting
    gc.undo-days) leads to stays; other commands may run meanwhile. Older operations leave the operation log
    and cannot be undone any more.

    All that goes lies in the trash for 7 days (the setting gc.trash-days), until a later gc or --empty-trash
    deletes it: only then does the disk get the room back. --undo brings back what the last gc took, objects
    and operations; again, what the one before took. What comes back goes with the next gc, if nothing leads
    to it then.

    With --remote it is the store that others share, a folder or a bucket, which has no trash: there only what
    its own branches, tags and log lead to stays. In a bucket nobody can be asked who reads it, so what goes
    is only marked, and deleted by a gc 24 hours later (the setting gc.grace-hours, or --grace). Pushes
    meanwhile lose nothing; one whose packs were marked sends those again.

    After --repack a version that a branch or HEAD names is read without any other; older ones are differences
    from those. The setting gc.standalone = refs has it so for tags too, which takes more room.
    """
    _refuse_together(repack or best, expire is not None, no_trash, undo=undo, empty=empty, dry_run=dry_run)
    if (remote is not None and (undo or empty or no_trash)) or (remote is None and grace is not None):
        raise UsageError("a store that others share has no trash, and only a bucket a grace")
    if grace is not None and grace < 0:
        raise UsageError("--grace takes hours")
    if undo:
        return _undo(call, dry_run, json)
    if empty:
        freed = empty_trash(call.repository)
        if json:
            call.data({"freed_disk_bytes": freed})
        else:
            call.report(f"emptied the trash, {size(freed)} of the disk freed")
        return 0
    days = _days(call, expire)
    alone = (config.string("gc.standalone") for config in call.settings())
    all_refs = next((wish for wish in alone if wish is not None), "heads") == "refs"
    trash_days = _setting(call, "gc.trash-days", TRASH_DAYS)
    hours = _setting(call, "gc.grace-hours", GRACE_HOURS) if grace is None else grace
    request = Request(
        call.now(), days, dry_run, repack or best, best, all_refs, trash_days, not no_trash, hours
    )
    if remote is None:
        done = collect(call.repository, request)
    else:
        with call.store_at(remote) as store:
            done = gc_store(store, request)
    if json:
        freed = done.before.bytes - done.after.bytes
        disk = done.before.disk_bytes - done.after.disk_bytes
        told = {"dry_run": dry_run, **asdict(done), "freed_bytes": freed, "freed_disk_bytes": disk}
        call.data(told)
        return 0
    for line in _lines(done, dry_run, shared=remote is not None):
        call.report(line)
    if request.repack and done.after.bytes > _NOTABLE * done.before.bytes:
        call.report("what branches name is read without older versions now, which takes more room")
    return 0


def _refuse_together(*others: bool, undo: bool, empty: bool, dry_run: bool) -> None:
    if (undo or empty) and (any(others) or (undo and empty) or (empty and dry_run)):
        hint = "--undo goes with --dry-run and --json, --empty-trash with --json"
        raise UsageError("--undo and --empty-trash do nothing else", hint=hint)


def _undo(call: Call, dry_run: bool, json: bool) -> int:
    done = undo_gc(call.repository, dry_run=dry_run)
    if json:
        time = None if done.time is None else iso(Timestamp(done.time, 0))
        call.data({"dry_run": dry_run, **asdict(done), "time": time})
    else:
        for line in _returned(done, dry_run):
            call.report(line)
    return DamageError.exit_code if done.lost or done.lost_operations else 0


def _returned(done: Returned, dry_run: bool) -> list[str]:
    what = f"{count(done.objects, 'object')}, {size(done.bytes)}, and {count(done.operations, 'operation')}"
    told = [f"would bring back {what}" if dry_run else f"brought back {what}"]
    if done.lost or done.lost_operations:
        lost = f"{count(done.lost, 'object')} and {count(done.lost_operations, 'operation')}"
        told.append(f"{lost} cannot come back: what they need is gone or damaged; they stay in the trash")
    if done.objects and not dry_run:
        told.append("the next gc takes what nothing names: 'mvc undo ID' or 'mvc branch NAME ID' keeps it")
    return told


def _days(call: Call, text: str | None) -> int:
    if text is None:
        return _setting(call, "gc.undo-days", UNDO_DAYS)
    if text != "now" and not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"--expire takes a number of days or now, not {text!r}", hint="for example --expire 7"
        )
    return 0 if text == "now" else int(text)


def _setting(call: Call, key: str, otherwise: int) -> int:
    wishes = (config.count(key) for config in call.settings())
    return next((wish for wish in wishes if wish is not None), otherwise)


def _lines(done: Collected, dry_run: bool, *, shared: bool) -> list[str]:
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
    told.append(f"on disk  {size(before.disk_bytes):>10s} -> {size(after.disk_bytes)}, without the trash")
    if after.trash_bytes:
        told.append(
            f"{size(after.trash_bytes)} in the trash: --undo brings it back, --empty-trash deletes it"
        )
    if done.waiting_bytes:
        whom = "those who may be reading them, until a gc after the grace" if shared else _OTHERS
        told.append(f"{size(done.waiting_bytes)} wait for {whom}")
    return told
