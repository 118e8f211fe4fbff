"""A network as the correction of a base measure, and a change of units around it."""

import copy
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sk_wmvl.base_measures._base import BaseMeasure
from sk_wmvl.coordinates.johnson import JohnsonColumns, JohnsonTransform
from sk_wmvl.energies._base import BaseEnergy
from sk_wmvl.manifolds import BaseManifold

__all__ = ["CorrectedEnergy", "FeatureEnergy", "TransformedEnergy", "freeze"]


class CorrectedEnergy(BaseEnergy):
    r"""The energy :math:`E(x) = \lambda E_\theta(x) - \log q_0(x) + c`.

    Parameters
    ----------
    correction : Module
        The network's energy :math:`E_\theta`; any module from (n, d) to (n,).
    base : BaseMeasure or None
        The density :math:`q_0`; None for none.
    scale : float, default=1.0
        The factor :math:`\lambda`: 0 is the base measure, 1 the full correction.
    offset : float or None, default=None
        If given, the initial value of a free constant c, for objectives that learn
        :math:`\log Z` as a parameter. None is no constant.

    Examples
    --------
    An untrained correction leaves the base.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.energies import CorrectedEnergy, MLPEnergy
    >>> base = GaussianBase(np.zeros(2), np.eye(2)).float()
    >>> CorrectedEnergy(MLPEnergy(2), base)(torch.zeros(1, 2)).detach()  # log(2 pi)
    tensor([1.8379])
    """

    offset: nn.Parameter | None

    def __init__(
        self,
        correction: nn.Module,
        base: BaseMeasure | None,
        *,
        scale: float = 1.0,
        offset: float | None = None,
    ):
        super().__init__()
        self.correction = correction
        self.base = base
        self.scale = scale
        constant = None if offset is None else nn.Parameter(torch.tensor(float(offset)))
        self.register_parameter("offset", constant)

    def learned(self, x: Tensor) -> Tensor:
        """Return the energies without those of the base, of shape (n,)."""
        value = self.correction(x)
        if self.scale != 1:
            value = self.scale * value
        return value if self.offset is None else value + self.offset

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        value = self.learned(x)
        return value if self.base is None else value - self.base.log_prob(x)


class FeatureEnergy(BaseEnergy):
    r"""An energy of the features of a point on a manifold.

    The features have the periods and sign symmetries of the manifold, and so has any
    function of them.

    Parameters
    ----------
    energy : Module
        Maps features of shape (n, n_features) to energies of shape (n,).
    manifold : BaseManifold
        The manifold.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.energies import FeatureEnergy
    >>> from sk_wmvl.manifolds import Torus
    >>> energy = FeatureEnergy(lambda z: z[:, 0], Torus(1))  # the cosine
    >>> energy(torch.tensor([[0.0], [6.283185307]]))
    tensor([1., 1.])
    """

    def __init__(self, energy: nn.Module, manifold: BaseManifold):
        super().__init__()
        self.energy = energy
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,), at points of shape (n, d)."""
        return self.energy(self.manifold.features(x))


class TransformedEnergy(BaseEnergy):
    r"""An energy in units u, seen in the user's units: :math:`T(x) = m + S u`.

    .. math:: E(x) = E_u\bigl(S^{-1}(T(x) - m)\bigr) + \log|\det S|
        - \textstyle\sum_j\log T_j'(x_j).

    The log-determinants make the normalising constant the same in both units.

    Parameters
    ----------
    energy : CorrectedEnergy
        The energy of u.
    mean : array of shape (d,)
        The shift m.
    scale : array of shape (d, d)
        The matrix S.
    transform : JohnsonTransform or None, default=None
        The map T of every column; None is the identity.

    Examples
    --------
    A standard normal u, seen as x = 10 u: the density at zero is ten times lower.

    >>> import numpy as np
    >>> import torch
    >>> from sk_wmvl.base_measures import GaussianBase
    >>> from sk_wmvl.energies import CorrectedEnergy, MLPEnergy, TransformedEnergy
    >>> base = GaussianBase(np.zeros(1), np.eye(1))
    >>> inner = CorrectedEnergy(MLPEnergy(1).double(), base)
    >>> outer = TransformedEnergy(inner, np.zeros(1), 10 * np.eye(1))
    >>> x = torch.zeros(1, 1).double()
    >>> (outer(x) - inner(x)).detach()  # log(10)
    tensor([2.3026], dtype=torch.float64)
    """

    energy: CorrectedEnergy
    mean: Tensor
    scale: Tensor
    inverse: Tensor

    def __init__(
        self,
        energy: CorrectedEnergy,
        mean: np.ndarray,
        scale: np.ndarray,
        transform: JohnsonTransform | None = None,
    ):
        super().__init__()
        self.energy = energy
        self.columns = None if transform is None else JohnsonColumns(transform)
        to = torch.float64
        self.register_buffer("mean", torch.tensor(mean, dtype=to))
        self.register_buffer("scale", torch.tensor(scale, dtype=to))
        self.register_buffer("inverse", torch.tensor(np.linalg.inv(scale), dtype=to))
        self.log_constant = float(np.linalg.slogdet(scale)[1])

    def to_internal(self, x: Tensor) -> Tensor:
        """Return u at points x, both of shape (n, d)."""
        y = x if self.columns is None else self.columns(x)
        return (y - self.mean) @ self.inverse.T

    def to_user(self, u: Tensor) -> Tensor:
        """Return x at points u, both of shape (n, d)."""
        y = self.mean + u @ self.scale.T
        return y if self.columns is None else self.columns.inverse(y)

    def log_det(self, x: Tensor) -> Tensor:
        """Return the log of the volume of x per volume of u, of shape (n,)."""
        if self.columns is None:
            return x.new_full((len(x),), self.log_constant)
        return self.log_constant - self.columns.log_det(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        return self.energy(self.to_internal(x)) + self.log_det(x)


def freeze(module: nn.Module) -> nn.Module:
    """Return a copy for evaluation: float64, no gradients, plain weights.

    The copy can be pickled. A module with parametrisations cannot.
    """
    module = copy.deepcopy(module).eval()
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            # torch keeps the weight as a property of a class that copies share, and
            # deletes it there: without a class of its own the original would lose it too.
            kind = type(part)
            part.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
            for name in list(cast(nn.ModuleDict, part.parametrizations)):
                parametrize.remove_parametrizations(part, name)
    return module.double().requires_grad_(False)
