"""Energies given a context: the batch's rows keep their own context in every objective."""

import pytest
import torch
from torch import nn

from sk_wmvl.energies import (
    ConditionalEnergy,
    GivenContext,
    TangentSpaceEnergy,
    given_context,
)
from sk_wmvl.manifolds import Sphere
from sk_wmvl.objectives import (
    OBJECTIVES,
    AnnealedScoreMatching,
    BaseProposalObjective,
    RiemannianObjective,
)


def is_row_by_row(objective):
    """Return whether a row's value depends on the energy about that row alone."""
    other = BaseProposalObjective | AnnealedScoreMatching  # draws, noise levels
    return not (objective.couples_rows() or isinstance(objective, other))


ROW_BY_ROW = sorted(n for n, make in OBJECTIVES.items() if is_row_by_row(make(1e-2)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_energy(d=3, c=4, **options):
    """Return an energy in float64 whose every weight is random."""
    energy = ConditionalEnergy(d, c, (16, 8), generator=generator(), **options).double()
    for parameter in energy.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator(1))
    return energy


def make_batch(n=6, d=3, c=4):
    z = torch.randn(n, d, dtype=torch.float64, generator=generator(2))
    return z, torch.randn(n, c, dtype=torch.float64, generator=generator(3))


def written_out(energy, z, x, scale):
    h = torch.cat([scale * z, x], 1)
    layers = [m for m in energy.network if isinstance(m, nn.Linear)]
    for layer in layers[:-1]:
        h = torch.tanh(h @ layer.weight.T + layer.bias)
    psi = h @ layers[-1].weight.T + layers[-1].bias
    ones = torch.ones(len(z), 1, dtype=z.dtype)
    return (torch.cat([scale * z, ones], 1) * psi).sum(1)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_energy_is_its_formula(scale):
    energy, (z, x) = make_energy(scale=scale), make_batch()
    torch.testing.assert_close(energy(z, x), written_out(energy, z, x, scale))
    torch.testing.assert_close(energy.given(x)(z), written_out(energy, z, x, scale))


@pytest.mark.parametrize("name", ROW_BY_ROW)
@pytest.mark.parametrize("manifold", [None, Sphere(2)], ids=str)
def test_each_row_sees_its_own_context(name, manifold):
    objective = OBJECTIVES[name](1e-2)
    energy, (z, x) = make_energy(), make_batch()
    if manifold is not None:
        objective = RiemannianObjective(objective, manifold)
        z = nn.functional.normalize(z, dim=1)
    together = objective(energy.given(x), z, generator=generator(4))
    general = objective(GivenContext(energy, x), z, generator=generator(4))
    torch.testing.assert_close(together, general)
    for i in range(len(z)):
        # The same noise, and the context of row i for all rows.
        alone = objective(energy.given(x[i : i + 1]), z, generator=generator(4))
        torch.testing.assert_close(together[i], alone[i])


@pytest.mark.parametrize("name", ROW_BY_ROW)
def test_the_loss_reaches_all_parameters(name):
    energy, (z, x) = make_energy(), make_batch()
    OBJECTIVES[name](1e-2)(energy.given(x), z, generator=generator(4)).mean().backward()
    first = energy.network[0].weight.grad
    assert (first[:, 3:] != 0).any(0).all()
    assert (first[:, :3] != 0).any(0).all()


def test_spectral_norm_and_radius_serve():
    energy, (z, x) = make_energy(spectral_norm=True, radius=2.0), make_batch()
    loss = OBJECTIVES["mvl"](1e-2)(energy.given(x), z, generator=generator(4))
    loss.mean().backward()
    far = energy.given(x)(1e8 * z)
    assert far.abs().max() < 1e3  # bounded in z


def test_a_lifted_conditional_energy_moves_each_point_with_its_context():
    energy, (z, x) = make_energy(), make_batch()
    z = nn.functional.normalize(z, dim=1)
    lifted = TangentSpaceEnergy(energy.given(x), Sphere(2), z)
    v = lifted.origin().repeat(2, 1)
    torch.testing.assert_close(lifted(v), energy(z, x).repeat(2))


def test_without_context_an_energy_is_itself():
    energy = nn.Identity()
    assert given_context(energy, None) is energy
    module, (z, x) = make_energy(), make_batch()
    torch.testing.assert_close(given_context(module, x)(z), module(z, x))

    def plain(z, x):
        return (z.sum(1) - x.sum(1)).square()

    torch.testing.assert_close(given_context(plain, x)(z), plain(z, x))


def test_wrong_contexts_are_named():
    energy, (z, x) = make_energy(), make_batch()
    with pytest.raises(ValueError, match=r"must be \(n, 4\)"):
        energy.given(x[:, :2])
    with pytest.raises(ValueError, match=r"context has 5 row\(s\) and the points 6"):
        energy.given(x[:5])(z)
    with pytest.raises(ValueError, match=r"context has 6 row\(s\) and the points 3"):
        GivenContext(energy, x)(z[:3])
    with pytest.raises(ValueError, match="scale must be"):
        ConditionalEnergy(2, 2, scale=0.0)
