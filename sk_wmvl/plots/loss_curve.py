"""Training curves."""

import numpy as np

from sk_wmvl.plots._base import BaseDisplay

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay(BaseDisplay):
    """The training objective and the held-out Hyvärinen score by epoch.

    Parameters
    ----------
    loss : array-like of shape (n_epochs,)
        Training objective.
    validation_loss : array-like of shape (n_epochs,)
        Held-out score; may be empty.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    Examples
    --------
    >>> from sk_wmvl.plots import LossCurveDisplay
    >>> LossCurveDisplay([3.0, 2.0], [3.1, 2.5]).plot().ax_.get_xlabel()
    'epoch'
    """

    def __init__(self, loss, validation_loss=()):
        self.loss = loss
        self.validation_loss = validation_loss

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Plot the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `loss_curve_`. Its `validation_loss_curve_` is drawn if it has
            one; auto-encoders have none.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : LossCurveDisplay
        """
        held_out = getattr(estimator, "validation_loss_curve_", ())
        return cls(estimator.loss_curve_, held_out).plot(ax=ax)

    def _draw(self, ax):
        epochs = np.arange(1, len(self.loss) + 1)
        ax.plot(epochs, self.loss, color="0.5", label="training objective")
        if len(self.validation_loss):
            best = int(np.argmin(self.validation_loss))
            ax.plot(
                epochs[: len(self.validation_loss)],
                self.validation_loss,
                color="C0",
                label="held-out Hyvärinen score",
            )
            ax.plot(epochs[best], self.validation_loss[best], "o", color="C0")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend(frameon=False)
