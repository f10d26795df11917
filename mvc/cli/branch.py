"""``mvc branch``."""

from typing import Annotated

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.tables import Column, Table
from mvc.errors import UsageError
from mvc.ops import branch as verb
from mvc.text import one_line


@command(
    "mvc branch",
    "mvc branch try-lora main~2",
    "mvc branch --delete try-lora",
    data="An array: name, commit, current.",
    anywhere=True,
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
    show_current: Annotated[bool, Option("--show-current", "Print the current branch's name.")] = False,
    json: Annotated[bool, Option("--json", "Print the list as a JSON array.")] = False,
) -> None:
    """List branches; create, rename or delete one.

    Without a name the branches are listed, with -v what their versions are about. NAME [REV] makes a branch
    that points to a revision (HEAD if left out).
    """
    if sum((delete, move, show_current)) > 1:
        raise UsageError("--delete, --move and --show-current do not go together")
    if show_current:
        _show_current(call)
    elif delete:
        _delete(call, names, force=force)
    elif move:
        _move(call, names)
    elif names:
        _create(call, names, force=force)
    else:
        _list(call, json=json)


def _list(call: Call, *, json: bool) -> None:
    with call.store.reading() as view:
        found = list(verb.branches(view))
        if json:
            call.data([{"name": b.name, "commit": b.target.hex(), "current": b.current} for b in found])
            return
        rows = [("*" if b.current else " ", one_line(b.name), b.target) for b in found]
        head = view.head_commit()
        if view.branch() is None and head is not None:
            rows.insert(0, ("*", "(HEAD detached)", head))
        subjects = {target: one_line(view.commit(target).subject) for _, _, target in rows if call.verbose}
        table = Table([Column(), Column(cut="middle"), Column(colour="yellow"), Column(cut="end")])
        for mark, name, target in rows:
            told = subjects.get(target, "")
            table.add(mark, name, target.short, told, colour="green" if mark == "*" else "")
        call.table(table)


def _show_current(call: Call) -> None:
    with call.store.reading() as view:
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
        with call.store.reading() as view:
            old = verb.current_name(view)
    verb.rename(call.repository, old, new, call.who(), call.now())
    call.report(f"branch {old} is now {new}")
