"""Curves by epoch, and the best one marked."""

from types import SimpleNamespace

import numpy as np

from sk_wmvl import ImplicitVAE
from sk_wmvl.plots import LossCurveDisplay


def test_loss_curve_display():
    fitted = SimpleNamespace(
        loss_curve_=[3.0, 2.0, 1.0], validation_loss_curve_=[3.0, 2.0, 2.5]
    )
    ax = LossCurveDisplay.from_estimator(fitted).ax_
    loss, validation, best = ax.lines
    assert list(loss.get_ydata()) == fitted.loss_curve_
    assert list(validation.get_ydata()) == fitted.validation_loss_curve_
    assert (list(best.get_xdata()), list(best.get_ydata())) == ([2], [2.0])
    fitted.validation_loss_curve_ = []
    assert len(LossCurveDisplay.from_estimator(fitted).ax_.lines) == 1


def test_auto_encoders_have_a_training_curve_only():
    X = np.random.default_rng(0).normal(size=(40, 3))
    fitted = ImplicitVAE(2, max_epochs=2, random_state=0).fit(X)
    (loss,) = LossCurveDisplay.from_estimator(fitted).ax_.lines
    assert list(loss.get_ydata()) == fitted.loss_curve_
