"""The comparison behind the main job: data, fits, table and picture.

Imports any room; nothing imports it but the main job.
"""

from sk_wmvl._comparison.data import BUNDLED, BadFileError, DataSet, read_table
from sk_wmvl._comparison.fits import (
    Comparison,
    LastFit,
    Result,
    compare,
    leave_out_constant,
)
from sk_wmvl._comparison.picture import save_figure
from sk_wmvl._comparison.progress import Stages
from sk_wmvl._comparison.report import describe, format_table, save_scores

__all__ = [
    "BUNDLED",
    "BadFileError",
    "Comparison",
    "DataSet",
    "LastFit",
    "Result",
    "Stages",
    "compare",
    "describe",
    "format_table",
    "leave_out_constant",
    "read_table",
    "save_figure",
    "save_scores",
]
