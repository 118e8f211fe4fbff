"""Callbacks that report progress: a progress bar, and scikit-learn's callbacks."""

from collections.abc import Callable

from skorch.callbacks import Callback
from tqdm.auto import tqdm

__all__ = ["FitProgress", "SklearnBridge"]


class FitProgress(Callback):
    """One progress bar for the whole fit, on standard error.

    Parameters
    ----------
    label : str
        Text before the bar.
    """

    def __init__(self, label: str, n_epochs: int):
        self.label = label
        self.n_epochs = n_epochs

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=self.n_epochs, desc=self.label, unit="epoch")

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Advance the bar and show the last losses."""
        row = net.history[-1]
        shown = {k: row[k] for k in ("train_loss", "valid_loss") if k in row}
        self.bar_.set_postfix({k: f"{v:.4g}" for k, v in shown.items()}, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Close the bar."""
        self.bar_.close()


class SklearnBridge(Callback):
    """Opens one subtask of scikit-learn's callback context per epoch.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    context : CallbackContext
        Its root context.
    X : ndarray of shape (n_samples, n_features)
        The training data.
    reconstruct : callable
        Returns the fitted attributes as if training had ended now.
    """

    def __init__(self, estimator, context, X, reconstruct: Callable[[], dict]):
        self.estimator = estimator
        self.context = context
        self.X = X
        self.reconstruct = reconstruct

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Open a subtask."""
        self.task_ = self.context.subcontext(task_name="epoch")
        self.task_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Close the subtask; a callback's wish to stop ends the training."""
        stop = self.task_.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            reconstruction_attributes=self.reconstruct,
        )
        if stop:
            net.stopped_ = True
