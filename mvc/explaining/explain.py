"""What happened between two versions, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from mvc.explaining.findings import Finding
from mvc.explaining.relation import Elsewhere, Relation, StatedMerge
from mvc.explaining.relations import Relating
from mvc.explaining.units import Tensor, Unit, Version, units
from mvc.explaining.wording import told
from mvc.history.tensornames import is_state
from mvc.text import count, one_line

_RELATED = 0.5
"""Of a model's tensors, those that another must have by name to be what it was made from."""

_FILES = 4  # that are named


Stated = Callable[[str, str], StatedMerge | None]
"""Of a path and a tensor's name: how the version itself says that it was merged."""


def explain(
    old: Version | None, new: Version, others: Sequence[Version] = (), stated: Stated | None = None
) -> Iterator[Finding]:
    """Say what happened from one version to another; ``others`` are versions whose weights may have gone into
    the new one, ``stated`` what the new one says of its merge. Without an old version, what the first one
    holds.

    Raises:
        DamageError: stored bytes are missing or wrong.
    """
    if old is None:
        yield _first(new)
        return
    yield from _Explaining(old, new, others, stated).all()


def _first(new: Version) -> Finding:
    models = [unit for unit in units(new).values() if unit.tensors]
    tensors = sum(len(unit.tensors) for unit in models)
    what = f", {count(tensors, 'tensor')} in {_listed(unit.name for unit in models)}" if models else ""
    return Finding("first", f"the first version: {count(len(new.files), 'file')}{what}", "", certified=True)


class _Explaining:
    def __init__(self, old: Version, new: Version, others: Sequence[Version], stated: Stated | None) -> None:
        self._stated = stated
        self._old, self._new = old, new
        self._before, self._after = units(old), units(new)
        self._others = [(version, units(version)) for version in others]
        self._used: set[str] = set()

    def all(self) -> Iterator[Finding]:
        """What is to be said of each model, then of other files."""
        if self._new.merge is not None:
            yield self._recorded(self._new.merge)
        plain: list[str] = []
        nothing = True
        for name, unit in self._after.items():
            before = self._before.get(name)
            if before is not None and before.same_files(unit):
                continue
            nothing = False
            if not unit.tensors:
                plain.append(name)
                continue
            yield from self._model(unit)
        gone = [name for name in self._before if name not in self._after]
        nothing = nothing and not gone
        left = [name for name in gone if name not in self._used]
        if left:
            yield Finding("removed", f"removed {_listed(left)}", "", certified=True, figures={"paths": left})
        if plain:
            words = f"other files that changed: {_listed(plain)}"
            yield Finding("files", words, "", certified=True, figures={"paths": plain})
        if nothing:
            yield Finding("nothing", "nothing differs", "", certified=True)

    def _recorded(self, merge: Mapping[str, object]) -> Finding:
        strategy = merge.get("strategy")
        how = f" with the strategy {one_line(str(strategy))}" if strategy is not None else ""
        return Finding("recorded", f"a merge, as its version says{how}", "", figures={"merge": dict(merge)})

    # --- one model -----------------------------------------------------------------------------------------
    def _model(self, unit: Unit) -> Iterator[Finding]:
        path = unit.name
        if unit.is_adapter and path not in self._before:
            yield self._adapter(unit)
            return
        base = self._counterpart(unit)
        if base is None:
            words = f"new, made from nothing that is here: {count(len(unit.tensors), 'tensor')}"
            yield Finding("new", words, path, figures={"tensors": len(unit.tensors)})
            return
        if base.version is self._old:
            self._used.add(base.name)
        against = base.name if base.name != path or base.version is not self._old else None
        before = _aligned(unit, base)
        stated = None if self._stated is None or len(unit.files) > 1 else partial(self._stated, path)
        relating = Relating(before, self._elsewhere(unit, base), self._adapters(unit), stated)
        relations = list(relating.all(unit.tensors))
        said = list(told(relations, path, base.name))
        missing = _missing(before, unit, relations)
        yield from self._container(unit, base, relations, against, alone=not said and not missing)
        yield from said
        if missing:
            part = f"{count(len(missing), 'tensor')}: {_listed(missing)}"
            yield Finding("missing", f"left out {part}", path, base.name, True, {"tensors": missing})

    def _container(
        self, unit: Unit, base: Unit, relations: Sequence[Relation], against: str | None, *, alone: bool
    ) -> Iterator[Finding]:
        """What happened to the files around the tensors."""
        path, name = unit.name, base.name
        same = all(relation.kind == "same" for relation in relations)
        certain = alone and same
        if len(unit.files) != len(base.files):
            now = f"{count(len(unit.files), 'file')} instead of {len(base.files):,}"
            yield Finding("resharded", f"saved as {now}", path, name, certain, {"files": len(unit.files)})
        if unit.formats != base.formats:
            old, new = (" and ".join(sorted(one.formats)) for one in (base, unit))
            words = f"converted from {old} to {new}"
            yield Finding("converted", words, path, name, certain, {"from": old, "to": new})
        if against is not None:
            there = "" if base.version is self._old else " beside it"
            gone = base.version is self._old and base.name not in self._after
            words = f"{'renamed' if gone and certain else 'made'} from {one_line(name)}{there}"
            yield Finding("source", words, path, name, certain, {"source": name})
        if certain:
            plain = len(unit.files) == len(base.files) and unit.formats == base.formats
            copy = {file.manifest.sha256 for file in unit.files} == {f.manifest.sha256 for f in base.files}
            words = "the same weights, bit for bit"
            if plain and not copy:
                words += "; only what lies around them changed (metadata, order)"
            kind = "metadata" if plain and not copy else "same"
            yield Finding(kind, words, path, name, True)

    def _adapter(self, unit: Unit) -> Finding:
        ranks = sorted({down.span.shape[0] for down, _up in unit.adapters.values() if down.span.shape})
        modules = Counter(module.rpartition(".")[2] for module in unit.adapters)
        rank = " to ".join(dict.fromkeys(map(str, (ranks[0], ranks[-1])))) if ranks else "?"
        where = f"on {_listed(modules)} of {count(max(modules.values()), 'layer')}"
        words = f"a LoRA adapter of rank {rank} added, {where}"
        figures = {"ranks": ranks, "modules": sorted(unit.adapters)}
        return Finding("adapter", words, unit.name, certified=True, figures=figures)

    def _counterpart(self, unit: Unit) -> Unit | None:
        """The model that one was made from: that of its name before, else the one with most of its
        tensors."""
        same = self._before.get(unit.name)
        if same is not None and _likeness(unit, same) > 0:
            return same
        unchanged = [one for one in self._after.values() if one.name != unit.name]
        gone = [one for name, one in self._before.items() if name not in self._after]
        kept = [one for name, one in self._before.items() if name in self._after]
        candidates = [one for one in (*gone, *kept, *unchanged) if one.tensors]
        best = max(candidates, key=lambda one: _likeness(unit, one), default=None)
        return best if best is not None and _likeness(unit, best) >= _RELATED else None

    def _elsewhere(self, unit: Unit, base: Unit) -> dict[str, list[Elsewhere]]:
        """Tensors of the same names in other versions, and in other models of both: each once."""
        found: dict[str, list[Elsewhere]] = {}
        seen: set[bytes] = {file.manifest.sha256 for file in base.files}
        groups = [(self._old.label, self._before), (self._new.label, self._after)]
        groups += [(version.label, models) for version, models in self._others]
        for label, models in groups:
            for name, other in models.items():
                alike = name in (unit.name, base.name) or label in (self._old.label, self._new.label)
                if other is unit or other is base or not alike or not other.tensors:
                    continue
                if label == self._new.label and _likeness(unit, other) < _RELATED:
                    continue
                key = b"".join(file.manifest.sha256 for file in other.files)
                if key in seen:
                    continue
                seen.add(key)
                for tensor in unit.tensors:
                    there = other.tensors.get(tensor)
                    if there is not None:
                        found.setdefault(tensor, []).append(Elsewhere(f"{label}:{name}", there))
        return found

    def _adapters(self, unit: Unit) -> dict[str, list[tuple[str, Tensor, Tensor]]]:
        """Adapters anywhere, by module."""
        found: dict[str, list[tuple[str, Tensor, Tensor]]] = {}
        groups = [(self._old.label, self._before), (self._new.label, self._after)]
        groups += [(version.label, models) for version, models in self._others]
        seen: set[bytes] = set()
        for label, models in groups:
            for name, other in models.items():
                if other is unit or not other.adapters or other.files[0].manifest.sha256 in seen:
                    continue
                seen.add(other.files[0].manifest.sha256)
                for module, (down, up) in other.adapters.items():
                    found.setdefault(module, []).append((f"{label}:{name}", down, up))
        return found


def _likeness(unit: Unit, other: Unit) -> float:
    """The share of a model's tensors that another one has, by name, or else by what they hold."""
    mine = {name: tensor for name, tensor in unit.tensors.items() if not is_state(name)} or unit.tensors
    there = _aligned(unit, other)
    named = sum(name in there for name in mine) / max(len(mine), 1)
    if named or not mine:
        return named
    contents = {tensor.content for tensor in other.tensors.values() if tensor.span.length}
    return sum(tensor.content in contents for tensor in mine.values()) / len(mine)


def _aligned(unit: Unit, base: Unit) -> dict[str, Tensor]:
    """A model's tensors as another one calls them: wrappers of training put a word before every name."""
    for name in unit.tensors:
        if name in base.tensors:
            return base.tensors
    for name in unit.tensors:
        word, dot, rest = name.partition(".")
        if dot and rest in base.tensors:
            return {word + dot + known: tensor for known, tensor in base.tensors.items()}
    for name in base.tensors:
        word, dot, rest = name.partition(".")
        if dot and rest in unit.tensors:
            return {known.removeprefix(word + dot): tensor for known, tensor in base.tensors.items()}
    return base.tensors


def _missing(before: Mapping[str, Tensor], unit: Unit, relations: Iterable[Relation]) -> list[str]:
    """Tensors that are there no longer, under no name."""
    renamed = {relation.detail.get("old_name") for relation in relations}
    return [name for name in before if name not in unit.tensors and name not in renamed]


def _listed(names: Iterable[str]) -> str:
    every = [one_line(name) for name in names]
    shown = ", ".join(every[:_FILES])
    return shown if len(every) <= _FILES else f"{shown} and {len(every) - _FILES:,} more"
