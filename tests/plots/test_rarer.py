"""Displays of rotations, of the hyperbolic plane and of draws; no image is compared."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation as Turn

from sk_wmvl.manifolds import Hyperbolic, Rotation
from sk_wmvl.plots import DrawsDisplay, HyperbolicDisplay, RotationDisplay
from sk_wmvl.plots.rotation import turns_to

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


# --- rotations ------------------------------------------------------------------------

KAPPA = 2.0


class Tilted:
    """Rotations whose z axis has a von Mises-Fisher law about z; any turn about it."""

    def __init__(self, manifold):
        self.manifold_ = manifold

    def score_samples(self, X):
        space = self.manifold_
        q = space.from_user(torch.from_numpy(X)).numpy()
        height = Turn.from_quat(q).as_matrix()[:, 2, 2]
        log_area = np.log(4 * np.pi * np.sinh(KAPPA) / KAPPA)
        return KAPPA * height - log_area - np.log(2 * np.pi)


@pytest.mark.parametrize(
    "manifold",
    [
        Rotation("quaternion"),
        Rotation("matrix"),
        Rotation("quaternion", scalar_first=True),
    ],
    ids=repr,
)
def test_rotation_shows_the_marginals_of_the_axes(manifold):
    turns = Turn.random(20, random_state=0)
    X = manifold.to_user(torch.from_numpy(turns.as_quat())).numpy()
    display = RotationDisplay.from_estimator(
        Tilted(manifold), X, n_grid=24, n_turns=16, center=[(0, 0)] * 3
    )
    assert [ax.get_title() for ax in display.axes_] == ["x axis", "y axis", "z axis"]
    assert display.ax_ is display.axes_[0]
    assert display.figure_ is display.ax_.figure
    for axis, sphere in enumerate(display.spheres):
        np.testing.assert_allclose(sphere.points, turns.as_matrix()[:, :, axis])
        # of mass one: a Mollweide map's grid is even in latitude and longitude
        area = np.cos(sphere.y) * np.pi / 24 * np.diff(sphere.y[:, 0])[0]
        assert (np.exp(sphere.log_density) * area).sum() == pytest.approx(1, abs=5e-3)
    sphere = display.spheres[2]
    expected = KAPPA * np.sin(sphere.y) - np.log(4 * np.pi * np.sinh(KAPPA) / KAPPA)
    np.testing.assert_allclose(sphere.log_density, expected, atol=1e-9)


def test_rotation_centers_maps_on_the_data_and_takes_axes():
    import matplotlib.pyplot as plt

    X = Turn.from_euler("z", [[80.0], [100.0]], degrees=True).as_quat()
    _, axes = plt.subplots(1, 3)
    display = RotationDisplay.from_estimator(
        Tilted(Rotation("quaternion")),
        X,
        projection="orthographic",
        n_grid=9,
        axes=axes,
    )
    assert display.axes_[1] is axes[1]
    np.testing.assert_allclose(display.spheres[0].center, (0, 90), atol=1e-9)
    # without rows to tell, maps are centered on the first axis
    display = RotationDisplay.from_estimator(Tilted(Rotation("quaternion")), n_grid=6)
    assert display.spheres[0].center == (0, 0)
    with pytest.raises(ValueError, match=r"four columns.*shape \(2, 3\)"):
        RotationDisplay.from_estimator(Tilted(Rotation("quaternion")), X[:, :3])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_turns_take_the_axis_to_its_direction(axis):
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, 3))
    directions[0] = -np.eye(3)[axis]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    q = turns_to(directions, axis, 8)
    columns = Turn.from_quat(q.reshape(-1, 4)).as_matrix()[:, :, axis]
    np.testing.assert_allclose(columns, directions.repeat(8, 0), atol=1e-12)


# --- the hyperbolic plane -------------------------------------------------------------


class Normal:
    """exp(-d^2 / 2) about the center of the plane, and its score."""

    def __init__(self, manifold):
        self.manifold_ = manifold

    def _distance(self, X):
        if X.shape[1] == 3:
            return np.arccosh(np.maximum(X[:, 0], 1))
        return 2 * np.arctanh(np.linalg.norm(X, axis=1))

    def score_samples(self, X):
        return -0.5 * self._distance(X) ** 2

    def score_fn(self, X):
        d = self._distance(X)[:, None]
        if X.shape[1] == 3:
            s = X[:, 1:] / np.linalg.norm(X[:, 1:], axis=1, keepdims=True)
            return -d * np.c_[np.sinh(d), np.cosh(d) * s]
        r = np.linalg.norm(X, axis=1, keepdims=True)
        return -d * (1 - r**2) / 2 * X / r


@pytest.mark.parametrize("model", ["ball", "hyperboloid"])
def test_hyperbolic_disk(model):
    plane = Hyperbolic(2, model=model)
    d = np.array([0.5, 2.0])
    disk = np.tanh(d / 2)[:, None] * [0.6, -0.8]
    rows = (
        disk
        if model == "ball"
        else np.c_[np.cosh(d), np.sinh(d)[:, None] * [[0.6, -0.8]]]
    )
    display = HyperbolicDisplay.from_estimator(
        Normal(plane), rows, n_grid=40, n_arrows=6
    )
    np.testing.assert_allclose(display.points, disk)
    assert display.x[-1] == pytest.approx(np.tanh(1.3 * 2 / 2))
    r = np.hypot(display.x[:, None], display.x)
    outside = np.isnan(display.log_density)
    np.testing.assert_array_equal(outside, r >= display.x[-1])
    expected = -0.5 * (2 * np.arctanh(r[~outside])) ** 2
    np.testing.assert_allclose(display.log_density[~outside], expected, atol=1e-9)
    points, velocity = display.score
    np.testing.assert_allclose(velocity, Normal(plane).score_fn(points), atol=1e-9)
    assert display.figure_ is display.ax_.figure
    again = HyperbolicDisplay.from_estimator(Normal(plane), n_grid=9, ax=display.ax_)
    assert again.ax_ is display.ax_
    assert again.x[-1] == pytest.approx(np.tanh(1.5))


def test_hyperbolic_wants_a_plane():
    with pytest.raises(ValueError, match=r"three, on the hyperboloid.*shape \(1, 4\)"):
        HyperbolicDisplay.from_estimator(Normal(Hyperbolic(3)), [[1.0, 0, 0, 0]])


# --- draws ----------------------------------------------------------------------------


class Shifted:
    def sample(self, n_samples, random_state=None):
        return np.random.default_rng(random_state).normal(3, 1, (n_samples, 2))


def test_draws():
    X = np.random.default_rng(1).normal(0, 1, (500, 2))
    quantities = {"first": lambda X: X[:, 0], "sum": lambda X: X.sum(1)}
    display = DrawsDisplay.from_estimator(
        Shifted(), X, quantities, n_draws=300, random_state=0, n_bins=20
    )
    assert [ax.get_xlabel() for ax in display.axes_] == ["first", "sum"]
    np.testing.assert_array_equal(display.of_data["sum"], X.sum(1))
    assert len(display.of_draws["first"]) == 300
    assert display.of_draws["first"].mean() == pytest.approx(3, abs=0.3)
    for patch in display.ax_.patches:
        heights, edges = patch.get_data()[:2]
        assert (heights * np.diff(edges)).sum() == pytest.approx(1, abs=0.01)
    again = DrawsDisplay.from_estimator(
        Shifted(), X, {"first": quantities["first"]}, axes=display.ax_
    )
    assert again.ax_ is display.ax_ is again.axes_[0]
