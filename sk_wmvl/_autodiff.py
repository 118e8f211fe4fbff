"""Derivatives of an energy with respect to the point: the only file that calls autograd.

Every function switches gradients on for itself, so that callers may be under
``torch.no_grad()``, and says whether a graph is kept for a later derivative in the
parameters (``create_graph``).
"""

import torch
from torch import Tensor, nn

__all__ = [
    "energy_and_grad",
    "energy_grad_laplacian",
    "energy_grad_quadratic",
    "quadratic_form",
]


def energy_and_grad(
    energy: nn.Module,
    x: Tensor,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Return :math:`E(x)` and :math:`\nabla E(x)`.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    x : Tensor of shape (n, d)
        The points; taken as constants.
    create_graph : bool, default=False
        Whether value and gradient can be differentiated in the parameters.
    retain_graph : bool, default=False
        Whether the value alone can be.

    Returns
    -------
    value : Tensor of shape (n,)
    grad : Tensor of shape (n, d)
    """
    keep = create_graph or retain_graph
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = energy(x)
        (grad,) = torch.autograd.grad(
            value.sum(), x, create_graph=create_graph, retain_graph=keep
        )
    return (value if keep else value.detach()), grad


def quadratic_form(grad: Tensor, x: Tensor, v: Tensor, *, create_graph: bool) -> Tensor:
    r"""Return :math:`v^\top \nabla^2 E(x)\, v` of shape (n,) from a kept gradient."""
    with torch.enable_grad():
        (hv,) = torch.autograd.grad(
            (grad * v).sum(), x, create_graph=create_graph, retain_graph=True
        )
    return (hv * v).sum(-1)


def energy_grad_quadratic(
    energy: nn.Module, x: Tensor, v: Tensor, *, create_graph: bool
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :math:`E`, :math:`\nabla E` and the mean of :math:`v_k^\top\nabla^2E\,v_k`.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    x : Tensor of shape (n, d)
        The points.
    v : Tensor of shape (k, n, d)
        Directions, k at each point.
    create_graph : bool
        Whether the results can be differentiated in the parameters.

    Returns
    -------
    value : Tensor of shape (n,)
    grad : Tensor of shape (n, d)
    form : Tensor of shape (n,)
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = energy(x)
        (grad,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        form = torch.zeros_like(value)
        if grad.requires_grad:  # an energy linear in x has no second derivative
            for direction in v:
                form = form + quadratic_form(
                    grad, x, direction, create_graph=create_graph
                )
    form = form / len(v)
    if create_graph:
        return value, grad, form
    return value.detach(), grad.detach(), form.detach()


def energy_grad_laplacian(
    energy: nn.Module, x: Tensor, *, create_graph: bool
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :math:`E`, :math:`\nabla E` and the exact Laplacian :math:`\Delta E`.

    One Hessian-vector product per coordinate, so d times the cost of a gradient.

    Returns
    -------
    value : Tensor of shape (n,)
    grad : Tensor of shape (n, d)
    laplacian : Tensor of shape (n,)
    """
    basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    value, grad, mean = energy_grad_quadratic(
        energy, x, basis[:, None, :].expand(-1, *x.shape), create_graph=create_graph
    )
    return value, grad, mean * x.shape[1]
