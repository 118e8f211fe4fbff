"""The paper's two figures of densities on manifolds: fits, and their divergence."""

import time

import numpy as np

from _lib.fits import fit_quietly
from _lib.script import Sheet, options, show_progress
from sk_wmvl import RiemannianMVLDensity
from sk_wmvl.manifolds import Sphere

__all__ = ["figure"]

# Of the paper: 2 x 100 tanh, no base measure, RMSProp at 5e-4, a step of 1e-5, 50 000
# draws. 6000 iterations of 500 rows here, where the authors took all rows every time.
PAPER = {
    "base": "uniform",
    "activation": "tanh",
    "hidden_layer_sizes": (100, 100),
    "epsilon": 1e-5,
    "optimizer": "rmsprop",
    "lr": 5e-4,
    "lr_schedule": "constant",
    "batch_size": 500,
    "max_epochs": 67,
    "alpha": 0.0,
}
SETTINGS = {
    "paper": PAPER,
    "uniform base": {"base": "uniform"},
    "default": {},
}


def kl(truth, model, n_nodes):
    """Return KL(truth, model), and | mass - 1 | of both, by quadrature on the sphere."""
    sphere = Sphere(truth.means.shape[1] - 1)
    nodes, log_weights = (part.numpy() for part in sphere.quadrature(n_nodes))
    log_p, log_q = truth.log_density(nodes), model.score_samples(nodes)
    p, q = np.exp(log_p + log_weights), np.exp(log_q + log_weights)
    return p @ (log_p - log_q), abs(q.sum() - 1), abs(p.sum() - 1)


def figure(doc, truth, *, n_nodes, draw, name):
    """Fit all settings over seeds, print and write a table, draw the first seed's fit.

    Parameters
    ----------
    doc : str
        The script's docstring.
    truth : VonMisesFisherMixture
    n_nodes : int
        Of the quadrature, per period.
    draw : callable
        From (truth, model, rows) to a matplotlib figure.
    name : str
        Of the PNG beside the CSV file.
    """
    args = options(doc, seeds=range(5), quick="one seed, 500 rows, 3 epochs")
    n, extra, seeds = 50_000, {}, args.seeds
    if args.quick:
        n, extra, seeds = 500, {"max_epochs": 3, "batch_size": 200}, seeds[:1]
    sheet = Sheet(args.out)
    for setting, params in SETTINGS.items():
        if args.only and setting not in args.only:
            continue
        for seed in seeds:
            X = truth.sample(n, random_state=seed)
            start = time.perf_counter()
            model = RiemannianMVLDensity(random_state=seed, **{**params, **extra})
            fit_quietly(model, X)
            seconds = time.perf_counter() - start
            value, mass_error, _ = kl(truth, model, n_nodes)
            sheet.add(
                setting=f"{setting:>12s}",
                seed=seed,
                n=n,
                kl=value,
                mass_error=mass_error,
                correction=model.correction_scale_,
                epochs=model.n_iter_,
                seconds=seconds,
            )
            if setting == "paper" and seed == seeds[0] and args.out is not None:
                picture = args.out.with_name(f"{name}.png")
                draw(truth, model, X).savefig(picture, dpi=110, bbox_inches="tight")
                show_progress(f"drawn: {picture.name}")
        values = [r["kl"] for r in sheet.rows if r["setting"].strip() == setting]
        show_progress(
            f"{setting}: KL {np.mean(values):.5f}, largest {np.max(values):.5f}"
        )
