"""Draw the picture of README.rst: python doc/readme_picture.py."""

from pathlib import Path

from matplotlib.figure import Figure
from sklearn.datasets import make_moons

from sk_wmvl import MVLDensity
from sk_wmvl.plots import DensityDisplay, LossCurveDisplay


def main():
    """Fit the moons and save the picture."""
    X, _ = make_moons(3000, noise=0.1, random_state=0)
    density = MVLDensity(random_state=0).fit(X)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    DensityDisplay.from_estimator(density, X[:1000], n_arrows=0, ax=left)
    left.set_title("log density and data", fontsize=10)
    DensityDisplay.from_estimator(density, X, ax=middle)
    middle.lines[0].remove()
    middle.set_title("log density and score", fontsize=10)
    LossCurveDisplay.from_estimator(density, ax=right)
    right.set_title("training", fontsize=10)
    path = Path(__file__).parent / "_static" / "readme.png"
    figure.savefig(path, dpi=100)
    print(path, density.score(X))


if __name__ == "__main__":
    main()
