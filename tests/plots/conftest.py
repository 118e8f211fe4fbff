"""Pictures without a screen, and known densities as displays see estimators."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


class Known:
    """A fitted estimator, as far as displays can see."""

    def __init__(self, distribution, manifold=None):
        self.distribution = distribution
        self.manifold_ = manifold

    def score_samples(self, X):
        assert np.isfinite(X).all()
        return self.distribution.log_density(X)

    def score_fn(self, X):
        return self.distribution.score(X)

    def sample(self, n_samples, random_state=None):
        return self.distribution.sample(n_samples, random_state)


@pytest.fixture
def known():
    return Known


@pytest.fixture(autouse=True)
def _close():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")
