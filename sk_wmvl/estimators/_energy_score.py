"""The trained energy of the score estimator, in internal units.

A context forms further columns of a product of manifolds. `JointEnergy` has no derivative
in these columns, and `HeldContextObjective` does not move them.
"""

import torch
from torch import Tensor, nn

from sk_wmvl._random import make_generator
from sk_wmvl._validation import check_widths
from sk_wmvl.base_measures.selection import select_base
from sk_wmvl.energies import BaseEnergy, ConditionalEnergy, GivenContext
from sk_wmvl.estimators._base import BaseEnergyEstimator
from sk_wmvl.estimators._prepare import WEIGHTS, Chosen
from sk_wmvl.manifolds import BaseManifold, Euclidean
from sk_wmvl.objectives import BaseObjective

__all__ = ["EnergyScore", "HeldContextObjective", "JointEnergy"]


class JointEnergy(BaseEnergy):
    """A conditional energy of the columns (z, context), constant in the context.

    Parameters
    ----------
    energy : ConditionalEnergy
        A function of the manifold's features and the context.
    manifold : BaseManifold
        The manifold of z.
    """

    def __init__(self, energy: ConditionalEnergy, manifold: BaseManifold):
        super().__init__()
        self.energy = energy
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies, of shape (n,)."""
        d = self.manifold.ambient_dim
        # The context is detached, so that gradients and Laplacians are those in z alone.
        return self.energy(self.manifold.features(x[:, :d]), x[:, d:].detach())


class HeldContextObjective(BaseObjective):
    """An objective of z, for points whose last columns are the context.

    Parameters
    ----------
    objective : BaseObjective
        An objective for energies of z.
    n_moving : int
        The number of first columns, which are z or coordinates of its tangent space.
    """

    def __init__(self, objective: BaseObjective, n_moving: int):
        self.objective = objective
        self.n_moving = n_moving

    def __call__(
        self,
        energy: nn.Module,
        x: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the objective at each sample; see `BaseObjective.__call__`."""
        z, context = x[:, : self.n_moving], x[:, self.n_moving :]

        def joined(z: Tensor, context: Tensor) -> Tensor:
            return energy(torch.cat([z, context], 1))

        # A function is enough, because the energy is only called.
        held = GivenContext(joined, context)  # type: ignore[arg-type]  # see above
        return self.objective(held, z, generator=generator)


class EnergyScore(BaseEnergyEstimator):
    """An energy of internal coordinates, over a Gaussian base or without one.

    Parameters
    ----------
    objective : str
        A key of `OBJECTIVES`.
    manifold : BaseManifold
        The manifold of the columns of X, with its dimension known. With a context it is
        the product of the manifold of z and a Euclidean space.
    space : BaseManifold
        The manifold of z.
    n_context : int
        The number of last columns of X that are context.

    The other parameters are those of `MVLDensity`.
    """

    def __init__(
        self,
        objective,
        manifold,
        space,
        n_context,
        *,
        epsilon,
        alpha,
        energy,
        hidden_layer_sizes,
        activation,
        spectral_norm,
        base,
        batch_size,
        lr,
        lr_schedule,
        max_epochs,
        early_stopping,
        validation_fraction,
        n_iter_no_change,
        tol,
        optimizer,
        callbacks,
        net_params,
        warm_start,
        device,
        random_state,
        verbose,
        standardize=False,
    ):
        self.objective = objective
        self.manifold = manifold
        self.space = space
        self.n_context = n_context
        self.epsilon = epsilon
        self.alpha = alpha
        self.energy = energy
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.spectral_norm = spectral_norm
        self.base = base
        self.batch_size = batch_size
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.net_params = net_params
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.standardize = standardize

    # A score needs no normalisable model, so the network may grow far from the rows.
    _clips_input = False

    def _make_manifold(self, X) -> BaseManifold:
        del X
        return self.manifold

    def _choose_base(
        self,
        base,
        rows,
        manifold,
        coordinates,
        moments,
        *,
        objective,
        may_transform,
        seed,
    ) -> Chosen:
        del objective, may_transform
        is_flat = isinstance(manifold, Euclidean)
        if base is None or self.n_context or not is_flat:
            return Chosen(None, None, coordinates)
        selected = select_base(
            "gaussian", rows, manifold, coordinates, moments, seed=seed
        )
        return Chosen(selected.base, selected.base, selected.coordinates)

    def _make_objective(self, family) -> BaseObjective:
        objective = super()._make_objective(family)
        if not self.n_context:
            return objective
        return HeldContextObjective(objective, self.space.frame_dim)

    def _make_correction(self, problem, setup) -> nn.Module:
        if not self.n_context:
            return super()._make_correction(problem, setup)
        network = ConditionalEnergy(
            self.space.n_features,
            self.n_context,
            check_widths(self.hidden_layer_sizes),
            activation=self.activation,
            spectral_norm=self.spectral_norm,
            generator=make_generator(setup.seed, WEIGHTS),
        )
        return JointEnergy(network, self.space)
