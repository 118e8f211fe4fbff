"""Coordinates: the units in which training is easy, and what repeats in the data.

Imports the tools alone: whitened columns, nearly normal columns, columns that vary, ties.
"""

from sk_wmvl.coordinates.intervals import find_sectors, spread_angles, spread_line
from sk_wmvl.coordinates.johnson import (
    InvertedColumns,
    JohnsonColumns,
    JohnsonTransform,
    fit_johnson,
)
from sk_wmvl.coordinates.ties import (
    Atom,
    Ties,
    blur,
    discrete_columns,
    few_valued_columns,
    find_atoms,
    find_ties,
    rounding_steps,
)
from sk_wmvl.coordinates.varying import (
    Relation,
    VaryingColumns,
    find_relations,
)
from sk_wmvl.coordinates.whitening import (
    ClippedMoments,
    Coordinates,
    central_rows,
    central_units,
    fit_coordinates,
    weighted_moments,
)

__all__ = [
    "Atom",
    "ClippedMoments",
    "Coordinates",
    "InvertedColumns",
    "JohnsonColumns",
    "JohnsonTransform",
    "Relation",
    "Ties",
    "VaryingColumns",
    "blur",
    "central_rows",
    "central_units",
    "discrete_columns",
    "few_valued_columns",
    "find_atoms",
    "find_relations",
    "find_sectors",
    "find_ties",
    "fit_coordinates",
    "fit_johnson",
    "rounding_steps",
    "spread_angles",
    "spread_line",
    "weighted_moments",
]
