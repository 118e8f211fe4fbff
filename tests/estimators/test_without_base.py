"""Energies without a base measure: where they have a normaliser, and where they cannot."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from skorch.callbacks import Callback
from torch import nn

from sk_wmvl import MVLDensity, RiemannianMVLDensity
from sk_wmvl.manifolds import Circle, Euclidean, Hyperbolic, Product
from sk_wmvl.normalizers import AnnealedNormalizer

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}


class Quadratic(nn.Module):
    """The energy of a normal distribution, with d² + d parameters."""

    def __init__(self, d):
        super().__init__()
        self.factor = nn.Parameter(torch.eye(d))
        self.center = nn.Parameter(torch.zeros(d))

    def forward(self, x):
        return 0.5 * ((x - self.center) @ self.factor).square().sum(1)

    def log_normalizer(self):
        """Return log Z by the Gaussian integral."""
        log_det = torch.linalg.slogdet(self.factor)[1]
        return float(len(self.center) * math.log(2 * math.pi) / 2 - log_det)


class NoTraining(Callback):
    """Fails where training begins."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        raise AssertionError("training has begun")


AXES = [("angle", Circle()), ("height", Euclidean(1))]


def make_energy(n_inputs):
    return nn.Sequential(nn.Linear(n_inputs, 1), nn.Flatten(0))


def plane(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


def hyperboloid(n):
    x = 0.3 * plane(n)
    return np.c_[np.sqrt(1 + np.square(x).sum(1)), x]


def cylinder(n):
    return np.c_[np.linspace(0, 6, n), plane(n)[:, 0]]


@pytest.mark.parametrize(
    ("density", "X"),
    [
        (MVLDensity(base=None), plane(30)),
        (MVLDensity("mvl-graph", base=None, energy="mlp"), plane(30)),
        (MVLDensity("sm", base=None, energy="kernel"), plane(30)),
        (MVLDensity("annealed", base=None), plane(30)),
        (
            MVLDensity("annealed", base=None, energy=make_energy),
            plane(30),
        ),
        (RiemannianMVLDensity("euclidean", base=None), plane(30)),
        (RiemannianMVLDensity(Hyperbolic(2), base=None), hyperboloid(30)),
        (
            RiemannianMVLDensity(Product(AXES), base=None),
            cylinder(30),
        ),
    ],
)
def test_an_infinite_normaliser_is_refused_before_training(density, X):
    density.set_params(callbacks=[NoTraining()], random_state=0)
    with pytest.raises(
        ValueError, match=r"(?s)base=None has no.*normalizer=None.*'auto'"
    ):
        density.fit(X)
    density.set_params(normalizer=None, callbacks=None, max_epochs=1)
    assert math.isfinite(density.fit(X).score(X))


def test_a_resumed_fit_cannot_ask_for_an_infinite_normaliser():
    density = MVLDensity(base=None, normalizer=None, warm_start=True, **SMALL)
    density.fit(plane(30)).set_params(normalizer="auto")
    for go_on in (density.fit, density.partial_fit):
        with pytest.raises(ValueError, match="base=None has no normalising constant"):
            go_on(plane(30))
    assert density.log_normalizer_ is None


@pytest.mark.parametrize("normalizer", ["auto", AnnealedNormalizer()])
@pytest.mark.parametrize("d", [2, 6])
def test_a_users_energy_is_normalised_from_the_fitted_proposal(d, normalizer):
    # 1000 normal rows with unequal scales. Log Z is that of the Gaussian integral to four
    # standard errors and 0.001; the density is that of the rows to 0.1 nats, of which
    # d (d + 3) / 4n are expected.
    X = np.random.default_rng(0).normal(size=(1000, d)) * np.arange(1, d + 1) + 5
    density = MVLDensity(
        energy=Quadratic(d),
        base=None,
        normalizer=normalizer,
        max_epochs=30,
        random_state=0,
    ).fit(X)
    assert density.base_ is None
    learned = density.energy_.energy.correction
    tolerance = 4 * density.log_normalizer_std_ + 0.001
    assert density.log_normalizer_ == pytest.approx(
        learned.log_normalizer(), abs=tolerance
    )
    truth = stats.norm(5, np.arange(1, d + 1)).logpdf(X).sum(1).mean()
    assert density.score(X) == pytest.approx(truth, abs=0.1)


def test_a_compact_manifold_needs_no_base():
    # von Mises-Fisher rows on the sphere, kappa = 2: the density integrates to one over
    # 200 000 uniform points to |z| < 4, and is that of the rows to 0.05 nats.
    law = stats.vonmises_fisher([0, 0, 1.0], 2.0)
    X, X_test = law.rvs(2000, random_state=0), law.rvs(4000, random_state=1)
    density = RiemannianMVLDensity(
        "sphere", "mvl-graph", base=None, max_epochs=10, random_state=0
    ).fit(X)
    assert density.base_ is None
    points = np.random.default_rng(2).normal(size=(200_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    mass = 4 * np.pi * np.exp(density.score_samples(points))
    assert abs(mass.mean() - 1) < 4 * mass.std() / len(mass) ** 0.5
    gap = law.logpdf(X_test) - density.score_samples(X_test)
    assert abs(gap.mean()) < 0.05
