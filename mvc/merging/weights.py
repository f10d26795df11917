"""A file of weights out of three versions of it, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mvc.formats import Description
from mvc.memoryfile import MemoryFile
from mvc.merging.arithmetic import Made
from mvc.merging.composed import check_composed
from mvc.merging.frames import compose_in_place
from mvc.merging.safetensors_file import compose_safetensors
from mvc.merging.sides import NotMergeable, Sides
from mvc.merging.strategy import Strategies
from mvc.merging.tensors import plan_tensors
from mvc.recipes.stated import Stated

_SAFETENSORS = "safetensors"


class MergedWeights(NamedTuple):
    """A merged file, read as it is calculated; where its tensors lie; what in it is in conflict; and the
    recipes of its tensors by name."""

    file: MemoryFile
    description: Description
    conflicts: tuple[str, ...]
    stated: Mapping[str, Stated]


def merge_weights(name: str, sides: Sides, strategies: Strategies) -> MergedWeights:
    """Merge a file called ``name`` in its folder. Nothing is stored.

    Raises:
        NotMergeable: the file as a whole is in conflict.
    """
    if sides.ours.manifest.format != sides.theirs.manifest.format:
        raise NotMergeable("it is of another format on each side")
    if sides.base is not None and sides.base.manifest.format != sides.ours.manifest.format:
        sides = sides._replace(base=None)
    for side in sides:
        if side is not None:
            side.check()
    plan = plan_tensors(sides, strategies)
    settled = strategies.default and (strategies.side or "ours")
    if sides.ours.manifest.format == _SAFETENSORS:
        made = compose_safetensors(name, sides, plan.sources, settled)
    else:
        made = compose_in_place(name, sides, plan.sources, strategies.side)
    description = check_composed(made, sides.ours.manifest.format, plan.sources)
    stated = {tensor: source.stated() for tensor, source in plan.sources.items() if isinstance(source, Made)}
    return MergedWeights(made.file, description, (*plan.conflicts, *made.conflicts), stated)
