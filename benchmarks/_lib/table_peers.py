"""Density estimators of other packages, tuned as a careful user of each would.

A peer is fitted by a function of training rows, validation rows and a seed, and can score
rows, draw some, and say in `label` what was chosen. Those that need no validation rows once
their choice is made are fitted again to both parts.
"""

import copy
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from sklearn.base import clone

from _lib import euclidean_baselines

__all__ = ["PEERS", "package_of", "why_missing"]

RATES = (1e-3, 3e-3, 1e-2)
EPOCHS = 300
PATIENCE = 12  # epochs without a better likelihood of the validation rows
PATIENCE_OF_RATE = 4  # the same, before the rate is divided by three
CLIP = 5.0  # norm of a gradient
TRANSFORMS, HIDDEN = 5, (128, 128)


class Flow:
    """A normalising flow of zuko on standardised columns.

    Parameters
    ----------
    flow : zuko.lazy.Flow
        Trained, in float32.
    mean, std : ndarray of shape (d,)
    label : str
    """

    def __init__(self, flow, mean, std, label):
        self.flow, self.mean, self.std, self.label = flow, mean, std, label

    def score_samples(self, X):
        """Return log densities."""
        z = torch.tensor((X - self.mean) / self.std, dtype=torch.float32)
        with torch.no_grad():
            log_q = self.flow().log_prob(z).double().numpy()
        return log_q - np.log(self.std).sum()

    def draw(self, n, seed):
        """Return n rows."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)  # zuko has no generators
            return self.flow().sample((n,)).double().numpy() * self.std + self.mean


def train_flow(flow, z, z_valid, rate, seed, epochs):
    """Train a flow; return the lowest validation loss and the epoch that had it."""
    batch = max(32, min(512, len(z) // 32))
    optimizer = torch.optim.Adam(flow.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=1 / 3, patience=PATIENCE_OF_RATE
    )
    generator = torch.Generator().manual_seed(seed)
    best, best_epoch, weights = np.inf, 0, copy.deepcopy(flow.state_dict())
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(z), generator=generator).split(batch):
            optimizer.zero_grad()
            (-flow().log_prob(z[rows]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
            optimizer.step()
        with torch.no_grad():
            loss = -flow().log_prob(z_valid).mean().item()
        schedule.step(loss)
        if loss < best:
            best, best_epoch = loss, epoch
            weights = copy.deepcopy(flow.state_dict())
        elif epoch - best_epoch >= PATIENCE:
            break
    flow.load_state_dict(weights)
    return best, best_epoch


def fit_flow(kind, X, X_valid, seed, *, rates=RATES, epochs=EPOCHS):
    """Return the flow of zuko's class `kind` whose rate suits the validation rows best."""
    from zuko import flows

    mean, std = X.mean(0), X.std(0)
    z, z_valid = (
        torch.tensor((part - mean) / std, dtype=torch.float32) for part in (X, X_valid)
    )
    best, best_loss = None, np.inf
    for rate in rates:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            flow = getattr(flows, kind)(
                X.shape[1], transforms=TRANSFORMS, hidden_features=HIDDEN
            )
            loss, epoch = train_flow(flow, z, z_valid, rate, seed, epochs)
        if loss < best_loss:
            best_loss = loss
            best = Flow(flow, mean, std, f"rate {rate:g}, {epoch} epochs")
    if best is None:
        raise RuntimeError(f"{kind}: no learning rate of {rates} gave a finite loss.")
    return best


class Vine:
    """A vine copula with kernel estimates as margins.

    Parameters
    ----------
    model : pyvinecopulib.sklearn.VineDensity
    label : str
    """

    def __init__(self, model, label):
        self.model, self.label = model, label

    def score_samples(self, X):
        """Return log densities."""
        return self.model.score_samples(X)

    def draw(self, n, seed):
        """Return n rows."""
        return self.model.sample(n, random_state=seed)


def fit_vine(X, X_valid, seed, *, parametric=True):
    """Return the vine whose pair copulas suit the validation rows best, of both parts.

    The candidates are the package's two defaults: local likelihood for every pair, and the
    family of each pair with the least AIC.
    """
    from pyvinecopulib import FitControlsVinecop
    from pyvinecopulib.sklearn import VineDensity

    candidates = {"local likelihood": VineDensity(random_state=seed)}
    if parametric:
        controls = FitControlsVinecop()
        candidates["all families"] = VineDensity(controls=controls, random_state=seed)
    values = {
        label: clone(model).fit(X).score(X_valid) for label, model in candidates.items()
    }
    label = max(values, key=values.get)
    return Vine(candidates[label].fit(np.r_[X, X_valid]), label)


class Tuned:
    """A mixture or a kernel estimate of `euclidean_baselines`, which can be drawn from."""

    def __init__(self, tuned):
        self.tuned, self.label = tuned, tuned.label

    def score_samples(self, X):
        """Return log densities."""
        return self.tuned.score_samples(X)

    def draw(self, n, seed):
        """Return n rows."""
        model = self.tuned.model
        if isinstance(self.tuned, euclidean_baselines.Mixture):
            model.random_state = seed
            Z = model.sample(n)[0]
        else:
            Z = model.sample(n, random_state=seed)
        return Z * self.tuned.std + self.tuned.mean


def fit_mixture_by_bic(X, X_valid, seed):
    return Tuned(euclidean_baselines.mixture_by_bic(np.r_[X, X_valid], seed))


def fit_mixture_by_rows(X, X_valid, seed):
    chosen = euclidean_baselines.mixture_by_rows(X, X_valid, seed)
    return Tuned(euclidean_baselines.refit(chosen, np.r_[X, X_valid]))


def fit_kernel(X, X_valid, seed):
    del seed  # nothing is random
    chosen = euclidean_baselines.kernel(X, X_valid)
    return Tuned(euclidean_baselines.refit(chosen, np.r_[X, X_valid]))


def fit_spline_flow(X, X_valid, seed, **settings):
    return fit_flow("NSF", X, X_valid, seed, **settings)


def fit_autoregressive_flow(X, X_valid, seed, **settings):
    return fit_flow("MAF", X, X_valid, seed, **settings)


# From the name of a method to how it is fitted, and the package that it needs.
PEERS = {
    "spline flow": (fit_spline_flow, "zuko"),
    "autoregressive flow": (fit_autoregressive_flow, "zuko"),
    "vine": (fit_vine, "pyvinecopulib"),
    "mixture, BIC": (fit_mixture_by_bic, "scikit-learn"),
    "mixture, validation": (fit_mixture_by_rows, "scikit-learn"),
    "kernel": (fit_kernel, "scikit-learn"),
}


def why_missing(method):
    """Return why a peer cannot be fitted here, or an empty string."""
    package = PEERS[method][1]
    module = {"scikit-learn": "sklearn"}.get(package, package)
    return "" if find_spec(module) else f"{package} is not installed"


def package_of(method):
    """Return the peer's package with its version."""
    package = PEERS[method][1]
    return f"{package} {version(package)}"
