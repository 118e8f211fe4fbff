"""A small convolutional classifier of digits, whose last hidden layer gives features."""

import numpy as np
import torch
from sklearn.utils.validation import check_consistent_length
from torch import Tensor, nn

__all__ = ["LeNet", "train_lenet"]

WIDTHS = 32, 64  # channels of the two convolutions
N_FEATURES = 512
KERNEL = 5
DROPOUT = 0.5
MOMENTUM, DECAY = 0.9, 0.95  # of the optimiser; of the learning rate, per epoch
WEIGHT_DECAY = 5e-4  # on the dense layers
CHUNK = 500  # images at a time


class LeNet(nn.Module):
    """Two convolutions of 5 x 5 with pooling, a dense layer of 512 and the classes.

    Parameters
    ----------
    side : int
        Height and width of the images, at least 4.
    n_classes : int
        Classes.
    generator : torch.Generator
        Source of the first weights.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner. Gradient-based learning applied to
    document recognition. Proceedings of the IEEE, 86(11):2278-2324, 1998.
    """

    def __init__(self, side: int, n_classes: int, *, generator: torch.Generator):
        super().__init__()
        if side < 4:
            raise ValueError(f"Images must have a side of at least 4; got {side}.")
        self.side = side
        first, second = WIDTHS
        skip = (
            nn.utils.skip_init
        )  # torch's own first weights are drawn from global state
        self.convolutions = nn.Sequential(
            skip(nn.Conv2d, 1, first, KERNEL, padding=KERNEL // 2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            skip(nn.Conv2d, first, second, KERNEL, padding=KERNEL // 2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.dense = skip(nn.Linear, second * (side // 4) ** 2, N_FEATURES)
        self.classes = skip(nn.Linear, N_FEATURES, n_classes)
        for weights in self.parameters():
            if weights.ndim == 1:
                nn.init.zeros_(weights)
            else:
                nn.init.xavier_uniform_(weights, generator=generator)

    def hidden(self, x: Tensor) -> Tensor:
        """Return the features of images of shape (n, side**2) in [0, 1]."""
        images = x.view(-1, 1, self.side, self.side) - 0.5
        return self.dense(self.convolutions(images)).relu()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (n, n_classes)."""
        return self.classes(self.hidden(x))

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return the 512 features of images.

        Parameters
        ----------
        X : ndarray of shape (n, side**2)
            Images in [0, 1].

        Returns
        -------
        features : ndarray of shape (n, 512)
        """
        weights = self.dense.weight
        with torch.no_grad():
            parts = torch.as_tensor(np.asarray(X)).to(weights).split(CHUNK)
            return torch.cat([self.hidden(part) for part in parts]).cpu().numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the indices of the likeliest classes of images, of shape (n,)."""
        with torch.no_grad():
            hidden = torch.as_tensor(self.features(X)).to(self.classes.weight)
            return self.classes(hidden).argmax(1).cpu().numpy()


def train_lenet(
    X: np.ndarray,
    y: np.ndarray,
    *,
    generator: torch.Generator,
    n_epochs: int = 10,
    lr: float = 0.01,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
) -> LeNet:
    """Train a `LeNet` on square grey images.

    Stochastic gradient descent with momentum 0.9, learning rate times 0.95 per epoch, L2
    of 5e-4 on the dense layers, and dropout of half the features.

    Parameters
    ----------
    X : ndarray of shape (n, side**2)
        Images in [0, 1].
    y : ndarray of shape (n,)
        Labels: integers from 0.
    generator : torch.Generator
        Source of the weights, the order of images and dropout, on the CPU.
    n_epochs : int, default=10
        Epochs.
    lr : float, default=0.01
        First learning rate.
    batch_size : int, default=64
        Images per step.
    device : str or torch.device, default="cpu"
        Where to train.

    Returns
    -------
    lenet : LeNet
        In evaluation mode, float32; ``lenet.features`` is for `frechet_distance`.

    Raises
    ------
    ValueError
        If the images are not square or not in [0, 1], or lengths differ.
    """
    X, y = np.asarray(X), np.asarray(y)
    check_consistent_length(X, y)
    side = round(X.shape[1] ** 0.5)
    if side**2 != X.shape[1]:
        raise ValueError(f"Images must be square; got {X.shape[1]} pixels.")
    if not ((X >= 0) & (X <= 1)).all():
        raise ValueError(
            f"Images must lie in [0, 1]; got values from {X.min():.3g} to {X.max():.3g}."
        )
    lenet = LeNet(side, int(y.max()) + 1, generator=generator).to(device)
    dense = [*lenet.dense.parameters(), *lenet.classes.parameters()]
    groups: list[dict[str, object]] = [
        {"params": list(lenet.convolutions.parameters())},
        {"params": dense, "weight_decay": WEIGHT_DECAY},
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, DECAY)
    images = torch.as_tensor(X, dtype=torch.float32).to(device)
    labels = torch.as_tensor(y, dtype=torch.int64).to(device)
    for _ in range(n_epochs):
        order = torch.randperm(len(images), generator=generator).to(device)
        for rows in order.split(batch_size):
            hidden = lenet.hidden(images[rows])
            # torch's own dropout would draw from global state
            kept = torch.rand(hidden.shape, generator=generator) < 1 - DROPOUT
            hidden = hidden * kept.to(hidden) / (1 - DROPOUT)
            loss = nn.functional.cross_entropy(lenet.classes(hidden), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return lenet.eval().requires_grad_(False)
