"""The kernel estimate of a batch's density, against scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

from sk_wmvl.samplers import (
    LeaveOneOutDensity,
)
from tests.samplers._tools import gaussian, normals

standard = gaussian(1.0)


def test_leave_one_out_density():
    x = normals(40, 2, 0)
    values = LeaveOneOutDensity(0.4)(x)
    for i in range(40):
        others = np.delete(x.numpy(), i, axis=0)
        kde = KernelDensity(bandwidth=0.4).fit(others)
        assert float(values[i]) == pytest.approx(kde.score_samples(x[i : i + 1])[0])
    # The default is Scott's rule, or narrower where that is more likely.
    scott = float(x.var(0).mean().sqrt()) * 40 ** (-1 / 6)
    fits = {f: LeaveOneOutDensity(scott * f)(x) for f in (1, 1 / 2, 1 / 4)}
    best = max(fits.values(), key=lambda v: v.mean())
    torch.testing.assert_close(LeaveOneOutDensity()(x), best)
    apart = torch.cat([x - 50, x + 50])
    narrow = LeaveOneOutDensity()(apart)
    torch.testing.assert_close(
        narrow.mean(), values.mean() - math.log(2), atol=0.3, rtol=0
    )


@pytest.mark.statistical
def test_leave_one_out_density_is_near_the_truth(global_random_seed):
    # 1 000 draws of a standard normal in the plane: the mean log density within 0.15.
    x = normals(1000, 2, global_random_seed)
    truth = -standard(x) - math.log(2 * math.pi)
    assert abs((LeaveOneOutDensity()(x) - truth).mean()) < 0.15
