"""``mvc branch``."""

from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.refs import standing_json, standing_text
from mvc.cli.tables import Column, Table
from mvc.errors import UsageError
from mvc.ops import branch as verb
from mvc.sharing.following import Standing, standing
from mvc.text import one_line


@command(
    "mvc branch",
    "mvc branch try-lora main~2",
    "mvc branch --delete try-lora",
    data="An array: name, commit, current, remote (whether it is one of a remote, as last seen), upstream "
    "(what it follows: name, commit, ahead, behind; or null).",
)
def branch(
    call: Call,
    names: Annotated[
        tuple[str, ...], Argument("NAME", "The new branch and, behind it, where it is to point.")
    ] = (),
    delete: Annotated[bool, Option("-d --delete", "Delete these branches.")] = False,
    move: Annotated[bool, Option("-m --move", "Rename: [OLD] NEW; without OLD the current branch.")] = False,
    force: Annotated[
        bool, Option("-f --force", "Move a branch that exists; delete one with commits of its own.")
    ] = False,
    all_: Annotated[bool, Option("-a --all", "List branches of remotes too.")] = False,
    remotes: Annotated[bool, Option("-r --remotes", "List branches of remotes only.")] = False,
    set_upstream: Annotated[
        str | None, Option("-u --set-upstream-to", "Have NAME, or the current branch, follow it.", "REV")
    ] = None,
    unset_upstream: Annotated[
        bool, Option("--unset-upstream", "Have NAME, or the current branch, follow nothing.")
    ] = False,
    show_current: Annotated[bool, Option("--show-current", "Print the current branch's name.")] = False,
    json: Annotated[bool, Option("--json", "Print the list as a JSON array.")] = False,
) -> None:
    """List branches; create, rename or delete one.

    Without a name the branches are listed, with -v what their versions are about and how far they are from
    what they follow. NAME [REV] makes a branch that points to a revision (HEAD if left out); it follows the
    revision where that is a branch of a remote.
    """
    chosen = (delete, move, show_current, set_upstream is not None, unset_upstream, all_ or remotes)
    if sum(chosen) > 1:
        raise UsageError("of these options one is enough", hint="mvc branch --help")
    if show_current:
        _show_current(call)
    elif delete:
        _delete(call, names, force=force)
    elif move:
        _move(call, names)
    elif set_upstream is not None:
        _follow(call, names, set_upstream)
    elif unset_upstream:
        name = _named(call, names)
        verb.unset_upstream(call.repository, name)
        call.report(f"{name} follows nothing")
    elif names and (all_ or remotes):
        raise UsageError("--all and --remotes take no name")
    elif names:
        _create(call, names, force=force)
    else:
        _list(call, own=not remotes, followed=all_ or remotes, json=json)


def _list(call: Call, *, own: bool, followed: bool, json: bool) -> None:
    config = call.repository.config()
    with call.repository.reading() as view:
        found = [(one, False) for one in verb.branches(view)] if own else []
        found += [(one, True) for one in verb.followed(view)] if followed else []
        stands = {
            one.name: standing(view, config, one.name)
            for one, remote in found
            if not remote and (json or call.verbose)
        }
        if json:
            call.data([_json(one, stands.get(one.name), remote=remote) for one, remote in found])
            return
        rows = [("*" if one.current else " ", one_line(one.name), one, remote) for one, remote in found]
        head = view.head_commit()
        if own and view.branch() is None and head is not None:
            rows.insert(0, ("*", "(HEAD detached)", verb.Branch("", head, True), True))
        table = Table([Column(), Column(cut="middle"), Column(colour="yellow"), Column(cut="end")])
        for mark, name, one, remote in rows:
            told = one_line(view.commit(one.target).subject) if call.verbose else ""
            stand = None if remote else stands.get(one.name)
            if stand is not None:
                apart = standing_text(stand)
                told = f"[{one_line(stand.upstream.shown)}{': ' if apart else ''}{apart}] {told}"
            colour = "green" if mark == "*" else "red" if remote else ""
            table.add(mark, name, one.target.short, told, colour=colour)
        call.table(table)


def _json(one: verb.Branch, stands: Standing | None, *, remote: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "commit": one.target.hex(),
        "current": one.current,
        "remote": remote,
        "upstream": standing_json(stands),
    }


def _named(call: Call, names: tuple[str, ...]) -> str:
    """The branch that is meant; the current one where none is named."""
    if len(names) > 1:
        raise UsageError("one branch at a time")
    if names:
        return names[0]
    with call.repository.reading() as view:
        return verb.current_name(view)


def _follow(call: Call, names: tuple[str, ...], revision: str) -> None:
    name = _named(call, names)
    followed = verb.set_upstream(call.repository, name, revision)
    call.report(f"{name} follows {followed}")


def _show_current(call: Call) -> None:
    with call.repository.reading() as view:
        name = view.branch()
        if name is not None:
            call.print(one_line(name))


def _create(call: Call, names: tuple[str, ...], *, force: bool) -> None:
    if len(names) > 2:
        raise UsageError("a branch takes a name and a revision", hint="mvc branch NAME [REV]")
    name, revision = names[0], names[1] if len(names) == 2 else "HEAD"
    target = verb.create(call.repository, name, revision, call.who(), call.now(), force=force)
    call.report(f"branch {name} at {target.short}")


def _delete(call: Call, names: tuple[str, ...], *, force: bool) -> None:
    if not names:
        raise UsageError("which branch?", hint="mvc branch --delete NAME")
    for name in names:
        target = verb.delete(call.repository, name, call.who(), call.now(), force=force)
        call.report(f"deleted branch {name}, which was at {target.short}; 'mvc undo' brings it back")


def _move(call: Call, names: tuple[str, ...]) -> None:
    if not 1 <= len(names) <= 2:
        raise UsageError("--move takes the old and the new name", hint="mvc branch --move [OLD] NEW")
    new = names[-1]
    if len(names) == 2:
        old = names[0]
    else:
        with call.repository.reading() as view:
            old = verb.current_name(view)
    verb.rename(call.repository, old, new, call.who(), call.now())
    call.report(f"branch {old} is now {new}")
