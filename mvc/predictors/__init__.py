"""How a prediction is made out of a record's bases, one file each, and the table that lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mvc.errors import UnsupportedFeature
from mvc.lazytable import LazyTable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class Predictor(Protocol):
    """Makes one prediction out of the plain bytes of some bases. Safe to call from several threads.

    The result must be the same on every machine, bit for bit and for ever: integers, or single IEEE
    operations.
    """

    @property
    def name(self) -> str:
        """How records call it."""

    @property
    def version(self) -> int:
        """Which form of the parameters and of the arithmetic."""

    def predict(self, bases: Sequence[Buffer], params: Mapping[str, Any], length: int) -> Buffer:
        """The prediction for plain bytes of ``length``; may be a view of a base.

        Allocates no more than a small multiple of ``length`` and of the bases.

        Raises:
            CorruptObject: bases or parameters that cannot be predicted from.
            UnsupportedFeature: this machine cannot calculate it exactly.
        """


PREDICTORS: LazyTable[Predictor] = LazyTable(
    {
        ("concat", 1): "mvc.predictors.concat",
        ("cast", 1): "mvc.predictors.cast",
        ("linear", 1): "mvc.predictors.linear",
        ("prune", 1): "mvc.predictors.prune",
        ("n_of_m", 1): "mvc.predictors.n_of_m",
        ("quantise", 1): "mvc.predictors.quantise",
        ("absmax", 1): "mvc.predictors.absmax",
        ("q8_0", 1): "mvc.predictors.q8_0",
        ("rows", 1): "mvc.predictors.rows",
        ("lora", 1): "mvc.predictors.lora",
        ("ties", 1): "mvc.predictors.ties",
    },
    "PREDICTOR",
)
"""Every predictor, by name and version; each module offers ``PREDICTOR``."""


def predict(
    recipe: tuple[str, int, Mapping[str, Any]] | None, bases: Sequence[Buffer], length: int
) -> memoryview:
    """What a recipe (name, version, parameters; None joins the bases) predicts for ``length`` bytes.

    Raises:
        CorruptObject: the bases do not fit.
        UnsupportedFeature: this mvc does not know the recipe.
    """
    name, version, params = recipe or ("concat", 1, {})
    predictor = PREDICTORS.get((name, version))
    if predictor is None:
        raise UnsupportedFeature(
            f"a record needs the predictor {name!r} version {version}", hint="upgrade mvc"
        )
    return memoryview(predictor.predict(bases, params, length))
