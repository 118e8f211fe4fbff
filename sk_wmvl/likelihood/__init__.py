"""Likelihood: what a correction gains over its base, by draws that reach every mode.

Imports tools, manifolds, base measures and energies.
"""

from sk_wmvl.likelihood.audit import Audit, audit
from sk_wmvl.likelihood.gain import SCALES, Gain, best_gain, gain_at, gains
from sk_wmvl.likelihood.modes import Modes, find_modes
from sk_wmvl.likelihood.pool import Cover, Pool, affordable

__all__ = [
    "SCALES",
    "Audit",
    "Cover",
    "Gain",
    "Modes",
    "Pool",
    "affordable",
    "audit",
    "best_gain",
    "find_modes",
    "gain_at",
    "gains",
]
