"""Normalizers: log Z, each estimate with its standard error.

Imports what is below them: tools to energies, and samplers.
"""

from sk_wmvl.normalizers._base import (
    BaseNormalizer,
    LogNormalizer,
    NormalizerWarning,
    find_fault,
    is_expensive,
    log_mean_exp,
    warn_if_unreliable,
)
from sk_wmvl.normalizers.annealed import AnnealedNormalizer
from sk_wmvl.normalizers.auto import AutoNormalizer
from sk_wmvl.normalizers.importance import ImportanceNormalizer
from sk_wmvl.normalizers.quadrature import QuadratureNormalizer

NORMALIZERS = {
    "auto": AutoNormalizer,
    "quadrature": QuadratureNormalizer,
    "importance": ImportanceNormalizer,
    "annealed": AnnealedNormalizer,
}

__all__ = [
    "NORMALIZERS",
    "AnnealedNormalizer",
    "AutoNormalizer",
    "BaseNormalizer",
    "ImportanceNormalizer",
    "LogNormalizer",
    "NormalizerWarning",
    "QuadratureNormalizer",
    "find_fault",
    "is_expensive",
    "log_mean_exp",
    "warn_if_unreliable",
]
