"""Draw doc/_static/scores.png: a known score, and estimates of it from 500 draws.

Run ``python doc/score_picture.py`` (half a minute).
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sk_wmvl import ImplicitScoreEstimator
from sk_wmvl.datasets import Banana

N, N_ARROWS = 500, 17
METHODS = {"mvl": 'method="mvl"', "kef": 'method="kef"', "ssge": 'method="ssge"'}


def main():
    """Fit, draw and save."""
    truth = Banana()
    X, new = truth.sample(N, random_state=0), truth.sample(2000, random_state=1)
    side = 1.15 * np.abs(X).max()
    ticks = np.linspace(-side, side, N_ARROWS)
    at = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    fields = {"the true score": truth.score}
    for method, label in METHODS.items():
        fitted = ImplicitScoreEstimator(method, random_state=0).fit(X)
        square = np.square(fitted.score_fn(new) - truth.score(new)).sum(1).mean()
        relative = square / np.square(truth.score(new)).sum(1).mean()
        fields[f"{label}, error {relative:.2f}"] = fitted.score_fn
    figure = Figure(figsize=(12, 3.3), layout="constrained")
    for ax, (title, field) in zip(figure.subplots(1, 4), fields.items(), strict=True):
        ax.plot(*X.T, ".", color="C1", markersize=2, alpha=0.5)
        arrows = field(at)
        # Far from the draws arrows are so long that only their directions can be shown.
        length = np.linalg.norm(arrows, axis=1, keepdims=True)
        arrows = arrows / np.maximum(length, 1e-12) * np.minimum(length, 10)
        ax.quiver(*at.T, *arrows.T, color="C0", scale=200, width=0.006)
        ax.set_title(title, fontsize=10)
        ax.set(xticks=[], yticks=[], aspect="equal")
    figure.savefig(Path(__file__).parent / "_static" / "scores.png", dpi=90)


if __name__ == "__main__":
    main()
