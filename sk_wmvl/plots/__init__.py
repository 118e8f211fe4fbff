"""Plots: pictures of what was fitted, in scikit-learn's Display convention.

Imports any room; nothing imports it but the main job.
"""

from sk_wmvl.plots.circle import CircleDisplay
from sk_wmvl.plots.density import DensityDisplay
from sk_wmvl.plots.draws import DrawsDisplay
from sk_wmvl.plots.hyperbolic import HyperbolicDisplay
from sk_wmvl.plots.loss_curve import LossCurveDisplay
from sk_wmvl.plots.rotation import RotationDisplay
from sk_wmvl.plots.simplex import SimplexDisplay
from sk_wmvl.plots.sphere import SphereDisplay
from sk_wmvl.plots.torus import TorusDisplay

__all__ = [
    "CircleDisplay",
    "DensityDisplay",
    "DrawsDisplay",
    "HyperbolicDisplay",
    "LossCurveDisplay",
    "RotationDisplay",
    "SimplexDisplay",
    "SphereDisplay",
    "TorusDisplay",
]
