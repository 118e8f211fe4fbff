"""An energy on a manifold, seen from the tangent spaces at given points.

At the origin of each tangent space its first two derivatives are the Riemannian ones, so
that code written for Euclidean space works on a manifold without a change.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sk_wmvl._autodiff import derivatives_along
from sk_wmvl.energies._base import BaseEnergy
from sk_wmvl.manifolds import BaseManifold
from sk_wmvl.manifolds._unit_vectors import UnitVectors

__all__ = ["TangentSpaceEnergy", "tangent_basis", "tangent_derivatives", "tangent_jets"]


def tangent_basis(manifold: BaseManifold, x: Tensor) -> Tensor:
    r"""Return orthonormal coordinates of the tangent spaces: B of shape (n, k, m).

    The columns of B are orthonormal and span the row space of the frame A. The map
    :math:`w\mapsto A(x)\,Bw` is therefore an isometry from :math:`\mathbb{R}^m` onto the
    tangent space. The other k - m coordinates of the frame move nothing.

    Parameters
    ----------
    manifold : BaseManifold
        With its dimension known.
    x : Tensor of shape (n, d)
        Points.

    Returns
    -------
    basis : Tensor of shape (n, k, m)
        Constant: it carries no gradient.

    Examples
    --------
    Two of the three coordinates that move a point of the sphere:

    >>> import torch
    >>> from sk_wmvl.energies import tangent_basis
    >>> from sk_wmvl.manifolds import Sphere
    >>> tangent_basis(Sphere(2), torch.tensor([[0.0, 0.0, 1.0]])).shape
    torch.Size([1, 3, 2])
    """
    n, k, m = len(x), manifold.frame_dim, manifold.dim
    eye = torch.eye(k, dtype=x.dtype, device=x.device)
    with torch.no_grad():
        if k == m:
            return eye.expand(n, k, k)
        if isinstance(manifold, UnitVectors):
            # A reflection that takes the first axis to x takes the other axes to tangents.
            sign = torch.where(x[:, :1] < 0, -1.0, 1.0).to(x)
            u = torch.cat([x[:, :1] + sign, x[:, 1:]], 1)
            scale = 2 / u.square().sum(1)
            return eye[:, 1:] - scale[:, None, None] * u[:, :, None] * u[:, None, 1:]
        rows = manifold.frame(x.repeat(k, 1), eye.repeat_interleave(n, 0))
        frame = rows.view(k, n, -1).permute(1, 2, 0)  # A, of shape (n, d, k)
        return torch.linalg.svd(frame, full_matrices=False).Vh[:, :m].mT


class TangentSpaceEnergy(BaseEnergy):
    r"""The energy of the point that a tangent vector leads to.

    .. math:: \tilde E_x(v) = E\bigl(\mathrm{retract}(x, A(x)\,v)\bigr),
              \qquad v\in\mathbb{R}^k.

    :math:`AA^\top = G^{-1}`, and the retraction agrees with exp to second order. At v = 0,
    therefore, its gradient has the length of the Riemannian gradient of E, its differential
    applied to v is :math:`dE_x(Av)`, and its Laplacian is :math:`\Delta E`, that of
    Laplace-Beltrami. A Langevin step on it from v = 0 is the step of `RiemannianLangevin`.

    Parameters
    ----------
    energy : Module or callable
        Maps points of shape (n, d) to energies of shape (n,).
    manifold : BaseManifold
        The manifold.
    x : Tensor of shape (n, d)
        Where the tangent spaces are attached; held constant.
    basis : Tensor of shape (n, k, m) or None, default=None
        If given, coordinates w of shape (n, m) stand for v = Bw; see `tangent_basis`.
    base_grad : Tensor of shape (n, d) or None, default=None
        Derivatives of the log density of a base measure at `x`. If given, `energy` is a
        correction of that base, and the value is
        :math:`E(\cdot) - \langle\nabla\log q_0(x), A(x)\,v\rangle`. Score matching sees no
        more of the base, up to a constant. The base is then not evaluated in training, and
        its curvature adds no noise.

    See Also
    --------
    sk_wmvl.objectives.RiemannianObjective : An objective in tangent spaces.

    Examples
    --------
    On the sphere the function :math:`x_3` has :math:`\Delta x_3 = -2x_3`.

    >>> import torch
    >>> from sk_wmvl._autodiff import energy_grad_laplacian
    >>> from sk_wmvl.energies import TangentSpaceEnergy
    >>> from sk_wmvl.manifolds import Sphere
    >>> x = torch.tensor([[0.6, 0.0, 0.8]])
    >>> seen = TangentSpaceEnergy(lambda x: x[:, 2], Sphere(2), x)
    >>> energy_grad_laplacian(seen, torch.zeros(1, 3), create_graph=False)[2]
    tensor([-1.6000])
    """

    def __init__(
        self,
        energy: Callable[[Tensor], Tensor],
        manifold: BaseManifold,
        x: Tensor,
        *,
        basis: Tensor | None = None,
        base_grad: Tensor | None = None,
    ):
        super().__init__()
        self.energy = energy
        self.manifold = manifold
        self.x = x.detach()
        self.basis = basis
        self.base_grad = base_grad

    def origin(self) -> Tensor:
        """Return the coordinates of the points themselves, which are zero."""
        width = self.manifold.frame_dim if self.basis is None else self.basis.shape[2]
        return self.x.new_zeros(len(self.x), width)

    def forward(self, v: Tensor) -> Tensor:
        """Return the energies, of shape (r n,), at coordinates of shape (r n, k).

        Objectives evaluate several moves of each point in one call; then r > 1, and
        row i belongs to point i modulo n.
        """
        repeats, rest = divmod(len(v), len(self.x)) if len(self.x) else (1, len(v))
        if rest:
            raise ValueError(
                f"TangentSpaceEnergy has tangent spaces at {len(self.x)} point(s) and got "
                f"coordinates of {len(v)} rows; each point needs the same number of moves."
            )
        if self.basis is not None:
            moves = v.view(repeats, len(self.x), -1, 1)
            v = (self.basis @ moves).reshape(len(v), -1)
        x = self.x if repeats == 1 else self.x.repeat(repeats, 1)
        u = self.manifold.frame(x, v)
        value = self.energy(self.manifold.retract(x, u))
        if self.base_grad is None:
            return value
        grad = self.base_grad if repeats == 1 else self.base_grad.repeat(repeats, 1)
        return value - (grad * u).sum(-1)


def tangent_jets(
    f: Callable[[Tensor], Tensor], manifold: BaseManifold, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return two derivatives of many functions along each of m tangent directions.

    Parameters
    ----------
    f : callable
        Maps points of shape (n, d) to k values each, (n, k).
    manifold : BaseManifold
        With its dimension m known.
    x : Tensor of shape (n, d)
        Points.

    Returns
    -------
    first, second : Tensor of shape (n, m, k)
        Along the orthonormal directions of `tangent_basis`, without graph.
    """
    seen = TangentSpaceEnergy(f, manifold, x, basis=tangent_basis(manifold, x))
    origin = seen.origin()
    jets = [
        derivatives_along(seen, origin, direction.expand_as(origin))
        for direction in torch.eye(origin.shape[1], dtype=x.dtype, device=x.device)
    ]
    first, second = zip(*jets, strict=True)
    return torch.stack(first, 1), torch.stack(second, 1)


def tangent_derivatives(
    f: Callable[[Tensor], Tensor], manifold: BaseManifold, x: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return gradients and Laplacians of many functions at once, without graph.

    Parameters
    ----------
    f : callable
        Maps points of shape (n, d) to k values each, (n, k).
    manifold : BaseManifold
        With its dimension m known.
    x : Tensor of shape (n, d)
        Points.

    Returns
    -------
    gradients : Tensor of shape (n, m, k)
        In the orthonormal coordinates of `tangent_basis`.
    laplacians : Tensor of shape (n, k)
        Of Laplace-Beltrami.

    Examples
    --------
    The coordinates of the sphere have :math:`\Delta x_i = -2x_i`.

    >>> import torch
    >>> from sk_wmvl.energies import tangent_derivatives
    >>> from sk_wmvl.manifolds import Sphere
    >>> x = torch.tensor([[0.6, 0.0, 0.8]])
    >>> tangent_derivatives(lambda x: x, Sphere(2), x)[1]
    tensor([[-1.2000,  0.0000, -1.6000]])
    """
    first, second = tangent_jets(f, manifold, x)
    return first, second.sum(1)
