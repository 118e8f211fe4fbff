"""Sheets of samples, and maps of codes."""

import numpy as np
from sklearn.decomposition import PCA

__all__ = ["save_pictures"]

N_SAMPLES, N_CODES = 16, 2000


def save_pictures(models, images, out):
    """Save draws (means given codes) and the codes of test images, one row per model.

    Parameters
    ----------
    models : dict of auto-encoders
        By name.
    images : Images
        Of which the test images are encoded.
    out : Path
        A result's name: pictures go beside it.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    side = round(images.test.shape[1] ** 0.5)
    rows = {"data": images.test[:N_SAMPLES]}
    for name, model in models.items():
        rows[name] = model.sample(N_SAMPLES, random_state=0, mean=True)
    fig, axes = plt.subplots(len(rows), 1, figsize=(9, 0.85 * len(rows)))
    for ax, (name, sheet) in zip(axes, rows.items(), strict=True):
        strip = np.hstack(list(sheet.reshape(-1, side, side)))
        ax.imshow(strip, cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(name, fontsize=7, loc="left", pad=1)
        ax.axis("off")
    fig.tight_layout(pad=0.2)
    fig.savefig(out.with_name(f"{out.stem}_samples.png"), dpi=110)
    plt.close(fig)

    n_columns = min(4, len(models))
    n_rows = -(-len(models) // n_columns)
    size = 2.6 * n_columns, 2.7 * n_rows
    fig, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(models) :]:
        ax.axis("off")
    for ax, (name, model) in zip(axes.flat, models.items(), strict=False):
        z = PCA(2).fit_transform(model.transform(images.test[:N_CODES]))
        ax.scatter(*z.T, c=images.y_test[:N_CODES], cmap="tab10", s=2)
        ax.set_title(name, fontsize=7)
        ax.set_xticks([])
        ax.set_yticks([])
    fig.tight_layout(pad=0.4)
    fig.savefig(out.with_name(f"{out.stem}_codes.png"), dpi=110)
    plt.close(fig)
