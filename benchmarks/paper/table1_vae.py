"""The paper's Table 1: test log likelihood of variational auto-encoders of MNIST.

The eight cells have codes in Euclidean space or on the sphere, an explicit or implicit
encoder, 8 or 32 dimensions. They learn from 50 000 images (the last 10 000 of MNIST's
training images are the test set), with networks and settings as in the authors' code,
and averaged weights. `nll`, in nats, is the estimate of `ImplicitVAE.score_samples`
(importance sampling about the best code, and in many dimensions annealing from there)
on the first `rows` test images, binarised once. `behind` is its mean difference to
spherical implicit codes, image by image. `ais` is by annealed importance sampling, the
paper's method, on the first `annealed` of the images, and `ais_less` is by how much
that is less than `nll` on the same images. `gap` is the distance between its upper and
lower bounds on images that the model drew.

Training goes on from checkpoints in ``--folder``, to ``--iterations`` updates (the
paper has 100 000), and so does the evaluation. ``--quick`` has 8 x 8 digits, two
cells and 60 updates. The order of the cells is not settled on digits: with seed 0
spherical implicit codes come first after 600 updates, and 0.18 nats behind explicit
Euclidean ones after 1 200.

    python benchmarks/paper/table1_vae.py --out benchmarks/results/table1_vae.csv
"""

import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from _lib.autoencoder_pictures import save_pictures
from _lib.checkpoints import add_options, default_folder, trained
from _lib.images import binarize, load_images
from _lib.script import Sheet, options, show_progress
from _lib.vae_likelihood import evaluate

from sk_wmvl import ImplicitVAE
from sk_wmvl.autoencoders import PRESETS

# name: latent, encoder, number of dimensions, the paper's nats and their spread over runs
CELLS = {
    "sphere-implicit-8": ("sphere", "implicit", 8, 94.72, 0.16),
    "sphere-implicit-32": ("sphere", "implicit", 32, 88.81, 0.14),
    "euclidean-implicit-8": ("euclidean", "implicit", 8, 95.84, 0.19),
    "sphere-explicit-8": ("sphere", "vmf", 8, 95.47, 0.08),
    "euclidean-explicit-8": ("euclidean", "gaussian", 8, 96.45, 0.10),
    "euclidean-implicit-32": ("euclidean", "implicit", 32, 90.33, 0.26),
    "sphere-explicit-32": ("sphere", "vmf", 32, 91.32, 0.07),
    "euclidean-explicit-32": ("euclidean", "gaussian", 32, 90.28, 0.37),
}
QUICK_CELLS = "sphere-implicit-8", "euclidean-explicit-8"
PAPER = "it is in the paper, after 100 000 updates on MNIST"
ITERATIONS, QUICK_ITERATIONS = 100_000, 60
ROWS, ANNEALED, QUICK_ROWS = 10_000, 1000, 50
TEMPERATURES, QUICK_TEMPERATURES = 1000, 30
CHAINS = 16
NATS = "nll", "ais"  # to be printed to the hundredth, whatever their size


def make(name, seed, *, quick):
    """Return an untrained model."""
    latent, encoder, n_z, *_ = CELLS[name]
    preset = PRESETS["vae-implicit" if encoder == "implicit" else "vae-explicit"]
    model = ImplicitVAE(
        n_z, latent=latent, encoder=encoder, random_state=seed, **preset
    )
    small = {"hidden_layer_sizes": (64, 64), "critic_layer_sizes": (64, 64)}
    return model.set_params(**small, averaging=0.99) if quick else model


def run(args, folder):
    """Train and evaluate the cells asked for."""
    images = load_images(small=args.quick)
    sheet = Sheet(args.out)
    iterations = args.iterations or (QUICK_ITERATIONS if args.quick else ITERATIONS)
    temperatures = QUICK_TEMPERATURES if args.quick else args.temperatures
    rows = args.rows or (QUICK_ROWS if args.quick else ROWS)
    models, reference = {}, {}
    cells = QUICK_CELLS if args.quick and not args.only else CELLS
    runs = trained(args, cells, make, images.train, folder, iterations)
    for name, seed, (model, seconds), path in runs:
        latent, encoder, n_z, paper, paper_sd = CELLS[name]
        result, values = evaluate(
            model,
            binarize(images.test[:rows], 0),
            path.with_suffix(f".{model.n_steps_}.npz"),
            n_annealed=min(rows, args.annealed),
            n_temperatures=temperatures,
            n_chains=CHAINS,
        )
        models[f"{name}, seed {seed}"] = model
        if name.startswith("sphere-implicit"):
            reference[seed, n_z] = values
        behind = reference.get((seed, n_z), np.full(len(values), np.nan)) - values
        sheet.add(
            latent=latent,
            encoder="implicit" if encoder == "implicit" else "explicit",
            n_z=n_z,
            seed=seed,
            iterations=model.n_steps_,
            ms=1e3 * seconds / model.n_steps_,
            **{k: f"{v:.2f}" if k in NATS else v for k, v in result.items()},
            behind=behind.mean(),
            behind_se=behind.std(ddof=1) / math.sqrt(len(values)),
            paper=paper,
            paper_sd=paper_sd,
        )
    if models and args.out is not None:
        save_pictures(models, images, args.out)
    return sheet.rows


def say_order(rows):
    """Say whether spherical implicit codes were best, as in the paper."""
    for n_z in sorted({row["n_z"] for row in rows}):
        own = [row for row in rows if row["n_z"] == n_z]
        if len(own) < 2:
            continue
        order = sorted(own, key=lambda row: float(row["nll"]))
        names = [f"{r['latent']} {r['encoder']} {r['nll']}" for r in order]
        verdict = "not " if not names[0].startswith("sphere implicit") else ""
        show_progress(f"n_z = {n_z}: {' < '.join(names)}")
        show_progress(f"n_z = {n_z}: spherical implicit is {verdict}best ({PAPER})")


def add(parser):
    """Add this script's options."""
    add_options(parser, folder=default_folder("table1"))
    text = "images that are annealed; a hundred times the cost of the others"
    parser.add_argument("--annealed", type=int, default=ANNEALED, help=text)
    text = "of annealing; its bias falls like their inverse, its cost rises like them"
    parser.add_argument("--temperatures", type=int, default=TEMPERATURES, help=text)


if __name__ == "__main__":
    args = options(__doc__, add=add)
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            say_order(run(args, Path(folder)))
    else:
        say_order(run(args, args.folder))
