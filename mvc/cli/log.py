"""``mvc log``."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from mvc.cli.call import Call
from mvc.cli.declare import Argument, Option, command
from mvc.cli.logged import Changes, Told, found_json, print_drawn, print_listed, style_of
from mvc.cli.versions import Names
from mvc.errors import UsageError
from mvc.history.selection import is_range
from mvc.ops.log import Query, find
from mvc.view import View


@command(
    "mvc log -n 3",
    "mvc log --oneline --graph --all",
    "mvc log v1.0..main --metric 'loss<1.9' --since '2 weeks ago'",
    "mvc log -- model.safetensors#lm_head.weight",
    "mvc log --format='%h %ar %(metric:loss) %s'",
    "mvc log --json | jq '.[0].metrics'",
    data="An array of versions, newest first: id, parents, tree, author (name, email), time (ISO 8601 with "
    "offset), message, metrics, params, tags, branches, remotes (followed branches of remotes), "
    "notes (id, author, time, metrics, params, message; oldest first); with --weights also "
    "weights (null without tensors); with --stat, --name-only or --name-status also changes as in "
    "'mvc show --json' (same_weights is null; changes is null where a purge took what tells them); with "
    "--follow also path. Metrics that are not finite are null.",
    paths=True,
    paged=True,
    anywhere=True,
)
def log(
    call: Call,
    revision: Annotated[
        tuple[str, ...], Argument("REV", "Where to start (HEAD if left out); A..B, A...B, ^A as in Git.")
    ] = (),
    limit: Annotated[int | None, Option("-n --max-count", "At most so many; -5 is -n 5.", "N")] = None,
    skip: Annotated[int | None, Option("--skip", "Leave out the first so many.", "N")] = None,
    oneline: Annotated[bool, Option("--oneline", "One line for each version.")] = False,
    graph: Annotated[bool, Option("--graph", "Draw how versions come from each other.")] = False,
    format_: Annotated[
        str | None,
        Option("--format --pretty", "oneline, short, medium, full, or a template of %h %an %s …", "FORMAT"),
    ] = None,
    all_: Annotated[bool, Option("--all", "Start at every branch and tag, and at HEAD.")] = False,
    branches: Annotated[bool, Option("--branches", "Start at every branch.")] = False,
    tags: Annotated[bool, Option("--tags", "Start at every tag.")] = False,
    first_parent: Annotated[
        bool, Option("--first-parent", "Of a merge follow the first parent only.")
    ] = False,
    merges: Annotated[bool, Option("--merges", "Only merges.")] = False,
    no_merges: Annotated[bool, Option("--no-merges", "No merges.")] = False,
    since: Annotated[
        str | None,
        Option("--since --after", "Not older than: a date, '2 weeks ago', @SECONDS.", "WHEN"),
    ] = None,
    until: Annotated[str | None, Option("--until --before", "Not newer.", "WHEN")] = None,
    author: Annotated[
        tuple[str, ...], Option("--author", "Made by somebody whose name or address matches.", "REGEX")
    ] = (),
    grep: Annotated[
        tuple[str, ...], Option("--grep", "With a message of which a line matches.", "REGEX")
    ] = (),
    ignore_case: Annotated[
        bool, Option("-i --regexp-ignore-case", "Upper and lower case are the same.")
    ] = False,
    fixed: Annotated[bool, Option("-F --fixed-strings", "Texts, not regular expressions.")] = False,
    all_match: Annotated[bool, Option("--all-match", "Every --grep must match, not one.")] = False,
    invert: Annotated[bool, Option("--invert-grep", "No --grep may match.")] = False,
    metric: Annotated[
        tuple[str, ...], Option("--metric", "'loss<1.9', or 'loss': has it; repeated: all hold.", "CONDITION")
    ] = (),
    param: Annotated[
        tuple[str, ...], Option("--param", "The same of settings: 'lr=2e-5'.", "CONDITION")
    ] = (),
    topo_order: Annotated[bool, Option("--topo-order", "Keep lines of history together.")] = False,
    date_order: Annotated[bool, Option("--date-order", "No parent before a child; newest first.")] = False,
    reverse: Annotated[bool, Option("--reverse", "Oldest first.")] = False,
    follow: Annotated[bool, Option("--follow", "Follow one file under its earlier names.")] = False,
    stat: Annotated[bool, Option("--stat", "Show the files that changed, with their sizes.")] = False,
    name_only: Annotated[bool, Option("--name-only", "Show the names of files that changed.")] = False,
    name_status: Annotated[bool, Option("--name-status", "Show names and kinds of change.")] = False,
    date: Annotated[
        str | None,
        Option("--date", "How dates are shown.", "default|iso|iso-strict|relative|rfc|short|unix"),
    ] = None,
    decorate: Annotated[bool, Option("--decorate", "Show branches and tags, as is usual.")] = False,
    no_decorate: Annotated[bool, Option("--no-decorate", "Show no branches and tags.")] = False,
    weights: Annotated[bool, Option("--weights", "Show each version's weights id.")] = False,
    json: Annotated[bool, Option("--json", "Print a JSON array.")] = False,
) -> None:
    """Show the versions that lead to a revision, newest first.

    Behind -- come files, folders, or tensors (PATH#TENSOR): only the versions that changed them are shown,
    and history is simplified as in Git. WHEN is a date with or without a time ('2026-11-20', which begins for
    --since and ends for --until, '2026-11-20 14:30', with Z or +01:00 behind it), now, today, yesterday,
    '2 weeks ago' (seconds to years), or @SECONDS since 1970. A REGEX is Python's, tried on the first 4,096
    characters of each line. A --metric holds for what notes added later too, the latest one counts.

    Templates know %H %h %T %t %P %p, %an %ae %al %ad %aD %ai %aI %ar %as %at and the same with c, %s %f %b
    %B, %d %D %m %n %% %xHH, %C(red) %C(reset), and %(metric:NAME) %(param:NAME) %(metrics) %(params). A line
    end follows each version.
    """
    if limit is not None and limit < 0:
        raise UsageError("-n takes a count")
    if skip is not None and skip < 0:
        raise UsageError("--skip takes a count")
    for some, clash in (
        ((stat, name_only, name_status), "--stat, --name-only and --name-status"),
        ((oneline, format_ is not None), "--oneline and --format"),
        ((json, graph), "--json and --graph"),
        ((json, format_ is not None), "--json and --format"),
        ((graph, reverse), "--graph and --reverse"),
        ((decorate, no_decorate), "--decorate and --no-decorate"),
        ((topo_order, date_order), "--topo-order and --date-order"),
        ((merges, no_merges), "--merges and --no-merges"),
    ):
        if sum(some) > 1:
            raise UsageError(f"{clash} do not go together")
    moments: list[int | None] = [None, None]
    for place, text in enumerate((since, until)):
        if text is not None:
            from mvc.cli.dates import parse_moment  # only where it is asked for

            moments[place] = parse_moment(text, call.now(), end=place == 1)
    prefixes = [
        prefix
        for prefix, asked in (("refs/", all_), ("refs/heads/", branches), ("refs/tags/", tags))
        if asked
    ]
    with call.store.reading() as view:
        revisions, paths = _words(call, view, revision)
        if not revisions and view.head_commit() is None and json:
            call.data([])
            return
        names = Names(call, view, shown=not no_decorate)
        wanted = None
        if any((author, grep, metric, param, merges, no_merges)) or moments != [None, None]:
            from mvc.history.conditions import Condition  # only where it is asked for
            from mvc.history.criteria import Criteria, compile_pattern

            def patterns(texts: Iterable[str]) -> tuple[Any, ...]:
                return tuple(compile_pattern(text, ignore_case=ignore_case, fixed=fixed) for text in texts)

            wanted = Criteria(
                authors=patterns(author),
                messages=patterns(grep),
                all_match=all_match,
                invert=invert,
                metrics=tuple(map(Condition.parse, metric)),
                params=tuple(map(Condition.parse, param)),
                since=moments[0],
                until=moments[1],
                least_parents=2 if merges else 0,
                most_parents=1 if no_merges else None,
                measured=names.measured,
            )
        query = Query(
            refs=tuple(prefixes),
            wanted=wanted,
            order="date" if date_order else "topo" if topo_order or graph else "time",
            first_parent=first_parent,
            since=moments[0],
            paths=paths,
            follow=follow,
            skip=skip or 0,
            limit=limit,
            reverse=reverse,
            connected=graph,
        )
        found = find(view, [call.revision(text) for text in revisions], query)
        weigher = None
        if weights:
            from mvc.weighing import Weigher  # as above

            weigher = Weigher(call.store, view.objects)
        changes: Changes | None
        changes = "stat" if stat else "name-only" if name_only else "name-status" if name_status else None
        told = Told(call, view, paths, changes, merges=first_parent)
        if json:
            call.data([found_json(item, names, told, weigher) for item in found])
            return
        style = style_of(call, names, "oneline" if oneline else format_, date, weigher)
        (print_drawn if graph else print_listed)(call, found, style, told)


def _words(call: Call, view: View, words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Revisions and paths; as in Git, what is no revision but a file begins the paths."""
    paths = call.paths
    revisions = list(words)
    if paths is None and words:
        from mvc.cli.words import is_revision, names_files  # only where there may be some

        def may_be_path(word: str) -> bool:
            return names_files(call, view, word) or (
                "#" in word and names_files(call, view, word.partition("#")[0])
            )

        for at, word in enumerate(words):
            if not is_range(word) and not is_revision(view, word) and may_be_path(word):
                revisions, paths = revisions[:at], tuple(words[at:])
                break
    found = []
    for path in paths or ():
        name, sharp, tensor = path.partition("#")
        inside = call.inside([name or path])
        if not inside:
            return revisions, ()
        found.append(inside[0] + sharp + tensor if name else inside[0])
    return revisions, tuple(found)
