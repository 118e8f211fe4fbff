"""The choice of a base measure on a manifold: scales of units, averaged starts."""

import numpy as np
import pytest
import torch

from sk_wmvl.base_measures import ManifoldMixture
from sk_wmvl.base_measures.manifold_mixture import start_mixture, try_mixture
from sk_wmvl.base_measures.selection.bandwidths import left_out_mean
from sk_wmvl.base_measures.selection.manifold import (
    Points,
    choose_base,
    choose_spread,
)
from sk_wmvl.manifolds import Circle, Euclidean, Product, Sphere, Torus


def variances(manifold, x):
    one = torch.ones(len(x), dtype=x.dtype)
    return choose_spread(manifold, Points(x, one), 0).numpy()


def test_angles_have_one_scale_where_clusters_are_as_wide():
    rng = np.random.default_rng(0)
    length, mass = 3 * rng.normal(size=1000), 0.1 * rng.normal(size=1000)
    one, two = 0.1 * rng.normal(size=(2, 1000))
    two += rng.choice([0, 2.0], 1000)
    angles, plain = np.c_[one, two], np.c_[length, mass]
    # half the mean squared distance of two rows: of one angle 0.01, of the other 1.01
    found = variances(Torus(2), torch.tensor(angles))
    assert found[0] == found[1] == pytest.approx(0.51, rel=0.1)
    found = variances(Euclidean(2), torch.tensor(plain))
    np.testing.assert_allclose(found, [9.0, 0.01], rtol=0.2)
    both = Product(
        [("a", Torus(2)), ("b", Euclidean(2)), ("c", Sphere(2)), ("d", Circle("angle"))]
    )
    pole = np.tile([0.0, 0.0, 1.0], (1000, 1))
    x = torch.tensor(np.c_[angles, plain, pole, 0.1 * rng.normal(size=1000)])
    found = variances(both, x)
    np.testing.assert_allclose(found[:2], 0.51, rtol=0.1)
    np.testing.assert_allclose(found[2:4], [9.0, 0.01], rtol=0.2)
    np.testing.assert_allclose(found[4:], [1e-12, 0.01], rtol=0.2)


def test_angles_have_their_own_scales_where_one_varies_more():
    rng = np.random.default_rng(0)
    broad = rng.uniform(0, 2 * np.pi, 300)
    narrow = 0.3 * np.sin(broad) + 0.01 * rng.normal(size=300)
    x = torch.tensor(np.c_[narrow, broad] % (2 * np.pi))
    found = variances(Torus(2), x)
    assert found[0] == pytest.approx(0.045, rel=0.2)
    assert found[1] == pytest.approx(np.pi**2 / 6, rel=0.2)
    # two angles are the same space, however they are written
    x, one = x[:100], torch.ones(100, dtype=torch.float64)
    parts = x, one, x[:0], one[:0]
    circles = Product([("a", Circle("angle")), ("b", Circle("angle"))])
    torus, product = (
        choose_base(m, *parts, kinds=("kernel",)).log_prob(x)
        for m in (Torus(2), circles)
    )
    torch.testing.assert_close(torus, product)


def test_rows_of_a_group_do_not_vouch_for_one_another():
    # Each pair of rows has one narrow angle: without groups that is the scale.
    rng = np.random.default_rng(0)
    x = np.repeat(rng.uniform(0, 2 * np.pi, (100, 1)), 2, 0)
    x = torch.tensor(x + 1e-3 * rng.normal(size=x.shape))
    one = torch.ones(200, dtype=torch.float64)
    variance = torch.ones(1, dtype=torch.float64)
    pairs = np.repeat(np.arange(100), 2)
    alone = left_out_mean(Circle("angle"), x, one, variance)
    grouped = left_out_mean(Circle("angle"), x, one, variance, pairs)
    assert grouped == pytest.approx(-np.log(2 * np.pi), abs=0.1)
    assert grouped < alone - 0.5


@pytest.mark.slow
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
    rows = Points(x, one)
    spread = choose_spread(Torus(4), rows, global_random_seed)
    for k in (32, 64, 128, 256):
        prior = spread * k**-0.5
        trial = try_mixture(
            Torus(4), parts[:2], parts[2:], k, prior, global_random_seed
        )
        single = start_mixture(Torus(4), x, one, k, prior, global_random_seed)
        for _ in range(trial.n_iterations):
            single.step(x, one, prior)
        assert chosen.log_prob(new).mean() > single.log_prob(new).mean()
