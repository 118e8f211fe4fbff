"""Kernel estimates at cells of rows: what a row leaves out, and what is left of it."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from sk_wmvl.base_measures import KernelBase, ManifoldMixture
from sk_wmvl.base_measures.components import VonMises
from sk_wmvl.base_measures.kernel import Members, base_gradient, find_rows
from sk_wmvl.manifolds import Torus

# Three cells: of rows 0 and 1, of rows 2 to 4, of row 5; the first has two components.
ROWS = torch.tensor([[0.1], [0.3], [1.0], [1.1], [1.4], [-2.0]], dtype=torch.float64)
CELL = torch.tensor([0, 0, 1, 1, 1, 2])
SHARE = torch.tensor([0.5, 0.5, 0.2, 0.3, 0.5, 1.0], dtype=torch.float64)
OF_COMPONENT = torch.tensor([0, 1, 2, 0])
CENTERS = torch.tensor([[0.2], [1.2], [-2.0], [0.2]], dtype=torch.float64)
WEIGHTS = np.array([0.2, 0.4, 0.15, 0.1, 0.05])  # the last is no kernel
VARIANCES = np.array([0.05, 0.1, 0.02, 0.3, 1.0])
BACKGROUND = 0.1


def base():
    centers = torch.cat([CENTERS, torch.zeros(1, 1, dtype=torch.float64)])
    parts = VonMises(Torus(1), centers, torch.tensor(VARIANCES)[:, None])
    mixture = ManifoldMixture(Torus(1), parts, torch.tensor(WEIGHTS), BACKGROUND)
    return KernelBase(mixture, CENTERS, Members(ROWS, CELL, SHARE, OF_COMPONENT))


def by_hand(x, weights):
    """Return a log density with other weights, scaled up to one."""
    loc = np.r_[CENTERS[:, 0].numpy(), 0.0]
    logs = stats.vonmises.logpdf(x, 1 / VARIANCES, loc=loc)
    total = special.logsumexp(logs, b=weights)
    total = np.logaddexp(total, np.log(BACKGROUND / (2 * np.pi)))
    return total - np.log(weights.sum() + BACKGROUND)


def test_a_row_leaves_its_share_of_the_cell_out():
    points = torch.cat([ROWS, torch.tensor([[0.2], [2.5]], dtype=torch.float64)])
    cell, share = [*CELL.tolist(), None, None], [*SHARE.tolist(), 0.0, 0.0]
    found = base().log_prob_left_out(points)
    for i, x in enumerate(points[:, 0].tolist()):
        of = np.array([*OF_COMPONENT.tolist(), -1])
        weights = WEIGHTS * np.where(of == cell[i], 1 - share[i], 1.0)
        assert float(found[i]) == pytest.approx(by_hand(x, weights), rel=1e-10)


def test_without_rows_their_shares_are_gone():
    x = torch.tensor([[0.3], [1.0], [1.1], [-2.0], [3.0]], dtype=torch.float64)
    rest = base().without(x)
    kept = np.array([0.5, 0.5, 0.0, 0.5, 1.0])
    nodes, log_weights = Torus(1).quadrature(400)
    expected = [by_hand(node, WEIGHTS * kept) for node in nodes[:, 0].tolist()]
    np.testing.assert_allclose(rest.log_prob(nodes), expected, rtol=1e-9)
    assert float((rest.log_prob(nodes) + log_weights).exp().sum()) == pytest.approx(1)
    assert torch.equal(rest.rows, ROWS[[0, 4]])
    assert rest.share.tolist() == [1.0, 1.0]
    assert rest.n_components == 4
    # one after the other is the same
    again = base().without(x[:2]).without(x[2:])
    torch.testing.assert_close(again.log_prob(nodes), rest.log_prob(nodes))
    # and a row that is left out is one that is not there
    alone = base().without(ROWS[:1]).log_prob(ROWS[:1])
    torch.testing.assert_close(alone, base().log_prob_left_out(ROWS[:1]))


def test_without_any_row_is_an_error():
    kernels = base()
    one = torch.ones(1, dtype=torch.float64)
    mixture = ManifoldMixture(
        Torus(1), VonMises(Torus(1), CENTERS[2:3], 0.1), 0.9 * one, 0.1
    )
    with pytest.raises(ValueError, match="All 1 rows .* keep some"):
        KernelBase(mixture, CENTERS[2:3]).without(CENTERS)
    assert kernels.without(ROWS).n_components == 1  # the one that is no kernel


def test_gradients_leave_shares_out():
    x = ROWS.clone()
    found = base_gradient(base(), x)
    h = 1e-6
    for i in range(len(x)):
        of = np.array([*OF_COMPONENT.tolist(), -1])
        weights = WEIGHTS * np.where(of == int(CELL[i]), 1 - float(SHARE[i]), 1.0)
        up, down = (by_hand(float(x[i]) + s, weights) for s in (h, -h))
        assert float(found[i]) == pytest.approx((up - down) / (2 * h), rel=1e-5)


def test_rows_are_found_to_the_last_bit():
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(size=(1000, 3)))
    rows[5] = 0.0
    x = rows[[7, 999, 5, 0]].clone()
    x[2] = -x[2]  # minus zero is zero
    assert find_rows(x, rows).tolist() == [7, 999, 5, 0]
    x[0, 1] = np.nextafter(float(x[0, 1]), 10)
    assert find_rows(x, rows).tolist() == [-1, 999, 5, 0]
    whole = torch.tensor(rng.integers(0, 3, size=(500, 4)), dtype=torch.float64).unique(
        dim=0
    )
    assert find_rows(whole, whole).tolist() == list(range(len(whole)))
    assert find_rows(whole.float(), whole.float()).tolist() == list(range(len(whole)))
