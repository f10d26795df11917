"""What files would cost, one after the other, with what those before them offer: the same finders look for
recipes as when they are committed, and the same estimate chooses among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from mvc.forecast.planned import Plan, PlannedIndex, PlannedObjects
from mvc.forecast.price import RECORD_BYTES, Price, price
from mvc.forecast.survey import WHOLE_GLUE, Piece, Surveyed
from mvc.forecast.trial import predict
from mvc.ingest import EXACT_PAYS
from mvc.monitor import Monitor
from mvc.objectid import ManifestId
from mvc.odb.encoder import encode_opaque
from mvc.recipes.finder import FileRecipes
from mvc.recipes.library import Library
from mvc.recipes.lora import Merged
from mvc.recipes.quantise import Quantised, Scales
from mvc.recipes.recipe import TensorRecipe
from mvc.spans import Span

OBJECT_BYTES = 64
"""Of the index, for each object."""

VERSION_BYTES = 1500
"""Of a version that holds one more file: commit, trees, its segment's head, locator and line of the log."""

_SCALES_BYTES = 200  # of a record that a recipe for scales makes
_MANIFEST_STEPS = 20
_CONVINCED = 4  # tensors that were quantised from one file's, until the rest is taken for the same


@dataclass(slots=True)
class Cost:
    """What a file would take: ``stored`` bytes in all, ``coded`` those of new pieces as they are, of which
    ``based`` are predicted from others. ``recipes`` counts the latter by relation and the path of the file
    that they are predicted from."""

    stored: float = 0.0
    coded: int = 0
    based: int = 0
    objects: int = 0
    recipes: Counter[tuple[str, str]] = field(default_factory=Counter)


class Pricing:
    """Prices files in the order in which they would be committed."""

    def __init__(self, files: Mapping[ManifestId, Surveyed], monitor: Monitor) -> None:
        self._files = files
        self._objects = PlannedObjects(files, monitor)
        self._library = Library(self._objects, PlannedIndex())
        self._ratios: dict[ManifestId, float] = {}
        self._usual: dict[tuple[ManifestId, ManifestId], list[float]] = {}

    def add(self, file: Surveyed, *, merged: bool = False) -> Cost:
        """The cost of a file, which counts as stored from now on.

        Adapters are only tried on one that is known to be ``merged``: there may be many, and each takes long.
        """
        found = Cost()
        new = [piece for piece in file.pieces if piece.id not in self._objects]
        glue = [piece for piece in file.pieces if piece.tensor is None]
        tensors: dict[int, list[Piece]] = {}
        for piece in {piece.id: piece for piece in new}.values():
            if piece.tensor is None:
                found.stored += self._opaque(file, piece, glue)
                self._objects.add(file, piece, Plan())
            else:
                tensors.setdefault(piece.tensor, []).append(piece)
        recipes = FileRecipes(self._library, file.spans, file.read, None)
        ratios: list[float] = []
        plans: list[tuple[Piece, Plan]] = []
        rest: list[list[Piece]] = []
        for place, pieces in tensors.items():
            if not file.runs[place]:
                rest.append(pieces)
                continue
            ways = [
                recipe
                for recipe in recipes.choice(file.spans[place]).recipes
                if merged or not isinstance(recipe, Merged)
            ]
            cost = self._tensor(file, place, pieces, ways, found, plans)
            ratios.append(cost / sum(piece.length for piece in pieces))
        for pieces in rest:
            length = sum(piece.length for piece in pieces)
            found.stored += min(fmean(ratios) if ratios else 1.0, 1.0) * length + RECORD_BYTES * len(pieces)
            plans += [(piece, Plan()) for piece in pieces]
        for piece, plan in plans:
            self._objects.add(file, piece, plan)
        data = file.manifest.to_bytes()
        found.stored += len(encode_opaque(data, None).stored) + RECORD_BYTES + _MANIFEST_STEPS
        found.objects = len({piece.id for piece in new}) + 1
        found.coded = sum(piece.length for piece in {piece.id: piece for piece in new}.values())
        found.stored += OBJECT_BYTES * found.objects + VERSION_BYTES
        self._library.learn(file.identity, file.manifest, recipes.rows(file.identity, file.manifest))
        return found

    def _tensor(
        self,
        file: Surveyed,
        place: int,
        pieces: Sequence[Piece],
        recipes: Sequence[TensorRecipe],
        found: Cost,
        plans: list[tuple[Piece, Plan]],
    ) -> float:
        span = file.spans[place]
        best: Price | None = None
        chosen: TensorRecipe | None = None
        for recipe in recipes:
            if isinstance(recipe, Scales):
                best, chosen = Price(_SCALES_BYTES, True), recipe
                break
            usual = self._usual.get((file.identity, recipe.operands[0].file.identity), [])
            if isinstance(recipe, Quantised) and len(usual) >= _CONVINCED:
                best, chosen = Price(fmean(usual) * len(pieces), True), recipe
                break
            given = predict(self._objects, file, place, recipe)
            if given is None:
                continue
            now = price(span, given.groups, len(pieces), given.hint)
            if best is None or now.stored < best.stored:
                best, chosen = now, recipe
            if recipe.exact and now.stored * EXACT_PAYS < span.length:
                if isinstance(recipe, Quantised):
                    key = file.identity, recipe.operands[0].file.identity
                    self._usual.setdefault(key, []).append(now.stored / len(pieces))
                break
        if best is None:
            samples = [(file.sample(place, group), None) for group in file.runs[place]]
            best = price(span, samples, len(pieces), None)
        used = chosen if best.based else None
        for piece in pieces:
            plans.append((piece, self._plan(span, piece, used)))
        if used is not None:
            found.based += sum(piece.length for piece in pieces)
            source = self._files[used.operands[0].file.identity]
            found.recipes[used.relation, source.path] += sum(piece.length for piece in pieces)
        found.stored += best.stored
        return best.stored

    def _plan(self, span: Span, piece: Piece, recipe: TensorRecipe | None) -> Plan:
        """How a piece would be stored. That its bytes are not there matters to recipes that look at them;
        then what the operands' first pieces say of the depth is taken for true."""
        if recipe is None:
            return Plan()
        if recipe.relation == "fine-tune":
            hint = recipe.hint(self._objects, piece.position, bytes(piece.length))
            return Plan() if hint is None else Plan(hint.depth + 1, hint.bases, hint.recipe)
        depth = 0
        for operand in recipe.operands:
            for base in (operand.stretches(0, min(operand.span.length, 1)) or ())[:1]:
                depth = max([depth, *(entry.depth for entry in self._objects.entries(base.id)[:1])])
        return Plan(depth + 1)

    def _opaque(self, file: Surveyed, piece: Piece, alike: Sequence[Piece]) -> float:
        """A piece of no known structure; ``alike`` are all such pieces of its file, which share what is read
        where they are too long."""
        if sum(one.length for one in alike) <= WHOLE_GLUE:
            stored = float(len(encode_opaque(file.read(piece.offset, piece.length), None).stored))
        else:
            if file.identity not in self._ratios:
                data = b"".join(file.window(one.offset, one.length) for one in alike)
                self._ratios[file.identity] = len(encode_opaque(data, None).stored) / len(data)
            stored = self._ratios[file.identity] * piece.length
        return stored + RECORD_BYTES + _MANIFEST_STEPS
