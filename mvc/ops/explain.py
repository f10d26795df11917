"""What happened between two versions, or a version and the work tree, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from mvc.describing import Describer
from mvc.errors import UsageError
from mvc.explaining.explain import Stated, explain
from mvc.explaining.findings import Finding
from mvc.explaining.relation import Elsewhere, StatedMerge
from mvc.explaining.units import StoredFile, Tensor, Version
from mvc.fileio import storage_errors
from mvc.history.graph import walk
from mvc.history.reader import ObjectReader, read_commit, read_manifest
from mvc.history.revisions import lookup_path, resolve_commit
from mvc.ingest import measure_file
from mvc.merging.arithmetic import combine
from mvc.merging.sides import NotMergeable, Side, Sides
from mvc.merging.strategy import OURS, THEIRS, Strategies
from mvc.objectid import CommitId, ManifestId
from mvc.objects import Manifest, TreeEntry
from mvc.paths import is_wanted
from mvc.repo import Repository
from mvc.view import View
from mvc.workspace import files_left, locked, without_purged
from mvc.worktree.overlay import WorkFileReader

_ANCESTORS, _TIPS = 8, 8
"""Versions whose weights may have gone into the new one: so many before it, so many branches and tags."""


def explain_versions(view: View, old: str, new: str, paths: Sequence[str] = ()) -> Iterator[Finding]:
    """From one version to another.

    Raises:
        RevisionNotFound, AmbiguousRevision: as for every revision.
        DamageError: stored bytes are missing or wrong.
    """
    before, after = (resolve_commit(name, view.objects, view) for name in (old, new))
    yield from explain(
        _version(view, before, old, paths),
        _version(view, after, new, paths),
        list(_others(view, [before, after], paths)),
        _stated(view, after),
    )


def explain_worktree(repository: Repository, old: str | None, paths: Sequence[str] = ()) -> Iterator[Finding]:
    """From a version (None: HEAD, or nothing before the first commit) to the work tree."""
    with locked(repository, exclusive=False) as workspace, repository.reading() as view:
        commit = view.head_commit() if old is None else resolve_commit(old, view.objects, view)
        before, _purged = without_purged(view, files_left(view, commit))
        state = workspace.state(view, before, workspace.scan())
        workspace.remember(state.fresh)
        describer = Describer(workspace.io, workspace.root)
        files: dict[str, StoredFile] = {}
        changed = {*state.added, *state.modified}
        kept = set(before).difference(state.deleted, changed)
        for path, entry in before.items():
            if path in kept and is_wanted(path, paths):
                files[path] = _stored(view.objects, path, entry)
        for path in sorted(changed):
            if is_wanted(path, paths):
                place = workspace.root / path
                with storage_errors(f"cannot read {path}"):
                    manifest = measure_file(workspace.io, place, path, workspace.monitor, describer=describer)
                reader = WorkFileReader(workspace.io, place, manifest, view.objects)
                identity = ManifestId.of(manifest.to_bytes())
                files[path] = StoredFile(path, identity, reader, partial(_given, manifest))
        others = [] if commit is None else list(_others(view, [commit], paths))
        old_version = None if commit is None else _version(view, commit, old or "HEAD", paths)
        yield from explain(old_version, Version("work tree", files), others)


def _given(manifest: Manifest) -> Manifest:
    return manifest


def _stored(objects: ObjectReader, path: str, entry: TreeEntry) -> StoredFile:
    identity = ManifestId(entry.id)
    return StoredFile(path, identity, objects, partial(read_manifest, objects, identity))


def _version(view: View, commit: CommitId, label: str, paths: Sequence[str]) -> Version:
    read = read_commit(view.objects, commit)
    entries, _purged = without_purged(view, files_left(view, commit))
    files = {
        path: _stored(view.objects, path, entry) for path, entry in entries.items() if is_wanted(path, paths)
    }
    merge = read.extra.get("merge")
    return Version(label, files, merge if isinstance(merge, Mapping) else None)


def _others(view: View, ends: Sequence[CommitId], paths: Sequence[str]) -> Iterator[Version]:
    """The versions before the newer one, and those that branches and tags name: each once."""
    seen = set(ends)
    earlier = [identity for identity, _commit in islice(walk(view.objects, ends[-1:]), _ANCESTORS)]
    labels = _labels(view)
    newest = sorted(labels, key=lambda one: -read_commit(view.objects, one).time.microseconds)[:_TIPS]
    for identity in dict.fromkeys([*earlier, *newest]):
        if identity not in seen:
            yield _version(view, identity, labels.get(identity, identity.short), paths)


def _labels(view: View) -> dict[CommitId, str]:
    """What tags and branches name, by the name."""
    named = [
        (name.removeprefix("refs/heads/").removeprefix("refs/tags/"), name)
        for prefix in ("refs/tags/", "refs/heads/")  # a tag says more than a branch
        for name in view.names(prefix)
    ]
    tips = [(resolve_commit(name, view.objects, view), label) for label, name in named]
    return dict(reversed(tips))


def _stated(view: View, commit: CommitId) -> Stated | None:
    """What a version of two parents says of how tensors were merged; None where it says nothing that can be
    done again: it is told then what the tensors themselves show."""
    read = read_commit(view.objects, commit)
    merge = read.extra.get("merge")
    if not isinstance(merge, Mapping) or len(read.parents) != 2:
        return None
    try:
        strategies = Strategies.parse(
            merge.get("strategy"),
            [f"{pattern}={strategy}" for pattern, strategy in merge.get("tensors", ())],
            **{name: merge[name] for name in ("weight", "scale", "density") if name in merge},
        )
        bases = [CommitId(base) for base in merge.get("bases", ())]
    except (UsageError, TypeError, ValueError):
        return None  # a newer mvc's strategy, or another program's record
    if len(bases) > 1:  # their common version was made for the merge, and is gone
        return None
    return _Repeated(view, [*bases, *read.parents], strategies).tensor


class _Repeated:
    """A merge of versions (the common one, if there is one, ours, theirs) done again, tensor by tensor."""

    def __init__(self, view: View, commits: Sequence[CommitId], strategies: Strategies) -> None:
        self._objects = view.objects
        self._strategies = strategies
        names = _labels(view)
        self._versions = [(names.get(one, one.short), read_commit(view.objects, one).tree) for one in commits]
        self._known: dict[str, tuple[list[Side | None], dict[ManifestId, tuple[str, StoredFile]]]] = {}

    def tensor(self, path: str, name: str) -> StatedMerge | None:
        """How the tensor of that name came about; None where no strategy made it."""
        strategy = self._strategies.of(name)
        (*base, ours, theirs), files = self._file(path)
        if strategy is None or strategy in (OURS, THEIRS) or ours is None or theirs is None:
            return None
        if name not in ours.spans or name not in theirs.spans:
            return None
        sides = Sides(base[0] if base else None, ours, theirs)
        try:
            made = combine(strategy, self._strategies.parameters, sides, name)
        except NotMergeable:
            return None
        known = [(*files[side.id], span) for side, span in made.operands]
        operands = [Elsewhere(label, Tensor(file, span)) for label, file, span in known]
        return StatedMerge(strategy, operands, made.recipe)

    def _file(self, path: str) -> tuple[list[Side | None], dict[ManifestId, tuple[str, StoredFile]]]:
        """A file in each of the versions; and each content of it, by the first version that has it."""
        if path in self._known:
            return self._known[path]
        sides: list[Side | None] = []
        files: dict[ManifestId, tuple[str, StoredFile]] = {}
        for label, tree in self._versions:
            entry = lookup_path(self._objects, tree, path)
            if entry is None or not isinstance(entry.id, ManifestId):
                sides.append(None)
                continue
            side = Side(self._objects, entry.id)
            file = StoredFile(path, side.id, self._objects, partial(_given, side.manifest))
            sides.append(side)
            files.setdefault(side.id, (f"{label}:{path}", file))
        self._known[path] = sides, files
        return sides, files
