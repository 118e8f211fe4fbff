"""Derivatives with respect to points: the only file that calls autograd.

Every function enables gradients for itself, so callers may be under ``torch.no_grad()``.
``create_graph`` says whether the result can be differentiated again, in the parameters.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = [
    "derivatives_along",
    "energy_and_grad",
    "energy_grad_laplacian",
    "energy_grad_quadratic",
    "hessian",
    "jacobian",
    "joint_grad",
    "metric_drift",
    "pullback",
    "pushforward",
    "quadratic_form",
]


def energy_and_grad(
    energy: Callable[[Tensor], Tensor],
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
        The points, taken as constants.
    create_graph : bool, default=False
        Whether value and gradient can be differentiated in the parameters.
    retain_graph : bool, default=False
        Whether the value can be differentiated, even if the gradient cannot.

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


def hessian(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return second derivatives at points (n, d), of shape (n, d, d), without graph.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) to energies of shape (n,).
    x : Tensor of shape (n, d)
        The points, taken as constants.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        if not grad.requires_grad:  # of an energy that is linear
            return x.new_zeros(*x.shape, x.shape[1])
        rows = [
            torch.autograd.grad(
                column.sum(), x, retain_graph=True, materialize_grads=True
            )[0]
            for column in grad.unbind(1)
        ]
    return torch.stack(rows, 1)


def joint_grad(
    energy: nn.Module,
    x: Tensor,
    t: Tensor,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :math:`E(x,t)`, :math:`\nabla_x E` and :math:`\partial_t E`.

    Parameters
    ----------
    energy : Module
        Maps points of shape (n, d) and noise levels of shape (n,) to energies of shape
        (n,).
    x : Tensor of shape (n, d)
        The points, taken as constants.
    t : Tensor of shape (n,)
        The noise levels, taken as constants.
    create_graph, retain_graph : bool, default=False
        As in `energy_and_grad`.

    Returns
    -------
    value : Tensor of shape (n,)
    grad : Tensor of shape (n, d)
    slope : Tensor of shape (n,)
    """
    keep = create_graph or retain_graph
    with torch.enable_grad():
        x, t = x.detach().requires_grad_(), t.detach().requires_grad_()
        value = energy(x, t)
        grad, slope = torch.autograd.grad(
            value.sum(), (x, t), create_graph=create_graph, retain_graph=keep
        )
    return (value if keep else value.detach()), grad, slope


def quadratic_form(grad: Tensor, x: Tensor, v: Tensor, *, create_graph: bool) -> Tensor:
    r"""Return :math:`v^\top \nabla^2 E(x)\, v` of shape (n,) from a gradient with graph."""
    with torch.enable_grad():
        (hv,) = torch.autograd.grad(
            (grad * v).sum(),
            x,
            create_graph=create_graph,
            retain_graph=True,
            materialize_grads=True,  # zeros, where the gradient does not move
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

    It takes one Hessian-vector product per coordinate, d times the cost of a gradient.

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


def pullback(f: Callable[[Tensor], Tensor], y: Tensor, covector: Tensor) -> Tensor:
    r"""Return :math:`J(y)^\top c`, row by row, with J the Jacobian of `f`.

    Parameters
    ----------
    f : callable
        Maps tensors of shape (n, m) to (n, d), rows independently.
    y : Tensor of shape (n, m)
        The points, taken as constants.
    covector : Tensor of shape (n, d)
        The covector c. The result carries a graph if c does.

    Returns
    -------
    pulled : Tensor of shape (n, m)
    """
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        (pulled,) = torch.autograd.grad(
            f(y), y, covector, create_graph=covector.requires_grad
        )
    return pulled


def pushforward(f: Callable[[Tensor], Tensor], y: Tensor, vector: Tensor) -> Tensor:
    r"""Return :math:`J(y)\,v`, row by row, with J the Jacobian of `f`, without a graph.

    Parameters
    ----------
    f : callable
        Maps tensors of shape (n, m) to (n, d), rows independently.
    y : Tensor of shape (n, m)
        The points.
    vector : Tensor of shape (n, m)
        The vector v.

    Returns
    -------
    pushed : Tensor of shape (n, d)
    """
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        value = f(y)
        dual = torch.zeros_like(value, requires_grad=True)
        # J'c is linear in c, and its derivative in c along v is Jv: reverse over reverse
        (pulled,) = torch.autograd.grad(value, y, dual, create_graph=True)
        (pushed,) = torch.autograd.grad(pulled, dual, vector.detach())
    return pushed


def derivatives_along(
    f: Callable[[Tensor], Tensor], y: Tensor, vector: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the first two derivatives of :math:`t\mapsto f(y + tv)` at zero.

    The results carry no graph. The cost does not grow with the number of outputs. (Nested
    forward mode would do the same, but torch then imports its compiler for seconds.)

    Parameters
    ----------
    f : callable
        Maps tensors of shape (n, m) to (n, ...), rows independently.
    y : Tensor of shape (n, m)
        The points.
    vector : Tensor of shape (n, m)
        The direction v.

    Returns
    -------
    first, second : Tensor of shape (n, ...)
    """

    def push(value: Tensor, *, create_graph: bool) -> Tensor:
        """Return the derivative of `value` along the direction, as in `pushforward`."""
        if not value.requires_grad:
            return torch.zeros_like(value)
        dual = torch.zeros_like(value, requires_grad=True)
        (pulled,) = torch.autograd.grad(
            value, y, dual, create_graph=True, materialize_grads=True
        )
        if not pulled.requires_grad:
            return torch.zeros_like(value)
        (pushed,) = torch.autograd.grad(
            pulled, dual, vector, create_graph=create_graph, materialize_grads=True
        )
        return pushed

    with torch.enable_grad():
        y = y.detach().requires_grad_()
        first = push(f(y), create_graph=True)
        second = push(first, create_graph=False)
    return first.detach(), second


def metric_drift(
    metric: Callable[[Tensor], Tensor], y: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the metric and the drift of Brownian motion in coordinates, without a graph.

    The drift

    .. math:: b^i = \tfrac12 g^{ij}\,\partial_j\log|G| + \partial_k g^{ik}
              = |G|^{-1/2}\,\partial_k\bigl(|G|^{1/2} g^{ik}\bigr)

    is the first-order part of the Laplace-Beltrami operator
    :math:`g^{ij}\partial_i\partial_j + b^i\partial_i`.

    Parameters
    ----------
    metric : callable
        Maps coordinates of shape (n, m) to the metric G of shape (n, m, m), rows
        independently.
    y : Tensor of shape (n, m)
        Coordinates.

    Returns
    -------
    metric : Tensor of shape (n, m, m)
    drift : Tensor of shape (n, m)
    """
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        g = metric(y)
        if not g.requires_grad:  # a constant metric
            return g, torch.zeros_like(y)
        inverse = torch.linalg.inv(g)
        (slope,) = torch.autograd.grad(torch.logdet(g).sum(), y, retain_graph=True)
        # all entries along one coordinate at a time, as in `pushforward`
        dual = torch.zeros_like(g, requires_grad=True)
        (pulled,) = torch.autograd.grad(inverse, y, dual, create_graph=True)
        divergence = torch.zeros_like(y)
        for k in range(y.shape[1]):
            (along,) = torch.autograd.grad(pulled[:, k].sum(), dual, retain_graph=True)
            divergence = divergence + along[:, :, k]
    drift = 0.5 * (inverse.detach() @ slope.unsqueeze(-1)).squeeze(-1) + divergence
    return g.detach(), drift


def jacobian(f: Callable[[Tensor], Tensor], y: Tensor, *, create_graph: bool) -> Tensor:
    r"""Return all first derivatives of a map, row by row.

    Parameters
    ----------
    f : callable
        Maps tensors of shape (n, m) to (n, ...), rows independently.
    y : Tensor of shape (n, m)
        The points.
    create_graph : bool
        Whether the result can be differentiated, also in `y` if `y` carries a graph.

    Returns
    -------
    jacobian : Tensor of shape (n, ..., m)
    """
    with torch.enable_grad():
        keep = create_graph and y.requires_grad
        at = y if keep else y.detach().requires_grad_()
        value = f(at)
        columns = [
            torch.autograd.grad(
                out.sum(),
                at,
                create_graph=create_graph,
                retain_graph=True,
                materialize_grads=True,
            )[0]
            if out.requires_grad
            else torch.zeros_like(at)
            for out in value.flatten(1).unbind(1)
        ]
        return torch.stack(columns, 1).reshape(*value.shape, y.shape[1])
