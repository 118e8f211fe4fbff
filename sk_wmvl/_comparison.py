"""Compare held-out likelihoods on random splits, for ``python -m sk_wmvl``."""

import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from sk_wmvl.estimators.density import MVLDensity

__all__ = ["DataSet", "compare", "format_table", "save_figure"]

TEST_SHARE = 0.2
BANDWIDTHS = np.geomspace(0.05, 2.0, 16)
MAX_COMPONENTS = 15
N_DRAWS = 10_000
N_BINS = 45


class DataSet(NamedTuple):
    """Rows to compare estimators on.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n_samples, n_features)
    columns : list of str
    n_components : int or None
        The number of principal components on which rows are projected, if given. They are
        fitted to the training rows of each split.
    note : str
        A description of the projection.
    """

    name: str
    X: np.ndarray
    columns: list[str]
    n_components: int | None = None
    note: str = ""


class Result(NamedTuple):
    """Mean held-out log densities of one estimator, one entry per split."""

    name: str
    scores: np.ndarray
    log_normalizer_std: np.ndarray
    seconds: np.ndarray


def best_mixture(Z: np.ndarray, seed: int) -> GaussianMixture:
    """Return the mixture with the lowest BIC over components and covariance types."""
    candidates = (
        GaussianMixture(k, covariance_type=kind, random_state=seed).fit(Z)
        for kind in ("full", "tied", "diag", "spherical")
        for k in range(1, min(MAX_COMPONENTS, len(Z) // 4) + 1)
    )
    return min(candidates, key=lambda mixture: mixture.bic(Z))


def best_kernel(Z: np.ndarray) -> KernelDensity:
    """Return the Gaussian kernel estimate with the best cross-validated bandwidth."""
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=5)
    return search.fit(Z).best_estimator_


def compare(
    data: DataSet, *, n_splits: int, seed: int, params: dict, progress: tqdm
) -> tuple[list[Result], MVLDensity, np.ndarray]:
    """Fit all estimators on random splits of one data set.

    All are fitted to the same rows and compared in the same units, in which the training
    rows have unit variance.

    Parameters
    ----------
    data : DataSet
    n_splits : int
        Number of splits, each with 20 % of the rows for testing.
    seed : int
        Seed of the first split. The next ones count up from it.
    params : dict
        Parameters of `MVLDensity`.
    progress : tqdm
        The progress bar, which advances once per fit.

    Returns
    -------
    results : list of Result
        One for each estimator, `MVLDensity` first.
    density : MVLDensity
        The one of the last split.
    Z : ndarray of shape (n_samples, n_features)
        The training rows of the last split.
    """
    makers = {
        "MVLDensity": lambda Z, s: MVLDensity(random_state=s, **params).fit(Z),
        "GaussianMixture (BIC)": best_mixture,
        "KernelDensity (CV)": lambda Z, s: best_kernel(Z),
    }
    table: dict[str, list[tuple]] = {name: [] for name in makers}
    for split in range(seed, seed + n_splits):
        train, test = train_test_split(data.X, test_size=TEST_SHARE, random_state=split)
        if data.n_components is not None:
            pca = PCA(data.n_components, random_state=split).fit(train)
            train, test = pca.transform(train), pca.transform(test)
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        for name, make in makers.items():
            progress.set_description(f"{data.name}, split {split}, {name}")
            start = time.perf_counter()
            with warnings.catch_warnings():
                # Warnings of single fits, such as those of mixtures that have not
                # converged, would only repeat what the table shows.
                warnings.simplefilter("ignore")
                model = make(train, split)
            seconds = time.perf_counter() - start
            std = getattr(model, "log_normalizer_std_", 0.0)
            table[name].append((model.score_samples(test).mean(), std, seconds))
            if name == "MVLDensity":
                density, Z = model, train
            progress.update()
    results = [Result(name, *np.array(rows).T) for name, rows in table.items()]
    return results, density, Z


def format_table(data: DataSet, results: list[Result]) -> str:
    """Return the comparison as text.

    Standard errors are over splits; differences are paired by split. The normaliser's own
    standard error is the root mean square over splits.
    """

    def mean_se(values: np.ndarray) -> str:
        se = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        return f"{values.mean():8.3f} ±{se:6.3f}"

    n, d = data.X.shape
    shown = f"{d} columns" if data.n_components is None else data.note
    lines = [
        f"{data.name}: {n} rows, {shown}, {len(results[0].scores)} splits",
        f"  {'held-out, nats per row':22s} {'log-likelihood':>16s}  {'difference':>17s} "
        f"{'log Z se':>10s} {'seconds':>9s}",
    ]
    ours = results[0].scores
    for r in results:
        difference = "" if r is results[0] else mean_se(r.scores - ours)
        error = np.sqrt((r.log_normalizer_std**2).mean())
        own = f"{error:8.4f}" if error else f"{'exact':>8s}"
        lines.append(
            f"  {r.name:22s} {mean_se(r.scores)}  {difference:>17s} {own:>10s} "
            f"{r.seconds.mean():9.1f}"
        )
    return "\n".join(lines)


def save_figure(data: DataSet, density: MVLDensity, Z: np.ndarray, path: Path) -> None:
    """Save density, score field and learning curves as a picture.

    The first panel shows draws and data in the first two columns. The second shows density
    and score in these columns, with the other columns fixed at the densest row. With one
    column, the panels show the density over the data, and the score. The last panel shows
    the learning curves.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    from sk_wmvl.plots import DensityDisplay, LossCurveDisplay

    figure = Figure(figsize=(12, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    d = Z.shape[1]
    names = data.columns
    if data.n_components is not None:
        names = [f"component {k + 1}" for k in range(d)]
    if d == 1:
        grid = np.linspace(Z.min() - 0.5, Z.max() + 0.5, 400)[:, None]
        axes[0].hist(Z[:, 0], bins="auto", density=True, color="0.8")
        axes[0].plot(grid, np.exp(density.score_samples(grid)))
        axes[1].plot(grid, density.score_fn(grid))
        axes[1].set_ylabel("score")
    else:
        draws = density.sample(N_DRAWS)
        (x0, y0), (x1, y1) = Z[:, :2].min(0), Z[:, :2].max(0)
        box = [[x0, x1], [y0, y1]]
        axes[0].hist2d(*draws[:, :2].T, bins=N_BINS, range=box, cmap="Blues")
        axes[0].plot(*Z[:, :2].T, ".", color="0.25", markersize=2)
        axes[0].set_xlabel(names[0])
        axes[0].set_ylabel(names[1])
        axes[0].set_title("draws from the model (blue), data (dots)", fontsize=10)
        DensityDisplay.from_estimator(
            density, Z, labels=(names[0], names[1]), ax=axes[1]
        )
        slice_ = "" if d == 2 else ", slice at the densest row"
        axes[1].set_title(f"density and score{slice_}", fontsize=10)
    LossCurveDisplay.from_estimator(density, ax=axes[2])
    axes[2].set_title("training", fontsize=10)
    figure.suptitle(f"{data.name} (columns in standard deviations)", fontsize=11)
    figure.savefig(path, dpi=110)
