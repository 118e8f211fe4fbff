"""An energy seen from tangent spaces, over a base measure whose gradient is known."""

import torch

from sk_wmvl._autodiff import energy_and_grad
from sk_wmvl.energies import TangentSpaceEnergy
from sk_wmvl.manifolds import Sphere


def test_the_gradient_of_a_base_is_subtracted():
    # E = <a, x> over a von Mises-Fisher density, log q0 = <b, x> + c: together <a - b, x>.
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    x = Sphere(2).random_point(20, generator=generator, dtype=torch.float64)
    over_base = TangentSpaceEnergy(
        lambda x: x @ a, Sphere(2), x, base_grad=b.expand_as(x)
    )
    together = TangentSpaceEnergy(lambda x: x @ (a - b), Sphere(2), x)
    at = over_base.origin()
    gradient = energy_and_grad(over_base, at)[1]
    torch.testing.assert_close(gradient, energy_and_grad(together, at)[1])
    # each of several moves of a point is from the point's own tangent space
    v = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    slope = (over_base(1e-6 * v) - over_base(-1e-6 * v)) / 2e-6
    expected = (gradient.repeat(2, 1) * v).sum(-1)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-8)
