"""Draw doc/_static/trust.png: four ways in which a density can be wrong, and cures.

Run ``python doc/trust_picture.py`` (two minutes).
"""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sk_wmvl import MVLDensity

BASES = {"gaussian": "C1", "auto": "C0"}
LABELS = {"gaussian": "scores alone, Gaussian base", "auto": "default"}
WEIGHTS = {"gaussian": None, "auto": "auto"}


def fit(X, groups=None, **params):
    """Return a fitted density, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the picture shows what they say
        return MVLDensity(random_state=0, **params).fit(X, groups=groups)


def modes(ax):
    """Draw two separated modes with weights 0.8 and 0.2."""
    rng = np.random.default_rng(0)
    left = rng.random(1000) < 0.8
    X = np.where(left, -8.0, 8.0)[:, None] + rng.normal(size=(1000, 1))
    x = np.linspace(-12, 12, 600)
    truth = 0.8 * stats.norm.pdf(x, -8) + 0.2 * stats.norm.pdf(x, 8)
    ax.fill_between(x, truth, color="0.85", label="truth")
    for base, color in BASES.items():
        model = fit(X, base=base, objective_weight=WEIGHTS[base])
        density = np.exp(model.score_samples(x[:, None]))
        ax.plot(x, density, color=color, label=LABELS[base])
    ax.set(title="weights of separated modes", xlabel="x", ylabel="density")
    ax.legend(frameon=False, fontsize=8)


def tails(ax):
    """Draw Student's t with three degrees of freedom."""
    X = stats.t(3).rvs((2000, 1), random_state=0)
    x = np.linspace(-30, 30, 800)
    ax.plot(x, stats.t(3).logpdf(x), color="0.8", linewidth=5, label="truth")
    for base, color in BASES.items():
        model = fit(X, base=base, objective_weight=WEIGHTS[base])
        ax.plot(x, model.score_samples(x[:, None]), color=color)
    ax.set_ylim(-18, 0)
    ax.plot(X[:, 0], np.full(len(X), -17.6), "|", color="0.4", markersize=5)
    ax.set(title="tails (ticks: the rows)", xlabel="x", ylabel="log density")


def groups(ax):
    """Draw the log density of new subjects, with rows or whole subjects held out."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(60), 20)
    X = rng.normal(size=(60, 4))[subject] + 0.05 * rng.normal(size=(1200, 4))
    seen = subject < 40
    likelihoods = [
        fit(X[seen]).score_samples(X[~seen]),
        fit(X[seen], subject[seen]).score_samples(X[~seen]),
    ]
    by_subject = [values.reshape(20, 20).mean(1) for values in likelihoods]
    ax.boxplot(by_subject, tick_labels=["rows held out", "subjects held out"])
    ax.set(title="20 new subjects", ylabel="mean log density")


def coverage(ax):
    """Draw which fraction of new rows is in regions that should hold a given one."""
    X = load_wine().data
    predicted = np.linspace(0.02, 0.98, 49)
    observed = {base: [] for base in BASES}
    for seed in range(5):
        train, test = train_test_split(X, test_size=0.3, random_state=seed)
        scaler = StandardScaler().fit(train)
        for base in BASES:
            density = fit(scaler.transform(train), base=base)
            draws = density.sample(4000, random_state=0)
            at = density.score_samples(scaler.transform(test))
            threshold = np.quantile(density.score_samples(draws), 1 - predicted)
            observed[base].append((at[:, None] > threshold).mean(0))
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for base, color in BASES.items():
        ax.plot(predicted, np.mean(observed[base], 0), color=color)
    ax.set(title="coverage: new wines, 13 columns", xlabel="predicted")
    ax.set_ylabel("observed share")


def main():
    """Draw and save."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 2).flat
    for draw, ax in zip((modes, tails, groups, coverage), axes, strict=True):
        draw(ax)
        ax.title.set_fontsize(10)
    figure.savefig(Path(__file__).parent / "_static" / "trust.png", dpi=100)


if __name__ == "__main__":
    main()
