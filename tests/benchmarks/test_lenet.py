"""The classifier whose features the Fréchet distances of the benchmarks compare."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sk_wmvl._random import make_generator
from sk_wmvl.evaluation import frechet_distance

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lenet():
    path = ROOT / "benchmarks" / "_lib" / "lenet.py"
    spec = importlib.util.spec_from_file_location("lenet", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_errors_say_what_is_wrong(lenet):
    g = make_generator(0)
    with pytest.raises(ValueError, match="square"):
        lenet.train_lenet(np.zeros((4, 10)), np.zeros(4), generator=g)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        lenet.train_lenet(np.full((4, 16), 2.0), np.zeros(4), generator=g)


@pytest.mark.slow
def test_learns_digits_and_orders_samples(lenet):
    X, y = load_digits(return_X_y=True)
    X = X / 16
    before = torch.get_rng_state()
    net = lenet.train_lenet(
        X[:1300], y[:1300], generator=make_generator(0), n_epochs=8, lr=0.05
    )
    assert torch.equal(before, torch.get_rng_state())
    assert (net.predict(X[1300:]) == y[1300:]).mean() > 0.9
    assert net.features(X[:7]).shape == (7, 512)
    half, rest = X[:800], X[800:1600]
    rng = np.random.default_rng(0)
    noisy = (rest + rng.normal(scale=0.3, size=rest.shape)).clip(0, 1)
    near, far = (
        frechet_distance(half, other, features=net.features) for other in (rest, noisy)
    )
    assert near < far / 2
