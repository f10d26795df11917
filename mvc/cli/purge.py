"""``mvc purge``."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.cli.text import iso, when_short
from mvc.errors import ConflictError, DamageError, UsageError
from mvc.ops import purge as verb
from mvc.ops.purge import Ended, Preview, Purged, Request
from mvc.store import Store
from mvc.text import count, one_line, size
from mvc.tombstones import Purge

_MOST = 20
"""Files that are listed; ``--json`` has all."""


@command(
    "mvc purge secret.safetensors --reason 'trained on private data'",
    "mvc purge v1.3 -n",
    "mvc purge --rewrite data/keys.json --yes",
    "mvc purge model.safetensors#embed.weight",
    "mvc purge --finish",
    "mvc purge --remote origin secret.safetensors --yes",
    exits=(
        "2 no terminal to ask on, and no --yes",
        "3 all of it is in something that stays, or the disk is full",
        "4 another command may be reading it still (mvc purge --finish goes on), or a merge is under way",
        "5 something is damaged, or traces are left",
    ),
    data="An object: done (false with -n), targets, versions (ids of those that go whole), files (path, "
    "version, size, tensors: those of it that go, none: all), objects, stored_bytes, shared (count, places), "
    "forgotten (operations that leave the log), moved and removed (refs), rewritten (old id to new id or "
    "null), purge (its name), stored_anew, verified (files read), lying (files of the folder that a commit "
    "refuses), remotes; waiting (who, packs, bytes) and proof (clean, ids, files, bytes, index_rows, "
    "records, leaning, traces, listed, opaque) where something was done. With --finish only the last two; "
    "with --list an array: name, what, why, who, time, objects, lifted; with --forgive such a row.",
)
def purge(
    call: Call,
    targets: Annotated[
        tuple[str, ...],
        Argument("TARGET", "A version, a file (REV:PATH; PATH: in every version), or a tensor of it."),
    ] = (),
    rewrite: Annotated[
        bool, Option("--rewrite", "Make the versions anew without it; their ids change.")
    ] = False,
    everywhere: Annotated[
        bool, Option("--everywhere", "Take pieces although other files have them too, which lose them.")
    ] = False,
    reason: Annotated[str | None, Option("--reason", "Why; whoever meets the gap reads it.", "TEXT")] = None,
    yes: Annotated[bool, Option("-y --yes", "Do not ask.")] = False,
    dry_run: Annotated[bool, Option("-n --dry-run", "Change nothing; tell what would go.")] = False,
    verify: Annotated[
        bool, Option("--verify", "Read every file that stays first, in large stores too.")
    ] = False,
    wait: Annotated[
        int | None, Option("--wait", "So long for commands that may be reading it (10).", "SECONDS")
    ] = None,
    finish: Annotated[bool, Option("--finish", "Delete what an earlier purge had to leave.")] = False,
    list_: Annotated[bool, Option("--list", "List what was purged.")] = False,
    forgive: Annotated[str | None, Option("--forgive", "Let what a purge took come back.", "ID")] = None,
    remote: Annotated[
        str | None, Option("--remote", "Purge the store of a remote instead.", "REMOTE")
    ] = None,
    json: Annotated[bool, Option("--json", "Print a JSON object.")] = False,
) -> int:
    """Take versions, files or tensors out of this repository for good, and refuse their return.

    What nothing else has of them is deleted from the disk, and the store is searched for what is left.
    Versions keep their ids: what names and describes them (message, metrics, file names) stays, and reading
    what is gone says when, by whom and why it was purged. With --rewrite they are made anew without it. It
    cannot be undone.

    With --remote it is the store of a remote that is purged and searched, a folder or a bucket, by its own
    branches and tags; in a bucket those who read it at that moment may have to begin again. Remotes and other
    copies keep what they have until they are purged too, and a push brings none of it back.
    """
    chosen = [bool(targets), finish, list_, forgive is not None]
    if sum(chosen) != 1:
        raise UsageError(
            "say what is to be purged" if not any(chosen) else "only one of these at a time",
            hint="mvc purge REV|PATH|REV:PATH[#TENSOR], --finish, --list or --forgive ID",
        )
    if wait is not None and wait < 0:
        raise UsageError("--wait takes seconds")
    seconds = verb.WAIT_SECONDS if wait is None else float(wait)
    if list_:
        return _list(call, call.store_named(remote), json)
    if forgive is not None:
        return _forgive(call, call.store_named(remote), forgive, json)
    if finish:
        if remote is None:
            ended = verb.finish(call.repository, wait=seconds)
        else:
            ended = verb.finish_store(call.store_named(remote), call.now(), wait=seconds)
        if json:
            call.data(_ended_json(ended))
        return _tell_ended(call, ended, quiet=json)
    request = Request(
        tuple(_target(call, text) for text in targets),
        call.who(),
        call.now(),
        reason or "",
        rewrite,
        everywhere,
        True if verify else None,
    )
    if dry_run or not yes:
        if remote is None:
            before = verb.preview(call.repository, request)
        else:
            before = verb.preview_store(call.store_named(remote), request)
        if dry_run:
            if json:
                call.data({"done": False, **_preview_json(request, before)})
            else:
                _tell(call, _lines(before, "would go"))
            return 0
        _ask(call, before)
    if remote is None:
        done = verb.purge(call.repository, request, wait=seconds)
    else:
        done = verb.purge_store(call.store_named(remote), request, wait=seconds)
    if json:
        call.data({"done": True, **_done_json(request, done), **_ended_json(done.ended)})
    elif done.planned is None:
        call.report("it was purged before")
    else:
        _tell(call, _lines(Preview(done.planned, done.lying, done.remotes), "gone"))
    return _tell_ended(call, done.ended, quiet=json)


def _target(call: Call, text: str) -> str:
    """A target as the library takes it: paths that say so start in the current folder."""
    if text.startswith(("./", "../")):
        path, sharp, tensor = text.partition("#")
        return f"./{(call.inside([path]) or ('',))[0]}{sharp}{tensor}"
    return call.revision(text)


def _ask(call: Call, before: Preview) -> None:
    """Have it confirmed.

    Raises:
        UsageError: there is nobody to ask, or the answer is no.
    """
    if not before.planned.survey.gone:
        return  # the purge itself says why there is nothing to do
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "a purge cannot be undone, and nobody can be asked", hint="--yes, after a look with -n"
        )
    for line in _lines(before, "will go"):
        sys.stderr.write(line + "\n")
    sys.stderr.write("This cannot be undone. Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was purged", hint="the answer was not yes")


def _tell(call: Call, lines: Iterable[str]) -> None:
    for line in lines:
        call.report(line)


def _lines(before: Preview, verb_word: str) -> Iterator[str]:
    planned, survey = before.planned, before.planned.survey
    parts = [count(len(survey.gone), "object"), f"{size(survey.stored_bytes)} stored"]
    yield f"{verb_word}: {', '.join(parts)}"
    for version in survey.whole:
        yield f"  version {version.short}"
    for item in survey.files[:_MOST]:
        tensors = f" ({', '.join(map(one_line, item.tensors[:5]))})" if item.tensors else ""
        place = f"{item.version}:" if item.version else ""
        yield f"  {place}{one_line(item.path)}{tensors}  {size(item.size)}"
    if len(survey.files) > _MOST:
        yield f"  and {count(len(survey.files) - _MOST, 'file')} more"
    if survey.shared.count:
        places = ", ".join(map(one_line, survey.shared.places))
        stay = "stays, since these have it" if survey.shared.count == 1 else "stay, since these have them"
        yield f"{count(survey.shared.count, 'piece')} of it {stay} too: {places}"
        yield "  name those too, or purge --everywhere"
    if planned.commits:
        yield f"{count(len(planned.commits), 'version')} made anew:"
        for old, new in planned.commits.items():
            yield f"  {old.short} -> {'dropped' if new is None else new.short}"
        for name in planned.moved:
            yield f"  {name} moves"
        for name in planned.removed:
            yield f"  {name} goes"
    elif survey.gone:
        yield "messages, metrics, notes and file names of those versions stay; --rewrite makes them anew"
    if planned.forgotten:
        yield f"{count(planned.forgotten, 'operation')} leave the operation log and cannot be undone"
    for path in before.lying:
        what = "still lies in the folder; a commit refuses what was purged (list it in .mvcignore)"
        yield f"{one_line(path)} {what}"
    for name in before.remotes:
        yield f"the remote {one_line(name)} is not purged: mvc purge --remote {one_line(name)}"


def _tell_ended(call: Call, ended: Ended, *, quiet: bool) -> int:
    proof = ended.proof
    if not quiet:
        looked = f"searched {count(proof.files, 'file')}, {size(proof.bytes)}, for {count(proof.ids, 'id')}"
        found = "nothing left" if proof.clean else "not all is gone"
        call.report(f"{looked}: {found}")
        if proof.listed:
            call.report(f"  {count(proof.listed, 'mention')} in lists of versions that stay")
        if proof.opaque:
            call.report(f"  {count(proof.opaque, 'stretch', 'stretches')} of packs are no sound records")
        problems = {
            "rows of the index": proof.index_rows,
            "records": proof.records,
            "records that lean on one": proof.leaning,
        }
        for what, number in problems.items():
            if number:
                call.report(f"  {number:,} {what}")
        for name in proof.traces[:_MOST]:
            call.report(f"  {one_line(name)}")
    if ended.waiting_packs or (not proof.clean and ended.waiting_for):
        raise ConflictError(
            f"{count(ended.waiting_packs, 'pack')} ({size(ended.waiting_bytes)}) may still be read by "
            f"{', '.join(ended.waiting_for) or 'somebody'}",
            hint="mvc purge --finish, once they have ended",
        )
    if not proof.clean:
        raise DamageError(
            "traces of what was purged are left", hint="mvc purge --finish; then mvc fsck --full"
        )
    return 0


def _list(call: Call, store: Store, json: bool) -> int:
    with store.reading() as view:
        found = verb.purges(view)
    if json:
        call.data([_purge_json(item) for item in found])
        return 0
    table = Table(
        [Column(colour="yellow"), Column(), Column(cut="end"), Column(cut="end"), Column(cut="end")]
    )
    for item in found:
        note = "lifted" if item.lifted else count(item.count, "object")
        table.add(
            item.name[:8],
            when_short(item.time),
            note,
            one_line(item.what),
            one_line(item.why or item.who.name),
        )
    call.table(table)
    return 0


def _forgive(call: Call, store: Store, text: str, json: bool) -> int:
    done = verb.forgive(store, text, call.who(), call.now())
    if json:
        call.data(_purge_json(done))
    else:
        call.report(f"{one_line(done.what)} may be stored again ({count(done.count, 'object')})")
    return 0


def _purge_json(item: Purge) -> dict[str, Any]:
    return {
        "name": item.name,
        "what": item.what,
        "why": item.why,
        "who": list(item.who),
        "time": iso(item.time),
        "objects": item.count,
        "lifted": item.lifted,
    }


def _preview_json(request: Request, before: Preview) -> dict[str, Any]:
    planned, survey = before.planned, before.planned.survey
    return {
        "targets": list(request.targets),
        "versions": [one.hex() for one in survey.whole],
        "files": [
            {
                "path": item.path,
                "version": item.version,
                "size": item.size,
                "tensors": list(item.tensors),
            }
            for item in survey.files
        ],
        "objects": len(survey.gone),
        "stored_bytes": survey.stored_bytes,
        "shared": {"count": survey.shared.count, "places": list(survey.shared.places)},
        "forgotten": planned.forgotten,
        "moved": list(planned.moved),
        "removed": list(planned.removed),
        "rewritten": {old.hex(): None if new is None else new.hex() for old, new in planned.commits.items()},
        "purge": None if planned.purge is None else planned.purge.name,
        "stored_anew": planned.stored_anew,
        "verified": planned.verified,
        "lying": list(before.lying),
        "remotes": list(before.remotes),
    }


def _done_json(request: Request, done: Purged) -> dict[str, Any]:
    if done.planned is None:
        return {"targets": list(request.targets), "objects": 0, "purge": None}
    return _preview_json(request, Preview(done.planned, done.lying, done.remotes))


def _ended_json(ended: Ended) -> dict[str, Any]:
    waiting = {"who": list(ended.waiting_for), "packs": ended.waiting_packs, "bytes": ended.waiting_bytes}
    return {"waiting": waiting, "proof": {"clean": ended.proof.clean, **asdict(ended.proof)}}
