"""A fit that is killed goes on from its checkpoint to the same model."""

import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.base import clone
from skorch.callbacks import Callback

from sk_wmvl import (
    ImplicitScoreEstimator,
    ImplicitVAE,
    MVLDensity,
    WassersteinAutoencoder,
)
from sk_wmvl.training import Checkpoint
from sk_wmvl.training import callbacks as room

X = np.random.default_rng(0).normal(size=(300, 2)) ** 3
PARAMS = {
    "base": "gaussian",
    "hidden_layer_sizes": (16,),
    "max_epochs": 8,
    "random_state": 0,
    "objective_weight": None,
    "normalizer": None,
}


class Killed(Exception):
    """As far as the fit can tell."""


class Killer(Callback):
    """Ends a fit at the beginning of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise Killed


class Counter(Callback):
    """Counts the epochs that are trained."""

    n = 0

    def on_epoch_end(self, net, **kwargs):
        type(self).n += 1


@pytest.mark.parametrize("early_stopping", [True, False])
# short fits on few rows warn of much; only what is resumed is tested
@pytest.mark.filterwarnings("ignore")
def test_resumed_fits_have_the_same_bits(tmp_path, early_stopping):
    params = PARAMS | {"early_stopping": early_stopping}
    whole = MVLDensity(**params).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit.ckpt")
    with pytest.raises(Killed):
        MVLDensity(callbacks=[checkpoint, Killer(5)], **params).fit(X)
    Counter.n = 0
    resumed = MVLDensity(callbacks=[checkpoint, Counter], **params).fit(X)
    assert Counter.n <= 4  # three are left, and one may have been lost
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.score_samples(X), whole.score_samples(X))


# short fits on few rows warn of much; only what is resumed is tested
@pytest.mark.filterwarnings("ignore")
def test_with_the_likelihood_epochs_that_were_saved_are_kept(tmp_path):
    params = PARAMS | {"objective_weight": "auto", "normalizer": "auto"}
    whole = MVLDensity(**params).fit(X)
    checkpoint = Checkpoint(tmp_path / "fit.ckpt")
    with pytest.raises(Killed):
        MVLDensity(callbacks=[checkpoint, Killer(5)], **params).fit(X)
    resumed = MVLDensity(callbacks=[checkpoint], **params).fit(X)
    assert resumed.loss_curve_[:4] == whole.loss_curve_[:4]
    assert len(resumed.loss_curve_) == len(whole.loss_curve_)


@pytest.mark.slow
def test_a_fit_killed_by_a_signal(tmp_path):
    path = tmp_path / "fit.ckpt"
    program = f"""
        import os, signal
        from skorch.callbacks import Callback
        from sk_wmvl.training import Checkpoint
        from tests.training.test_checkpoint import PARAMS, X, MVLDensity
        class Kill(Callback):
            def on_epoch_begin(self, net, **kwargs):
                if len(net.history) == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
        MVLDensity(callbacks=[Checkpoint({str(path)!r}), Kill()], **PARAMS).fit(X)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["fit.ckpt"]
    resumed = MVLDensity(callbacks=[Checkpoint(path)], **PARAMS).fit(X)
    assert resumed.loss_curve_ == MVLDensity(**PARAMS).fit(X).loss_curve_


def test_a_full_disk_leaves_the_last_good_file(tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    with pytest.raises(Killed):
        MVLDensity(callbacks=[Checkpoint(path), Killer(3)], **PARAMS).fit(X)
    good = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room.os, "fsync", full)
    with pytest.warns(UserWarning, match="cannot be written .*No space.*") as caught:
        MVLDensity(callbacks=[Checkpoint(path)], **PARAMS).fit(X)
    assert sum("cannot be written" in str(w.message) for w in caught) == 1
    assert path.read_bytes() == good
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def fit(path):
        MVLDensity(callbacks=[Checkpoint(path)], **PARAMS).fit(X)

    with pytest.raises(FileNotFoundError, match="folder of.*does not exist. Create it"):
        fit(tmp_path / "missing" / "fit.ckpt")
    with pytest.raises(IsADirectoryError, match="is a folder. Add the name of a file"):
        fit(tmp_path)
    monkeypatch.setattr(room.os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="not yours to write to"):
        fit(tmp_path / "fit.ckpt")
    assert not list(tmp_path.iterdir())


def test_parts_of_killed_writers_are_removed(tmp_path):
    stale = ["fit[1].ckpt.123.part", "fit[1].ckpt.4567.part"]
    others = ["fit1.ckpt.123.part", "fit[1].ckpt.old.part", "x.fit[1].ckpt.123.part"]
    for name in stale + others:
        (tmp_path / name).touch()
    MVLDensity(callbacks=[Checkpoint(tmp_path / "fit[1].ckpt")], **PARAMS).fit(X)
    assert {p.name for p in tmp_path.iterdir()} == {"fit[1].ckpt", *others}


def test_checkpoints_of_other_fits_and_damaged_ones(tmp_path):
    path = tmp_path / "fit.ckpt"
    density = MVLDensity(callbacks=[Checkpoint(path)], **PARAMS)
    density.fit(X)
    with pytest.warns(UserWarning, match="checkpoint of another fit"):
        density.fit(X[:200])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="fit.ckpt is no checkpoint.* or is damaged"):
        density.fit(X)


OTHERS = {
    "alpha": {"alpha": 1.0},
    "objective_weight": {"objective_weight": 0.5},
    "epsilon": {"epsilon": 0.3},
    "objective": {"objective": "ssm"},
    "optimizer": {"optimizer": "sgd"},
    "options": {"net_params": {"optimizer__betas": (0.5, 0.9)}},
    "lr_schedule": {"lr_schedule": "constant"},
    "activation": {"activation": "tanh"},
    "base": {"base": "mixture"},
    "held-out rows": {"validation_fraction": 0.5},
    "seed": {"random_state": 1},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_fit_that_differs_in_anything_begins_anew(tmp_path, name):
    params = PARAMS | {"max_epochs": 2}
    if name == "objective_weight":
        params |= {"objective_weight": 1.0, "normalizer": "auto"}
    checkpoint = Checkpoint(tmp_path / "fit.ckpt")
    MVLDensity(callbacks=[checkpoint], **params).fit(X)
    other = MVLDensity(callbacks=[checkpoint], **params | OTHERS[name])
    with pytest.warns(UserWarning, match="checkpoint of another fit"):
        other.fit(X)
    anew = MVLDensity(**params | OTHERS[name]).fit(X)
    assert other.loss_curve_ == anew.loss_curve_


@pytest.mark.parametrize(
    "changed", [{"alpha": 2.0}, {"critic_lr": 1e-4}, {"optimizer": "sgd"}]
)
def test_autoencoders_that_differ_begin_anew(tmp_path, changed):
    Counter.n = 0
    callbacks = [Checkpoint(tmp_path / "fit.ckpt"), Counter]
    params = {"max_epochs": 2, "random_state": 0, "callbacks": callbacks}
    first = WassersteinAutoencoder(**params).fit(X)
    again = WassersteinAutoencoder(**params).fit(X)
    assert Counter.n == 2  # the second fit was at its end
    np.testing.assert_array_equal(again.transform(X), first.transform(X))
    with pytest.warns(UserWarning, match="checkpoint of another fit"):
        WassersteinAutoencoder(**params | changed).fit(X)
    assert Counter.n == 4


KINDS = {
    "any base": MVLDensity(normalizer=None),
    "VAE": ImplicitVAE(critic_layer_sizes=(8,)),
    "scores": ImplicitScoreEstimator(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
# the same; but that the file is of another fit must not be said
@pytest.mark.filterwarnings("ignore", "error:.*another fit:UserWarning")
def test_a_fit_that_is_the_same_is_known_again(tmp_path, name):
    Counter.n = 0
    callbacks = [Checkpoint(tmp_path / "fit.ckpt"), Counter]
    params = {"max_epochs": 2, "random_state": 0, "hidden_layer_sizes": (8,)}
    estimator = KINDS[name].set_params(callbacks=callbacks, **params)
    rows = X[:100]
    first = estimator.fit(rows).score(rows)
    n_epochs = Counter.n
    assert clone(estimator).fit(rows).score(rows) == pytest.approx(first)
    assert Counter.n < 2 * n_epochs  # the second fit had those before repairs


@pytest.mark.filterwarnings("error:.*another fit:UserWarning")
def test_fits_that_go_on_replace_the_file_without_a_warning(tmp_path):
    Counter.n = 0
    callbacks = [Checkpoint(tmp_path / "fit.ckpt"), Counter]
    density = MVLDensity(callbacks=callbacks, **PARAMS)
    density.partial_fit(X[:150]).partial_fit(X[150:])
    before = pickle.dumps(density)
    density.partial_fit(X[:150])
    assert Counter.n == 3
    # a call that is made again, from what it started from, is known
    again = pickle.loads(before).partial_fit(X[:150])
    assert Counter.n == 3
    np.testing.assert_array_equal(again.score_samples(X), density.score_samples(X))
    density.set_params(warm_start=True, max_epochs=2).fit(X).fit(X)
    assert Counter.n == 7


def test_no_code_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "fit.ckpt"
    room._write(path, {"fit": Evil()})
    with pytest.raises(Exception, match="[Ww]eights.only") as caught:
        room._read(path)
    assert type(caught.value).__name__ == "UnpicklingError"
