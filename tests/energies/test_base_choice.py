"""The choice of a base measure on a manifold: scales of units, averaged starts."""

import numpy as np
import pytest
import torch

from sk_wmvl.energies import ManifoldMixture
from sk_wmvl.energies.base_choice import choose_base, unit_variances
from sk_wmvl.energies.manifold_mixture import start_mixture, try_mixture
from sk_wmvl.manifolds import Circle, Euclidean, Product, Sphere, Torus


def variances(manifold, x):
    return unit_variances(manifold, x, torch.ones(len(x), dtype=x.dtype), 0).numpy()


def test_angles_have_one_scale_and_coordinates_their_own():
    rng = np.random.default_rng(0)
    narrow, broad = rng.vonmises(0, 100.0, 2000), rng.vonmises(1, 2.0, 2000)
    length, mass = 3 * rng.normal(size=2000), 0.1 * rng.normal(size=2000)
    angles, plain = np.c_[narrow, broad], np.c_[length, mass]
    # half the mean squared distance of two rows, its error a few hundredths
    gap = np.angle(np.exp(1j * (angles[:1000] - angles[1000:])))
    pooled = 0.5 * np.square(gap).mean()
    found = variances(Torus(2), torch.tensor(angles))
    assert found[0] == found[1] == pytest.approx(pooled, rel=0.2)
    found = variances(Euclidean(2), torch.tensor(plain))
    np.testing.assert_allclose(found, [9.0, 0.01], rtol=0.2)
    both = Product(
        [("a", Torus(2)), ("b", Euclidean(2)), ("c", Sphere(2)), ("d", Circle("angle"))]
    )
    pole = np.tile([0.0, 0.0, 1.0], (2000, 1))
    x = torch.tensor(np.c_[angles, plain, pole, narrow])
    found = variances(both, x)
    np.testing.assert_allclose(found[:2], pooled, rtol=0.2)
    np.testing.assert_allclose(found[2:4], [9.0, 0.01], rtol=0.2)
    np.testing.assert_allclose(found[4:], [1e-12, 0.01], rtol=0.2)


@pytest.mark.statistical
def test_averaged_mixtures_beat_single_ones(global_random_seed):
    # 3000 rows about a closed curve in four angles, which no few components fit: 4000 new
    # rows are likelier than under one mixture, of any size, stopped by the same rows.
    rng = np.random.default_rng(global_random_seed)

    def draw(n):
        t = rng.uniform(0, 2 * np.pi, (n, 1))
        x = t * [1, 3, 2, 1] + 0.3 * rng.normal(size=(n, 4))
        return torch.tensor(x % (2 * np.pi))

    x, new = draw(3000), draw(4000)
    one = torch.ones(3000, dtype=torch.float64)
    parts = x[:2500], one[:2500], x[2500:], one[2500:]
    chosen = choose_base(Torus(4), *parts, kinds=("mixture",), seed=global_random_seed)
    assert isinstance(chosen, ManifoldMixture)
    spread = unit_variances(Torus(4), x, one, global_random_seed)
    for k in (32, 64, 128, 256):
        prior = spread * k**-0.5
        trial = try_mixture(Torus(4), parts, k, prior, global_random_seed)
        single = start_mixture(Torus(4), x, one, k, prior, global_random_seed)
        for _ in range(trial.n_iterations):
            single.step(x, one, prior)
        assert chosen.log_prob(new).mean() > single.log_prob(new).mean()
