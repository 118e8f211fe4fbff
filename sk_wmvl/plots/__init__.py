"""Pictures of fitted densities, in scikit-learn's Display convention."""

from sk_wmvl.plots.circle import CircleDisplay
from sk_wmvl.plots.density import DensityDisplay
from sk_wmvl.plots.loss_curve import LossCurveDisplay
from sk_wmvl.plots.simplex import SimplexDisplay
from sk_wmvl.plots.sphere import SphereDisplay
from sk_wmvl.plots.torus import TorusDisplay

__all__ = [
    "CircleDisplay",
    "DensityDisplay",
    "LossCurveDisplay",
    "SimplexDisplay",
    "SphereDisplay",
    "TorusDisplay",
]
