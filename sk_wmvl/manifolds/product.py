"""Products: several manifolds side by side, each with its own block of columns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from sklearn.base import clone
from torch import Tensor

from sk_wmvl.manifolds._base import BaseManifold, LocalChart
from sk_wmvl.manifolds._series import safe_norm

__all__ = ["Product"]


def known_width(manifold: BaseManifold) -> int | None:
    """Return the number of columns of a manifold's rows, or None if it is open."""
    try:
        return manifold.n_columns
    except ValueError:
        return None


@contextmanager
def naming(factor: str) -> Iterator[None]:
    """Put the name of a factor before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Factor {factor!r} of a Product: {error}") from error


def check_factors(factors: Any) -> None:
    """Raise unless `factors` is a list of pairs of a distinct name and a manifold."""
    form = 'such as Product([("direction", Sphere(2)), ("speed", Euclidean(1))])'
    if not isinstance(factors, list | tuple) or len(factors) == 0:
        raise ValueError(
            f"A Product needs a list of at least one factor, {form}; got {factors!r}."
        )
    names = []
    for pair in factors:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(
                f"A factor is a pair (name, manifold), {form}; got {pair!r}."
            )
        name, manifold = pair
        if not isinstance(manifold, BaseManifold):
            call = " (call it)" if isinstance(manifold, type) else ""
            raise TypeError(
                f"Factor {name!r} of a Product must be a manifold, {form}; "
                f"got {manifold!r}{call}."
            )
        if not isinstance(name, str) or "__" in name or name in ("", "factors"):
            raise ValueError(
                "The name of a Product's factor must be a string without '__', not "
                f"empty and not 'factors'; got {name!r}."
            )
        names.append(name)
    if len(set(names)) < len(names):
        raise ValueError(f"The names of a Product's factors must differ; got {names}.")


class Product(BaseManifold):
    r"""A product :math:`M_1\times\dots\times M_k` with the product metric and volume.

    A row holds the factors' rows side by side, in the order given. All functions work on
    each factor's block of columns; squared distances add.

    Parameters
    ----------
    factors : list of (str, BaseManifold) pairs
        Names and manifolds, like the steps of a pipeline. ``set_params(name__dim=2)``
        reaches a factor. At most one factor may leave its width to the data.

    Examples
    --------
    >>> import torch
    >>> from sk_wmvl.manifolds import Euclidean, Product, Torus
    >>> wind = Product([("direction", Torus(1)), ("speed", Euclidean(1))])
    >>> wind.dist(torch.tensor([[-3.0, 1.0]]), torch.tensor([[3.0, 2.0]]))
    tensor([1.0393])
    """

    def __init__(self, factors: list[tuple[str, BaseManifold]]):
        self.factors = factors

    # --- parameters -------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add the factors by name, and their parameters as
            ``name__parameter``.

        Returns
        -------
        params : dict
        """
        params: dict[str, Any] = {"factors": self.factors}
        if deep:
            for name, manifold in self._pairs():
                params[name] = manifold
                for key, value in manifold.get_params().items():
                    params[f"{name}__{key}"] = value
        return params

    def set_params(self, **params: Any) -> Self:
        """Set `factors`, a factor by its name, or a factor's ``name__parameter``.

        Parameters
        ----------
        **params : dict
            New values.

        Returns
        -------
        self : Product
        """
        if "factors" in params:
            self.factors = params.pop("factors")
        names = {name for name, _ in self._pairs()}
        fresh = {name: params.pop(name) for name in names & params.keys()}
        if fresh:
            self.factors = [(name, fresh.get(name, m)) for name, m in self._pairs()]
        return super().set_params(**params)

    def _pairs(self) -> list[tuple[str, BaseManifold]]:
        """Return the factors, checked."""
        check_factors(self.factors)
        return [(name, manifold) for name, manifold in self.factors]

    def _members(self) -> list[BaseManifold]:
        """Return the factors without names."""
        return [manifold for _, manifold in self._pairs()]

    # --- shape ------------------------------------------------------------------------

    @property
    def dim(self) -> int | None:  # type: ignore[override]  # an attribute in the base
        """The sum of the factors' dimensions; None until all are known."""
        dims = [manifold.dim for manifold in self._members()]
        return None if None in dims else sum(d for d in dims if d is not None)

    @property
    def n_columns(self) -> int:
        """The sum of the factors' columns."""
        return sum(manifold.n_columns for manifold in self._members())

    @property
    def ambient_dim(self) -> int:
        """The sum of the factors' ambient dimensions."""
        return sum(manifold.ambient_dim for manifold in self._members())

    @property
    def frame_dim(self) -> int:
        """The sum of the factors' frame dimensions."""
        return sum(manifold.frame_dim for manifold in self._members())

    def with_columns(self, n_columns: int) -> Self:
        """Return a copy; a factor of unknown width gets the columns left over.

        Raises a ValueError if the widths do not add up, or if two widths are unknown.
        """
        pairs = clone(self)._pairs()
        widths = {name: known_width(manifold) for name, manifold in pairs}
        unknown = [name for name, width in widths.items() if width is None]
        known = {name: width for name, width in widths.items() if width is not None}
        left = n_columns - sum(known.values())
        if len(unknown) > 1:
            raise ValueError(
                f"The {n_columns} columns cannot be divided: the factors {unknown} all "
                "leave their width to the data. Give the dimension of all but one."
            )
        if (left < 1) if unknown else (left != 0):
            taken = ", ".join(f"{name}: {width}" for name, width in known.items())
            rest = f"; at least 1 must be left for {unknown[0]!r}" if unknown else ""
            raise ValueError(
                f"X has n_features = {n_columns}, but the factors of a Product take "
                f"{sum(known.values())} ({taken}){rest}. Order the columns like the "
                "factors, and correct the factors' dimensions or the number of columns."
            )
        factors = []
        for name, manifold in pairs:
            with naming(name):
                factors.append((name, manifold.with_columns(known.get(name, left))))
        return self._resized(factors=factors)

    # --- users' rows ------------------------------------------------------------------

    def from_user(self, x: Tensor) -> Tensor:
        """Return the factors' points; see `BaseManifold.from_user`."""
        pairs = self._pairs()
        blocks = x.split([manifold.n_columns for _, manifold in pairs], -1)
        points = []
        for (name, manifold), block in zip(pairs, blocks, strict=True):
            with naming(name):
                points.append(manifold.from_user(block))
        return torch.cat(points, -1)

    def warn_of_units(self, x: Tensor) -> None:
        """Let each factor check its block; see `BaseManifold.warn_of_units`."""
        members = self._members()
        blocks = x.split([manifold.n_columns for manifold in members], -1)
        for manifold, block in zip(members, blocks, strict=True):
            manifold.warn_of_units(block)

    def to_user(self, x: Tensor) -> Tensor:
        """Return points as users' rows, of shape (n, n_columns)."""
        return self._join(lambda m, x: m.to_user(x), x)

    def push_to_user(self, x: Tensor, u: Tensor) -> Tensor:
        """Return tangent vectors in users' units: the differential of `to_user`."""
        return self._join(lambda m, x, u: m.push_to_user(x, u), x, u)

    # --- blocks -----------------------------------------------------------------------

    def _blockwise(self, method: Callable, *arguments: Tensor) -> list:
        """Return ``method(factor, *blocks)`` of each factor."""
        members = self._members()
        widths = [manifold.ambient_dim for manifold in members]
        blocks = [argument.split(widths, -1) for argument in arguments]
        return [method(*each) for each in zip(members, *blocks, strict=True)]

    def _join(self, method: Callable, *arguments: Tensor) -> Tensor:
        """Return the factors' vectors side by side."""
        return torch.cat(self._blockwise(method, *arguments), -1)

    def _add(self, method: Callable, *arguments: Tensor) -> Tensor:
        """Return the sum over factors of values of shape (n,)."""
        return torch.stack(self._blockwise(method, *arguments)).sum(0)

    # --- tangent vectors --------------------------------------------------------------

    def projection(self, x: Tensor) -> Tensor:
        """Return ambient points moved onto the manifold, of shape (n, d)."""
        return self._join(lambda m, x: m.projection(x), x)

    def to_tangent(self, x: Tensor, u: Tensor) -> Tensor:
        """Return orthogonal projections of ambient vectors, of shape (n, d)."""
        return self._join(lambda m, x, u: m.to_tangent(x, u), x, u)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return the sum of the factors' inner products, of shape (n,)."""
        return self._add(lambda m, x, u, v: m.inner(x, u, v), x, u, v)

    def frame(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the factors' frames of their blocks of `v`."""
        members = self._members()
        points = x.split([manifold.ambient_dim for manifold in members], -1)
        noise = v.split([manifold.frame_dim for manifold in members], -1)
        each = zip(members, points, noise, strict=True)
        return torch.cat([manifold.frame(x, v) for manifold, x, v in each], -1)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return Riemannian gradients of shape (n, d)."""
        return self._join(lambda m, x, g: m.egrad2rgrad(x, g), x, g)

    # --- geodesics --------------------------------------------------------------------

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the factors' retractions."""
        return self._join(lambda m, x, u: m.retract(x, u), x, u)

    def geodesic(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ends of the factors' geodesics and the velocities there."""
        ends = self._blockwise(lambda m, x, u: m.geodesic(x, u), x, u)
        return torch.cat([y for y, _ in ends], -1), torch.cat([v for _, v in ends], -1)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the factors' velocities that lead to `y`."""
        return self._join(lambda m, x, y: m.log(x, y), x, y)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the root of the sum of the factors' squared distances."""
        parts = self._blockwise(lambda m, x, y: m.dist(x, y), x, y)
        return safe_norm(torch.stack(parts, -1)).squeeze(-1)

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the sum of the factors' log determinants, if all offer one."""
        return self._add(lambda m, x, u: m.log_det_exp(x, u), x, u)

    def chart(self, x: Tensor) -> LocalChart:
        """Return the factors' coordinates side by side, if all offer a chart."""
        charts = self._blockwise(lambda m, x: m.chart(x), x)
        widths = [chart.y.shape[-1] for chart in charts]

        def to_manifold(y: Tensor) -> Tensor:
            each = zip(charts, y.split(widths, -1), strict=True)
            return torch.cat([chart.to_manifold(y) for chart, y in each], -1)

        def metric(y: Tensor) -> Tensor:
            rows, before = [], 0
            for chart, block in zip(charts, y.split(widths, -1), strict=True):
                after = sum(widths) - before - block.shape[-1]
                g = chart.metric(block)
                rows.append(torch.nn.functional.pad(g, (before, after)))
                before += block.shape[-1]
            return torch.cat(rows, -2)

        return LocalChart(torch.cat([c.y for c in charts], -1), to_manifold, metric)

    # --- volume -----------------------------------------------------------------------

    def random_point(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return points whose blocks are independent draws of the factors'."""
        members = self._members()
        draws = [
            m.random_point(n_samples, generator=generator, dtype=dtype) for m in members
        ]
        return torch.cat(draws, -1)

    def log_volume(self) -> float:
        """Return the sum of the factors' log volumes."""
        return sum(manifold.log_volume() for manifold in self._members())

    def quadrature(self, n_nodes: int) -> tuple[Tensor, Tensor]:
        """Return the product of the factors' rules, up to three dimensions in all."""
        if self._known_dim() > 3:
            return super().quadrature(n_nodes)
        nodes, log_weights = torch.zeros(1, 0), torch.zeros(1)
        nodes, log_weights = nodes.double(), log_weights.double()
        for manifold in self._members():
            new, log_w = manifold.quadrature(n_nodes)
            nodes = torch.cat(
                [
                    nodes.repeat_interleave(len(new), 0),
                    new.repeat(len(nodes), 1),
                ],
                -1,
            )
            log_weights = (log_weights[:, None] + log_w).flatten()
        return nodes, log_weights

    def from_cube(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors' points, if all offer a cube; see `BaseManifold.from_cube`."""
        members = self._members()
        blocks = u.split([manifold._known_dim() for manifold in members], -1)
        each = [m.from_cube(block) for m, block in zip(members, blocks, strict=True)]
        points, log_volumes = zip(*each, strict=True)
        return torch.cat(points, -1), torch.stack(log_volumes).sum(0)

    def to_cube(self, x: Tensor) -> Tensor:
        """Return the factors' coordinates side by side."""
        return self._join(lambda m, x: m.to_cube(x), x)

    # --- what a network sees ----------------------------------------------------------

    @property
    def n_features(self) -> int:
        """The sum of the factors' numbers of features."""
        return sum(manifold.n_features for manifold in self._members())

    def features(self, x: Tensor) -> Tensor:
        """Return the factors' features side by side."""
        return self._join(lambda m, x: m.features(x), x)

    @property
    def flat_columns(self) -> list[int]:
        """The factors' flat columns, counted from the start of the row."""
        columns, offset = [], 0
        for manifold in self._members():
            columns += [offset + column for column in manifold.flat_columns]
            offset += manifold.ambient_dim
        return columns
