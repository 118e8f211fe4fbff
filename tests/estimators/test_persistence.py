"""A pickle that has been damaged is refused, and a sound one is not."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from torch import nn

from sk_wmvl import (
    ImplicitScoreEstimator,
    ImplicitVAE,
    MVLDensity,
    RiemannianMVLDensity,
    WassersteinAutoencoder,
)
from sk_wmvl.training.checksum import checksum

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 2, "random_state": 0}
CODER = {**SMALL, "critic_layer_sizes": (8,)}
X = np.random.default_rng(0).normal(size=(60, 2))
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)
FITS = {
    "MVLDensity": (MVLDensity(base="gaussian", **SMALL), X),
    "MVLDensity, any base": (MVLDensity(**SMALL), X),
    "closed form": (MVLDensity(energy="gaussian", random_state=0), X),
    "RiemannianMVLDensity": (RiemannianMVLDensity(**SMALL), UNIT),
    "ImplicitScoreEstimator": (ImplicitScoreEstimator(**SMALL), X),
    "kernel": (ImplicitScoreEstimator("stein", random_state=0), X),
    "ImplicitVAE": (ImplicitVAE(**CODER), X),
    "WassersteinAutoencoder": (WassersteinAutoencoder(**CODER), X),
}


class Log(Callback):
    """Pickles without what it has seen."""

    def __init__(self):
        self.seen = 3

    def __getstate__(self):
        return {**vars(self), "seen": None}


@pytest.mark.parametrize("name", FITS)
# short fits on few rows warn of much; only loading is tested
@pytest.mark.filterwarnings("ignore")
def test_sound_pickles_load(name):
    estimator, rows = FITS[name]
    fitted = estimator.fit(rows)
    wanted = fitted.score(rows)
    file = io.BytesIO()
    joblib.dump(fitted, file, compress=3)
    file.seek(0)
    for loaded in (
        pickle.loads(pickle.dumps(fitted)),
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(fitted)))),
        copy.deepcopy(fitted),
        joblib.load(file),
    ):
        assert loaded.score(rows) == pytest.approx(wanted, rel=1e-12)


# short fits on few rows warn of much; only loading is tested
@pytest.mark.filterwarnings("ignore")
def test_what_pickles_without_some_attributes_is_no_damage(tmp_path):
    density = MVLDensity(
        base="gaussian",
        memory=joblib.Memory(tmp_path, verbose=0),
        callbacks=[Log(), ("log", Log())],
        **SMALL,
    ).fit(X)
    loaded = pickle.loads(pickle.dumps(density))
    assert loaded.score(X) == density.score(X)
    loaded = pickle.loads(pickle.dumps(loaded))
    assert loaded.callbacks[0].seen is None


@pytest.mark.parametrize("base", [object, BaseEstimator, nn.Module])
def test_checksums_see_what_pickles_keep(base):
    class Plain(base):
        pass

    class Forgetful(base):
        def __getstate__(self):
            return {**vars(self), "seen": None}

    def changes(kind):
        value = kind()
        value.seen = 3
        known = checksum(value)
        value.seen = None
        return checksum(value) != known

    assert changes(Plain)
    assert not changes(Forgetful)


def test_checksums_see_the_weights_of_layers_that_add_to_old_pickles():
    layer = nn.MultiheadAttention(2, 1)
    known = checksum(layer)
    assert checksum(pickle.loads(pickle.dumps(layer))) == known
    with torch.no_grad():
        layer.in_proj_weight[0, 0] += 1
    assert checksum(layer) != known


# short fits on few rows warn of much; only loading is tested
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["MVLDensity", "WassersteinAutoencoder"])
def test_no_flipped_bit_passes_unseen(name):
    # One bit in each of 150 places. The scores are those of the fit, or there are none.
    estimator, rows = FITS[name]
    fitted = estimator.fit(rows)
    whole, wanted = pickle.dumps(fitted), fitted.score_samples(rows)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            scores = pickle.loads(bytes(damaged)).score_samples(rows)
        except Exception:
            refused += 1
        else:
            np.testing.assert_array_equal(scores, wanted)
    assert refused > 75  # most bytes are those of numbers


def test_damage_is_named():
    state = MVLDensity(energy="gaussian", random_state=0).fit(X).__getstate__()
    state["log_normalizer_"] += 1e-12
    with pytest.raises(
        ValueError, match="This MVLDensity is damaged.*Load another copy"
    ):
        MVLDensity().__setstate__(state)


def test_checksums_see_every_number():
    value = {"a": [np.arange(3.0), (1, "b")], "c": {"d": None}}
    known = checksum(value)
    assert checksum(copy.deepcopy(value)) == known
    value["a"][0][2] = np.nextafter(2.0, 3.0)
    assert checksum(value) != known
