"""Three maps show the marginal densities of the directions of the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation as Turn

from sk_wmvl.manifolds import Rotation
from sk_wmvl.plots import RotationDisplay
from sk_wmvl.plots.rotation import turns_to

KAPPA = 2.0


class Tilted:
    """Rotations with a von Mises-Fisher z axis about z, and a uniform turn about it."""

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
