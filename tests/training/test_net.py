"""The training loop on a toy task whose every step is known in closed form."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Subset

from sk_wmvl._rows import Rows
from sk_wmvl.manifolds import Euclidean
from sk_wmvl.objectives import Batch, ScoreMatching
from sk_wmvl.objectives._base import RowFacts
from sk_wmvl.training import (
    OPTIMIZERS,
    BaseTask,
    BatchIterator,
    ObjectiveTask,
    TensorData,
    TrainingNet,
    WeightAverage,
    make_data,
    make_optimizer,
)
from sk_wmvl.training.optimizers import load_optimizer, one_cycle
from sk_wmvl.training.state import to_arrays, to_tensors
from sk_wmvl.training.task import Step

START = [2.0, -1.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Point(nn.Module):
    """Two weights, and a buffer that counts."""

    def __init__(self, w=START):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))


def distances(module, rows):
    return 0.5 * (module.w - rows.x).square().sum(-1)


class LeastSquares(BaseTask):
    """Half the squared distance to the rows: the gradient is w less their mean.

    Parameters
    ----------
    noise : float
        Size of what is added to every row, from the task's generator.
    monitored : sequence of float
        What `monitor` returns, one after the other; after them the mean distance.
    nan_at : int
        The step whose loss, and gradient, is NaN.
    """

    remedy = "Try a smaller lr."

    def __init__(self, *, noise=0.0, monitored=(), nan_at=None, seed=0):
        super().__init__(generator(seed))
        self.noise = noise
        self.monitored = list(monitored)
        self.nan_at = nan_at
        self.batches = []

    def step(self, net, batch):
        self.batches.append(batch)
        shift = self.noise * torch.randn(2, generator=self.generator)
        steps = []

        def compute():
            values = distances(net.module_, batch._replace(x=batch.x + shift))
            if net.n_steps_ + 1 == self.nan_at:
                values = values * math.nan
            loss = (values * batch.weight).mean()
            steps.append(Step({"loss": loss.detach()}, values.detach()))
            return loss

        net.descend(compute, batch)
        with torch.no_grad():
            net.module_.count += 1
        return steps[0]

    def monitor(self, module, rows):
        if self.monitored:
            return self.monitored.pop(0)
        return float((distances(module, rows) * rows.weight).mean())


def make_rows(n=10, seed=0):
    rng = np.random.default_rng([seed, 5])
    weight = rng.uniform(0.5, 1.5, n)
    x = torch.tensor(rng.normal(size=(n, 2)))
    return TensorData(Batch(x, torch.tensor(weight / weight.mean())))


def make_net(task, valid=None, *, module=None, optimizer=torch.optim.SGD, **params):
    params = {
        "lr": 0.1,
        "batch_size": 4,
        "max_epochs": 3,
        "one_cycle": False,
        "iterator_train": BatchIterator,
        "iterator_train__generator": generator(1),
        "train_split": None if valid is None else predefined_split(valid),
        "verbose": 0,
    } | params
    module = Point() if module is None else module
    return TrainingNet(module, task=task, optimizer=optimizer, **params)


class Diary(Callback):
    """Writes down the weights in training, and their average, after each epoch."""

    def __init__(self):
        self.weights, self.averages = [], []

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.weights.append(net.module_.w.detach().clone())
        self.averages.append(net.average_.module.w.clone())


# --- steps ----------------------------------------------------------------------------


@pytest.mark.parametrize("cycle", [False, True])
def test_steps_are_those_of_gradient_descent_and_the_average_follows(cycle):
    rows, memory = make_rows(), 0.8
    net = make_net(LeastSquares(), one_cycle=cycle, averaging=memory).initialize()
    net.partial_fit(rows)
    w, mean = np.array(START), np.array(START)
    x, weight = rows.x.numpy(), rows.weight.numpy()
    losses, t, n_steps = [], 0, 9
    for _ in range(3):
        total = 0.0
        for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
            total += (weight[part] * 0.5 * ((w - x[part]) ** 2).sum(1)).sum()
            rate = 0.1
            if cycle and t / n_steps < 0.15:
                rate *= 0.04 + 0.96 * np.sin(np.pi / 2 * t / n_steps / 0.15) ** 2
            elif cycle:
                rate *= np.cos(np.pi / 2 * (t / n_steps - 0.15) / 0.85) ** 2
            w = w - rate * (weight[part, None] * (w - x[part])).mean(0)
            t += 1
            mean = mean + max(1 - memory, 9 / (9 + t)) * (w - mean)
        losses.append(total / 10)
    np.testing.assert_allclose(net.module_.w.detach(), w, rtol=1e-12)
    np.testing.assert_allclose(net.average_.module.w, mean, rtol=1e-12)
    np.testing.assert_allclose(net.history[:, "train_loss"], losses, rtol=1e-12)
    assert net.n_steps_ == 9
    assert not net.module_.training
    assert len(net.history) == 3


def test_rate_rises_to_one_and_falls_to_zero():
    t = np.linspace(0, 1, 2001)
    rate = np.array([one_cycle(s) for s in t])
    assert rate[0] == pytest.approx(0.04)
    assert rate.max() == pytest.approx(1)
    assert rate[-1] == pytest.approx(0, abs=1e-12)
    top = rate.argmax()
    assert t[top] == pytest.approx(0.15)
    assert (np.diff(rate[: top + 1]) > 0).all()
    assert (np.diff(rate[top:]) < 0).all()


FIRST_STEPS = {  # of a rate of 0.1 from START, where the gradient is START itself
    "sgd": 0.1 * np.array(START),
    "adam": 0.1 * np.sign(START),
    "adamw": 0.1 * np.sign(START),
    # the mean square starts at zero and takes over a hundredth of the first square
    "rmsprop": 0.1 * np.sign(START) / 0.01**0.5,
    "rmsprop-debiased": 0.1 * np.sign(START),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_its_first_step(name):
    origin = TensorData(Batch(torch.zeros(4, 2).double(), torch.ones(4).double()))
    cls, options = OPTIMIZERS[name]
    extra = {f"optimizer__{k}": v for k, v in options.items()}
    net = make_net(LeastSquares(), optimizer=cls, **extra).initialize()
    net.partial_fit(origin, epochs=1)
    other = Point()
    optimizer = make_optimizer(name, other, 0.1)
    assert type(optimizer) is cls
    assert optimizer.param_groups[0]["lr"] == 0.1
    step = np.array(START) - net.module_.w.detach().numpy()
    if name in FIRST_STEPS:
        np.testing.assert_allclose(step, FIRST_STEPS[name], rtol=1e-6)
    else:  # L-BFGS searches on its own: it goes straight to the origin
        assert net.n_steps_ == 1
        assert np.linalg.norm(net.module_.w.detach()) < 0.2 * np.linalg.norm(START)
        np.testing.assert_allclose(step[0] / step[1], START[0] / START[1], rtol=1e-6)


def test_optimizers_may_be_classes():
    optimizer = make_optimizer(torch.optim.Adagrad, Point(), 0.3)
    assert type(optimizer) is torch.optim.Adagrad
    assert optimizer.param_groups[0]["lr"] == 0.3


def test_average_is_a_copy_with_the_buffers_of_its_source():
    source = Point()
    average = WeightAverage(source)
    assert not any(p.requires_grad for p in average.module.parameters())
    with torch.no_grad():
        source.w += 1
        source.count += 5
    snapshot = average.snapshot()
    assert snapshot["w"].tolist() == START
    assert snapshot["count"] == 5
    average.update(10**6)  # the long run: 1 - memory
    assert average.module.w.tolist() == pytest.approx([2.005, -0.995])
    assert snapshot["w"].tolist() == START


# --- which weights are kept -----------------------------------------------------------


@pytest.mark.parametrize(
    ("monitored", "params", "n_epochs", "best"),
    [
        ([5, 3, 1, 4, 2], {}, 4, 2),
        ([5, 3, 1, 4, 2, 0], {"n_iter_no_change": 2}, 4, 2),
        ([0, 1, 2, 3, 4], {}, 4, 0),  # the untrained model is a candidate
        # gains below tol are kept, but do not count as progress
        ([5, 4.9, 4.8, 4.7, 4.6], {"n_iter_no_change": 2, "tol": 0.5}, 2, 2),
        ([5, 4.7, 4.4, 4.1, 4.0], {"n_iter_no_change": 2, "tol": 0.5}, 4, 4),
    ],
)
def test_best_epoch_is_restored(monitored, params, n_epochs, best):
    diary = Diary()
    task = LeastSquares(monitored=monitored)
    params = {"max_epochs": len(monitored) - 1, "callbacks": [diary]} | params
    net = make_net(task, make_rows(6, 1), **params).initialize()
    net.partial_fit(make_rows())
    assert len(net.history) == n_epochs
    assert net.history[:, "valid_loss"] == monitored[1 : n_epochs + 1]
    averages = [torch.tensor(START).double(), *diary.averages]
    for module in (net.module_, net.average_.module):
        assert torch.equal(module.w, averages[best])
    marks = net.history[:, "valid_loss_best"]
    lows = np.minimum.accumulate([math.inf, *monitored[1:n_epochs]])
    assert marks == [v < low for v, low in zip(monitored[1:], lows, strict=False)]


def test_monitored_is_the_average_on_rows_held_out():
    rows, valid, diary = make_rows(), make_rows(6, 1), Diary()
    net = make_net(LeastSquares(), valid, callbacks=[diary]).initialize()
    net.partial_fit(rows)
    x, weight = valid.x.numpy(), valid.weight.numpy()
    means = [
        (weight * 0.5 * ((w.numpy() - x) ** 2).sum(1)).mean() for w in diary.averages
    ]
    np.testing.assert_allclose(net.history[:, "valid_loss"], means, rtol=1e-12)


def test_without_held_out_rows_the_last_weights_stay():
    diary = Diary()
    net = make_net(LeastSquares(), callbacks=[diary], n_iter_no_change=1, tol=1e9)
    net.initialize().partial_fit(make_rows())
    assert len(net.history) == 3
    assert torch.equal(net.module_.w, diary.weights[-1])


# --- faults ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["training", "held-out"])
def test_a_fault_keeps_the_averaged_weights_of_the_best_epoch(where):
    # Three steps an epoch; the best epoch is the first, the fault is in the third.
    diary = Diary()
    if where == "training":
        task = LeastSquares(monitored=[9, 1, 5, 4], nan_at=8)
    else:
        task = LeastSquares(monitored=[9, 1, 5, math.nan])
    net = make_net(task, make_rows(6, 1), max_epochs=9, callbacks=[diary]).initialize()
    message = "diverged in epoch 3: the loss is nan.*last good weights.*smaller lr"
    with pytest.warns(ConvergenceWarning, match=message):
        net.partial_fit(make_rows())
    assert len(net.history) == 3
    assert len(diary.averages) == 2  # the epoch of the fault does not end
    for module in (net.module_, net.average_.module):
        assert torch.equal(module.w, diary.averages[0])


@pytest.mark.parametrize(
    ("nan_at", "steps_per_copy", "kept"),
    [(1, 1, 0), (8, 1, 2), (8, 6, 2), (8, 7, 0), (14, 4, 4), (14, 7, 3)],
)
def test_a_fault_goes_back_to_the_last_copy_of_the_state(nan_at, steps_per_copy, kept):
    # Three steps an epoch, with momentum: `kept` epochs are left, as if no others had been.
    params = {"optimizer__momentum": 0.9, "iterator_train__shuffle": True}
    task = LeastSquares(noise=0.1, nan_at=nan_at)
    params["steps_per_copy"] = steps_per_copy
    net = make_net(task, max_epochs=9, **params).initialize()
    with pytest.warns(ConvergenceWarning, match="the loss is nan"):
        net.partial_fit(make_rows())
    params["iterator_train__generator"] = generator(1)
    good = make_net(LeastSquares(noise=0.1), **params).initialize()
    good.partial_fit(make_rows(), epochs=kept)
    assert_same_state(net.get_training_state(), good.get_training_state())
    assert torch.isfinite(net.module_.w).all()


def assert_same_state(one, other):
    def clean(state):
        history = [
            {k: v for k, v in row.items() if k != "dur"} for row in state["history"]
        ]
        return state | {"history": history}

    assert equal(clean(one), clean(other))


def equal(a, b):
    """Return whether nested states are the same to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(a, b)


# --- the state ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
def test_a_state_saved_and_resumed_is_going_on(name):
    cls, options = OPTIMIZERS[name]
    params = {f"optimizer__{k}": v for k, v in options.items()}
    params |= {"optimizer": cls, "iterator_train__shuffle": True}
    rows, task = make_rows(), LeastSquares(noise=0.1)
    net = make_net(task, **params).initialize().partial_fit(rows, epochs=2)
    saved = net.get_training_state()
    before = pickle.dumps(saved)
    net.partial_fit(rows, epochs=2)
    assert pickle.dumps(saved) == before  # a copy, which training does not touch
    params |= {"module": Point([7.0, 8.0]), "iterator_train__generator": generator(9)}
    other = make_net(LeastSquares(noise=0.1, seed=9), **params).initialize()
    other.set_training_state(pickle.loads(before))
    other.partial_fit(rows, epochs=2)
    assert_same_state(net.get_training_state(), other.get_training_state())
    assert len(other.history) == 4
    assert other.n_steps_ == 12


def test_a_resumed_training_has_its_own_rate():
    net = make_net(LeastSquares()).initialize()
    other = make_net(LeastSquares(), lr=0.7).initialize()
    other.set_training_state(net.get_training_state())
    assert other.optimizer_.param_groups[0]["lr"] == 0.7


def test_a_state_of_another_network_is_refused():
    state = make_net(LeastSquares()).initialize().get_training_state()
    other = make_net(LeastSquares(), module=Point([1.0, 2.0, 3.0])).initialize()
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.set_training_state(state)


def test_arrays_and_tensors_are_inverse_and_copy():
    tensor = torch.arange(3.0, requires_grad=True)
    value = {"a": tensor, "b": [torch.ones(2, dtype=torch.int64), 1.5, None], 3: "text"}
    arrays = to_arrays(value)
    assert arrays["a"].dtype == np.float32
    assert arrays["b"][1:] == [1.5, None]
    assert arrays[3] == "text"
    with torch.no_grad():
        tensor += 1
    assert arrays["a"].tolist() == [0, 1, 2]
    back = to_tensors(arrays)
    arrays["a"][:] = 9
    assert back["a"].tolist() == [0, 1, 2]
    assert not back["a"].requires_grad
    assert equal(to_arrays(back["b"]), arrays["b"])
    assert back["b"][0].dtype == torch.int64


# --- batches --------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),  # a single row left over joins the last batch
        (8, 4, [4, 4]),
        (5, 4, [5]),
        (3, 1, [1, 1, 1]),
        (1, 4, [1]),
        (7, -1, [7]),
        (3, 4, [3]),
    ],
)
def test_batches_have_every_row_once(n, size, sizes, shuffle):
    x = torch.arange(n).double()
    rows = Batch(x[:, None], 10 * x, None, -x)
    batches = BatchIterator(
        TensorData(rows), size, shuffle=shuffle, generator=generator()
    )
    assert len(batches) == len(sizes)
    orders = []
    for _ in range(2):
        parts = list(batches)
        assert [len(part.x) for part in parts] == sizes
        order = torch.cat([part.x[:, 0] for part in parts])
        assert sorted(order.tolist()) == x.tolist()
        assert torch.equal(torch.cat([part.weight for part in parts]), 10 * order)
        assert torch.equal(torch.cat([part.log_proposal for part in parts]), -order)
        assert all(part.base_grad is None for part in parts)
        orders.append(order)
    if not shuffle:
        assert torch.equal(orders[0], x)
    elif n > 5:
        assert not torch.equal(*orders)
        again = BatchIterator(TensorData(rows), size, True, generator())
        assert torch.equal(torch.cat([b.x[:, 0] for b in again]), orders[0])


def test_batches_of_some_rows():
    data = TensorData(Batch(torch.arange(6.0)[:, None], torch.ones(6)))
    (batch,) = BatchIterator(Subset(data, [4, 1]), -1)
    assert batch.x[:, 0].tolist() == [4, 1]


def test_rows_become_tensors_whose_weights_have_mean_one_in_training():
    points = np.arange(12.0).reshape(6, 2)
    weight, groups = np.array([1.0, 2, 3, 4, 5, 6]), np.array([0, 0, 1, 1, 2, 2])
    train, held_out = np.array([0, 2, 4]), np.array([1, 5])
    facts = RowFacts(log_proposal=torch.arange(6.0))
    rows, cpu = Rows(points, weight, groups), torch.device("cpu")
    data = make_data(rows, facts, train, train, cpu)
    assert data.x.dtype == torch.float32
    assert data.x.tolist() == points[train].tolist()
    assert data.weight.tolist() == pytest.approx([1 / 3, 1, 5 / 3])
    assert data.groups.tolist() == [0, 1, 2]
    other = make_data(rows, facts, train, held_out, cpu)
    assert other.weight.tolist() == pytest.approx([2 / 3, 2])
    assert other.rows.log_proposal.tolist() == [1, 5]
    assert other.rows.base_grad is None
    plain = make_data(Rows(points, None, None), RowFacts(), train, held_out, cpu)
    assert plain.weight.tolist() == [1, 1]
    assert plain.groups is None


# --- callbacks ------------------------------------------------------------------------


class Witness(Callback):
    """Writes down what it is shown of the batches."""

    def __init__(self):
        self.events = []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.events.append(("begin", len(batch.x), training))

    def on_grad_computed(self, net, named_parameters, batch=None, **kwargs):
        ((name, parameter),) = list(named_parameters)
        assert torch.isfinite(parameter.grad).all()
        self.events.append((name, len(batch.x)))

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        loss = (kwargs["y_pred"] * batch.weight).mean()
        assert kwargs["loss"] == loss
        self.events.append(("end", len(batch.x), training))


def test_callbacks_see_the_batches_and_change_nothing():
    witness, rows = Witness(), make_rows()
    net = make_net(LeastSquares(), make_rows(6, 1), callbacks=[witness]).initialize()
    net.partial_fit(rows, epochs=2)
    epoch = [
        event
        for size in (4, 4, 2)
        for event in (("begin", size, True), ("w", size), ("end", size, True))
    ]
    assert witness.events == 2 * epoch
    plain = make_net(LeastSquares(), make_rows(6, 1)).initialize()
    plain.partial_fit(rows, epochs=2)
    assert torch.equal(net.module_.w, plain.module_.w)
    assert net.history[:, "train_loss"] == plain.history[:, "train_loss"]
    sizes = [row["train_batch_size"] for row in net.history[0]["batches"][:3]]
    assert sizes == [4, 4, 2]


class Interrupting(Callback):
    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        raise KeyboardInterrupt


def test_callbacks_can_stop_the_training_and_ctrl_c_is_not_swallowed(monkeypatch):
    net = make_net(LeastSquares(), callbacks=[Interrupting()]).initialize()
    net.partial_fit(make_rows())
    assert len(net.history) == 1
    net = make_net(LeastSquares()).initialize()

    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(net.task, "step", press)
    with pytest.raises(KeyboardInterrupt):
        net.partial_fit(make_rows())


# --- the step of an objective ---------------------------------------------------------


class Curvature(nn.Module):
    """E = a x^2 / 2."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, x):
        return 0.5 * self.a * x.square().sum(-1)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_a_step_of_an_objective_adds_the_penalty_and_records_the_loss(alpha):
    # Score matching is a^2 x^2 / 2 - a on the line, the penalty alpha a^2 x^4 / 4.
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=6), np.array([0.5, 1.5, 1, 1, 0.25, 1.75])
    rows = TensorData(Batch(torch.tensor(x)[:, None], torch.tensor(weight)))
    problem = ScoreMatching().problem(Euclidean(1))
    task = ObjectiveTask(problem, alpha=alpha, generator=generator(), monitor_seed=0)
    energy = problem.make_energy(Curvature())
    net = make_net(task, module=energy, batch_size=-1).initialize()
    net.partial_fit(rows, epochs=1)
    loss = (weight * (0.5 * 1.5**2 * x**2 - 1.5)).mean()
    slope = (weight * (1.5 * x**2 - 1 + alpha * 0.5 * 1.5 * x**4)).mean()
    assert net.history[0, "train_loss"] == pytest.approx(loss)
    a = net.module_.correction.a.item()
    assert a == pytest.approx(1.5 - 0.1 * slope)
    monitored = task.monitor(net.module_, rows)
    assert monitored == pytest.approx((weight * (0.5 * a**2 * x**2 - a)).mean())


def test_a_state_is_loaded_at_ones_own_rate():
    old = make_optimizer("adamw", Point(), 0.5)
    point = Point()
    new = torch.optim.AdamW(point.parameters(), lr=0.1, weight_decay=0.3, fused=True)
    old.param_groups[0]["lr"] = 1e-9  # as at the end of a cycle
    point_state = old.state_dict()
    load_optimizer(new, point_state)
    assert (new.param_groups[0]["lr"], new.param_groups[0]["weight_decay"]) == (
        0.1,
        0.3,
    )


@pytest.mark.parametrize("kind", ["sgd", "lbfgs", "rmsprop"])
def test_a_state_of_another_kind_of_optimizer_is_refused(kind):
    state = make_optimizer("rmsprop-debiased", Point(), 0.5).state_dict()
    with pytest.raises(ValueError, match="another kind of optimizer"):
        load_optimizer(make_optimizer(kind, Point(), 0.5), state)
