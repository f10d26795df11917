"""``mvc push``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.refs import UPDATES, print_updates, update_json
from mvc.errors import UsageError
from mvc.ops.push import Pushed, PushRequest
from mvc.ops.push import push as bring
from mvc.text import count, one_line, size


@command(
    "mvc push",
    "mvc push -u origin try-lora",
    "mvc push --dry-run --all --tags",
    "mvc push --force-with-lease origin main",
    "mvc push origin --delete try-lora",
    exits=("4 a ref has moved there, would lose versions or may not be moved; nothing was moved",),
    data=f"An object: remote (null for an address), url, {UPDATES}, commits, objects, bytes (of what was "
    "missing there), dry_run.",
)
def push(
    call: Call,
    remote: Annotated[
        str | None, Argument("REMOTE", "A remote or an address; the branch's own, or origin, if left out.")
    ] = None,
    refspecs: Annotated[
        tuple[str, ...], Argument("REFSPEC", "What to push: BRANCH, TAG, or [+]HERE:THERE.")
    ] = (),
    set_upstream: Annotated[
        bool, Option("-u --set-upstream", "Have the branches follow what they are pushed to.")
    ] = False,
    force: Annotated[
        bool, Option("-f --force", "Move refs there whatever they name, for everybody.")
    ] = False,
    leases: Annotated[
        tuple[str, ...],
        Option(
            "--force-with-lease",
            "The same, if they are where they were last seen, or at ID.",
            "[REF[:ID]]",
        ),
    ] = (),
    delete: Annotated[bool, Option("-d --delete", "Delete these refs there.")] = False,
    all_: Annotated[bool, Option("--all --branches", "Push every branch.")] = False,
    tags: Annotated[bool, Option("--tags", "Push every tag.")] = False,
    no_notes: Annotated[bool, Option("--no-notes", "Leave notes here.")] = False,
    dry_run: Annotated[bool, Option("-n --dry-run", "Only say what would go, and how much.")] = False,
    json: Annotated[bool, Option("--json", "Print what was done as a JSON object.")] = False,
) -> None:
    """Bring another store what it lacks, and move its branches and tags: all of them, or none.

    Without a REFSPEC the current branch goes to what it follows, else to the branch of the same name. A
    branch there only moves forward: where somebody else was faster, 'mvc pull' brings both together. Notes go
    along. What arrived before a cut need not go again.
    """
    if delete and not refspecs:
        raise UsageError("which refs are to be deleted?", hint="mvc push REMOTE --delete BRANCH")
    if delete and (all_ or tags or set_upstream):
        raise UsageError("--delete goes with neither --all nor --tags nor --set-upstream")
    request = PushRequest(
        () if delete else refspecs,
        force,
        leases,
        refspecs if delete else (),
        all_,
        tags,
        not no_notes,
        dry_run,
    )
    done = bring(
        call.repository, call.remote(remote), request, call.who(), call.now(), set_upstream=set_upstream
    )
    if json:
        call.data(
            {
                "remote": done.remote.name,
                "url": done.remote.address,
                "updates": [update_json(update) for update in done.updates],
                "commits": done.commits,
                "objects": done.objects,
                "bytes": done.bytes,
                "dry_run": done.dry_run,
            }
        )
    else:
        _report(call, done, set_upstream=set_upstream)


def _report(call: Call, done: Pushed, *, set_upstream: bool) -> None:
    name = one_line(done.remote.shown)
    if not done.updates:
        call.report(f"{name} has it all already")
    else:
        # where only refs move, as of a tag, nothing is counted
        what = f" {count(done.commits, 'version')}, {size(done.bytes)}" if done.objects else ""
        call.report(f"{'would push' if done.dry_run else 'pushed'} to {name}:{what}")
        print_updates(call, done.updates)
    if set_upstream and not done.dry_run:
        for branch, target in done.branches.items():
            call.report(f"{one_line(branch)} follows {name}/{one_line(target)}")
