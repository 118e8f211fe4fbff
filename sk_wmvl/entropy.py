r"""Gradients of an encoder's entropy, from the score of its distribution."""

from torch import Tensor, nn

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.energies import given_context

__all__ = ["entropy_surrogate", "score_surrogate"]


def entropy_surrogate(
    energy: nn.Module, z: Tensor, context: Tensor | None = None
) -> Tensor:
    r"""Return a scalar whose gradient is that of the entropy of an encoder's draws.

    For :math:`z = f(\varepsilon;\phi)` with density q, and an energy with
    :math:`\nabla\log q \approx -\nabla E`,

    .. math:: \nabla_\phi H[q] = -\mathbb{E}\bigl[\nabla_z\log q(z)\cdot
              \nabla_\phi f\bigr] \approx \mathbb{E}\bigl[\nabla E(z)\cdot
              \nabla_\phi f\bigr],

    eq. (19) of [Wang2020]_. With a context x, q is the conditional density of z given x,
    and the gradient is that of the conditional entropy, averaged over x. If the points
    stay on a manifold and q is a density with respect to its volume, the gradient is that
    of the Hausdorff entropy (appendix D). No metric is needed, since the differential of E
    acts on the motion of the point.

    Parameters
    ----------
    energy : Module
        Minus the log density of z, up to a constant: maps points of shape (n, d) to
        energies of shape (n,); with a `context`, a `ConditionalEnergy` or any module
        that maps points and contexts to energies.
    z : Tensor of shape (n, d)
        Draws of the encoder, with their graph.
    context : Tensor of shape (n, c), default=None
        The encoder's inputs.

    Returns
    -------
    surrogate : Tensor of shape ()
        Its value is the mean energy, which is the entropy up to an unknown constant.
        *Maximise* it to gain entropy. No gradient reaches the energy's parameters or the
        context.

    References
    ----------
    [Wang2020]_

    Examples
    --------
    The entropy of N(0, σ²) is log σ plus a constant, and its derivative at σ = 2 is one
    half. The two draws here have the mean square σ²:

    >>> import torch
    >>> from sk_wmvl.entropy import entropy_surrogate
    >>> sigma = torch.tensor(2.0, requires_grad=True)
    >>> z = sigma * torch.tensor([[-1.0], [1.0]])
    >>> energy = lambda z: (z**2).sum(-1) / (2 * 2.0**2)
    >>> entropy_surrogate(energy, z).backward()
    >>> sigma.grad
    tensor(0.5000)
    """
    held = None if context is None else context.detach()
    value, grad = energy_and_grad(given_context(energy, held), z)
    return value.mean() + score_surrogate(-grad, z)


def score_surrogate(score: Tensor, z: Tensor) -> Tensor:
    r"""Return zero, with the gradient of the entropy, from a score field.

    Parameters
    ----------
    score : Tensor of shape (n, d)
        :math:`\nabla\log q` at `z`, taken as constant. On a manifold it may be any covector
        that acts on tangent vectors in the same way.
    z : Tensor of shape (n, d)
        Draws of the encoder, with their graph.

    Returns
    -------
    surrogate : Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.entropy import score_surrogate
    >>> sigma = torch.tensor(2.0, requires_grad=True)
    >>> z = sigma * torch.tensor([[-1.0], [1.0]])
    >>> score_surrogate(-z / 4, z).backward()
    >>> sigma.grad
    tensor(0.5000)
    """
    moved = z - z.detach()  # its value is zero, its derivative that of z
    return -(score.detach() * moved).sum(-1).mean()
