"""The paper's Table 2: Fréchet distance of samples of Wasserstein auto-encoders of MNIST.

Codes of 8 dimensions in Euclidean space or on the sphere, and the divergence of all codes
from the prior by score estimation (`kl`, the paper's), by a discriminator (`gan`) or by
kernels (`mmd`, which is not in the paper's table). Features are the 512 of a `LeNet`
trained here on the binarised training images. `fid` compares 10 000 binary draws with as
many binary test images, as the authors' code does, but with other weights of the LeNet:
compare within the column, not with the paper's. `data` is the distance of training images
from test images in the same features, what a perfect model would have.

Training goes on from checkpoints in ``--folder``, to ``--iterations`` updates (the paper
has 200 000). ``--quick`` has 8 x 8 digits and 60 updates; ``--quick --iterations 600`` is
what doc/benchmarks.rst has of digits.

    python benchmarks/paper/table2_wae.py --out benchmarks/results/table2_wae.csv
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from _lib.autoencoder_pictures import save_pictures
from _lib.checkpoints import add_options, default_folder, load, save, trained
from _lib.images import binarize, load_images
from _lib.lenet import train_lenet
from _lib.script import Sheet, options, show_progress

from sk_wmvl import WassersteinAutoencoder
from sk_wmvl._random import make_generator
from sk_wmvl.autoencoders import PRESETS
from sk_wmvl.evaluation import frechet_distance

# name: latent, preset, the paper's distance and its spread over runs
CELLS = {
    "sphere-kl": ("sphere", "wae-kl", 18.36, 0.73),
    "euclidean-kl": ("euclidean", "wae-kl", 23.80, 1.06),
    "sphere-gan": ("sphere", "wae-gan", 19.81, 1.13),
    "euclidean-gan": ("euclidean", "wae-gan", 24.59, 1.16),
    "sphere-mmd": ("sphere", "wae-mmd", np.nan, np.nan),
    "euclidean-mmd": ("euclidean", "wae-mmd", np.nan, np.nan),
}
ITERATIONS, QUICK_ITERATIONS = 200_000, 60
ROWS = 10_000
EPOCHS, QUICK_EPOCHS, QUICK_LR = 2, 8, 0.05  # of the LeNet: 99 % after two on MNIST


def make(name, seed, *, quick):
    """Return an untrained model."""
    latent, preset, *_ = CELLS[name]
    model = WassersteinAutoencoder(
        8, latent=latent, random_state=seed, **PRESETS[preset]
    )
    small = {"hidden_layer_sizes": (64, 64), "critic_layer_sizes": (64, 64)}
    return model.set_params(**small, averaging=0.99) if quick else model


def features_of(images, path, *, quick):
    """Return a LeNet's features, trained once."""
    if path.exists():
        return load(path).features
    lenet = train_lenet(
        binarize(images.train, 1),
        images.y_train,
        generator=make_generator(0),
        n_epochs=QUICK_EPOCHS if quick else EPOCHS,
        **({"lr": QUICK_LR} if quick else {}),
    )
    accuracy = (lenet.predict(binarize(images.test, 0)) == images.y_test).mean()
    show_progress(f"LeNet: {accuracy:.1%} of test images right")
    save(path, lenet)
    return lenet.features


def run(args, folder):
    """Train and evaluate the cells asked for."""
    images = load_images(small=args.quick)
    sheet = Sheet(args.out)
    iterations = args.iterations or (QUICK_ITERATIONS if args.quick else ITERATIONS)
    n = min(args.rows or ROWS, len(images.test))
    models, features = {}, None
    runs = trained(args, CELLS, make, images.train, folder, iterations)
    for name, seed, (model, seconds), _ in runs:
        latent, preset, paper, paper_sd = CELLS[name]
        if features is None:
            net = features_of(images, folder / "lenet.pkl", quick=args.quick)
            test = binarize(images.test[:n], 0)
            features = {
                "test": net(test),
                "train": net(binarize(images.train[:n], 2)),
            }
        draws = binarize(model.sample(n, random_state=seed).clip(0, 1), 3)
        models[f"{name}, seed {seed}"] = model
        sheet.add(
            latent=latent,
            divergence=preset.removeprefix("wae-"),
            seed=seed,
            iterations=model.n_steps_,
            ms=1e3 * seconds / model.n_steps_,
            fid=frechet_distance(net(draws), features["test"]),
            data=frechet_distance(features["train"], features["test"]),
            reconstruction=-model.score(test),
            rows=n,
            paper=paper,
            paper_sd=paper_sd,
        )
    if models and args.out is not None:
        save_pictures(models, images, args.out)
    return sheet.rows


def say_order(rows):
    """Say the order, by the mean over seeds, and the paper's."""
    names = list(dict.fromkeys(f"{r['latent']} {r['divergence']}" for r in rows))
    fid = {
        name: np.mean(
            [r["fid"] for r in rows if f"{r['latent']} {r['divergence']}" == name]
        )
        for name in names
    }
    show_progress(" < ".join(f"{k} {fid[k]:.2f}" for k in sorted(fid, key=fid.get)))
    show_progress("the paper: sphere kl < sphere gan < euclidean kl < euclidean gan")


if __name__ == "__main__":
    args = options(__doc__, add=partial(add_options, folder=default_folder("table2")))
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            say_order(run(args, Path(folder)))
    else:
        say_order(run(args, args.folder))
