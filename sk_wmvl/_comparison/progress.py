"""What a fit is doing, on one progress bar."""

from skorch.callbacks import Callback
from tqdm.auto import tqdm

__all__ = ["Stages"]


class Stages(Callback):
    """Shows the stage of a fit on a bar that others advance: base, network, normaliser.

    Parameters
    ----------
    bar : tqdm
        The bar, whose description is set.
    """

    def __init__(self, bar: tqdm):
        self.bar = bar
        self.what = ""

    def __deepcopy__(self, memo):
        return self  # estimators copy callbacks, and there is one bar

    def begin(self, what: str, stage: str = "") -> None:
        """Announce a fit.

        Parameters
        ----------
        what : str
            What is fitted to which rows.
        stage : str, default=""
            The first stage, of a fit that has several.
        """
        self.what = what
        self.bar.set_description_str(f"{what}, {stage}" if stage else what)

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Show that the network is trained."""
        self.bar.set_description_str(f"{self.what}, network")

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Show the epoch, as often as the bar is redrawn."""
        text = f"{self.what}, network, epoch {len(net.history)}/{net.max_epochs}"
        self.bar.set_description_str(text, refresh=False)
        self.bar.update(0)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Show that the network is judged and log Z computed."""
        self.bar.set_description_str(f"{self.what}, normaliser")
