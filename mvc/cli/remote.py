"""``mvc remote``."""

from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.refs import UPDATES, print_updates, update_json
from mvc.cli.tables import Column, Table
from mvc.errors import UsageError
from mvc.ops import remote as verb
from mvc.sharing.addresses import masked
from mvc.text import count, one_line, size

ACTIONS = {
    "list": "the remotes",
    "add": "a remote: NAME ADDRESS",
    "show": "what a remote has now: NAME",
    "remove": "forget a remote: NAME",
    "rename": "OLD NEW",
    "set-url": "another address: NAME ADDRESS",
    "prune": "forget branches that it has no more: NAME",
}
_WORDS = {
    "list": (),
    "add": ("NAME", "ADDRESS"),
    "show": ("NAME",),
    "remove": ("NAME",),
    "rename": ("OLD", "NEW"),
    "set-url": ("NAME", "ADDRESS"),
    "prune": ("NAME",),
}


@command(
    "mvc remote add origin /srv/models/bert",
    "mvc remote add origin s3://models/bert",
    "mvc remote -v",
    "mvc remote show origin",
    data="For list an array: name, url. For add, remove, rename and set-url an object: name, url, created "
    "(whether the store was made). For show an object: name, url, default (the branch that a clone begins "
    "with, or null), branches (name, commit, tracked: where it was last fetched, or null; followers: branch, "
    "ahead, behind), tags (count), stale (refs here that follow what is gone), bytes (of all packs). For "
    f"prune an object: name, url, {UPDATES}.",
)
def remote(
    call: Call,
    action: Annotated[
        str | None,
        Argument("add|list|show|remove|rename|set-url|prune", "What to do; list if left out."),
    ] = None,
    names: Annotated[tuple[str, ...], Argument("REMOTE|ADDRESS", "A remote's name, and what else.")] = (),
    dry_run: Annotated[bool, Option("-n --dry-run", "With prune, only say what would go.")] = False,
    json: Annotated[bool, Option("--json", "Print JSON.")] = False,
) -> None:
    """List, add, look at or forget other stores.

    An ADDRESS is a folder (with nothing else in it, or with a repository), or s3://BUCKET/PREFIX. 'add' makes
    an empty store where there is none, and refuses a bucket that cannot do what mvc relies on. Credentials
    come from the environment or from the platform's own files, and are never stored. With -v the list has
    addresses.
    """
    action = action or "list"
    wanted = _WORDS[action]
    if len(names) != len(wanted):
        takes = " and ".join(wanted) or "nothing else"
        raise UsageError(f"remote {action} takes {takes}", hint=" ".join(("mvc remote", action, *wanted)))
    if dry_run and action != "prune":
        raise UsageError("--dry-run goes with prune")
    if action == "list":
        _list(call, json=json)
    elif action == "show":
        _show(call, names[0], json=json)
    elif action == "prune":
        _prune(call, names[0], dry_run=dry_run, json=json)
    else:
        _change(call, action, names, json=json)


def _list(call: Call, *, json: bool) -> None:
    found = verb.listing(call.repository)
    if json:
        call.data([_json(one) for one in found])
        return
    table = Table([Column(), Column(cut="middle")])
    for one in found:
        table.add(one_line(one.shown), one_line(masked(one.address)) if call.verbose else "")
    call.table(table)


def _json(one: verb.Remote) -> dict[str, Any]:
    return {"name": one.name, "url": masked(one.address)}


def _change(call: Call, action: str, names: tuple[str, ...], *, json: bool) -> None:
    repository, base = call.repository, call.context.cwd
    created = False
    if action == "add":
        done, created = verb.add(repository, names[0], names[1], base=base)
        made = ", where an empty store was made" if created else ""
        told = f"{names[0]} is {one_line(done.address)}{made}"
    elif action == "remove":
        done = verb.remove(repository, names[0], call.who(), call.now())
        told = f"forgot {names[0]}; its store is left alone"
    elif action == "rename":
        done = verb.rename(repository, names[0], names[1], call.who(), call.now())
        told = f"{names[0]} is now {names[1]}"
    else:
        done = verb.set_url(repository, names[0], names[1], base=base)
        told = f"{names[0]} is now at {one_line(done.address)}"
    if json:
        call.data({**_json(done), "created": created})
    else:
        call.report(told)


def _prune(call: Call, name: str, *, dry_run: bool, json: bool) -> None:
    updates = verb.prune(call.repository, name, call.who(), call.now(), dry_run=dry_run)
    if json:
        address = next(one.address for one in verb.listing(call.repository) if one.name == name)
        call.data({"name": name, "url": masked(address), "updates": [update_json(one) for one in updates]})
    elif updates:
        print_updates(call, updates)
    else:
        call.report(f"{name} has every branch that is followed here")


def _show(call: Call, name: str, *, json: bool) -> None:
    found = verb.show(call.repository, name)
    if json:
        call.data(
            {
                **_json(found.remote),
                "default": found.default,
                "branches": [
                    {
                        "name": row.name,
                        "commit": row.target.hex(),
                        "tracked": None if row.tracked is None else row.tracked.hex(),
                        "followers": [
                            {"branch": branch, "ahead": ahead, "behind": behind}
                            for branch, ahead, behind in row.followers
                        ],
                    }
                    for row in found.branches
                ],
                "tags": found.tags,
                "stale": list(found.stale),
                "bytes": found.bytes,
            }
        )
        return
    call.print(f"{one_line(found.remote.shown)}  {one_line(masked(found.remote.address))}")
    held = f"{count(len(found.branches), 'branch', 'branches')}, {count(found.tags, 'tag')}"
    call.print(f"  {held}, {size(found.bytes)} in packs")
    table = Table([Column(cut="middle"), Column(colour="yellow"), Column(cut="end")], indent="  ")
    for row in found.branches:
        table.add(one_line(row.name), row.target.short, _told(row, found.default))
    call.table(table)
    for ref in found.stale:
        call.print(
            f"  {one_line(ref.removeprefix('refs/remotes/'))} is gone there; mvc remote prune forgets it"
        )


def _told(row: verb.BranchThere, default: str | None) -> str:
    words = ["a clone begins with it"] if row.name == default else []
    if row.tracked is None:
        words.append("never fetched")
    elif row.tracked != row.target:
        words.append(f"last seen at {row.tracked.short}")
    for branch, ahead, behind in row.followers:
        apart = ", ".join([f"ahead {ahead:,}"] * bool(ahead) + [f"behind {behind:,}"] * bool(behind))
        words.append(f"{one_line(branch)} here {'is ' + apart if apart else 'is the same'}")
    return "; ".join(words)
