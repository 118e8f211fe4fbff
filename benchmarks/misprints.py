"""Numerical evidence for the corrections to the printed paper (doc/misprints.rst).

Every expectation is a Gauss-Hermite sum: the numbers carry no sampling error and
need no seed. Run ``python benchmarks/misprints.py``; ``--quick`` uses fewer nodes.
"""

import argparse

import numpy as np

STEP = 1e-4


def gauss(n_nodes):
    """Return nodes and weights of the standard normal distribution."""
    z, w = np.polynomial.hermite_e.hermegauss(n_nodes)
    return z, w / w.sum()


def log_metric_sign(n_nodes):
    r"""Equations (4) and (18): the sign of log|G| in the Riemannian drift.

    One step of Brownian motion on the sphere S2 in stereographic coordinates; f is the
    last embedding coordinate, whose Laplace-Beltrami derivative is -2 f.
    """
    y = np.array([0.3, -0.2])

    def last_coordinate(y):
        square = (y**2).sum(-1)
        return (1 - square) / (1 + square)

    square = y @ y
    inverse_metric = (1 + square) ** 2 / 4  # times the identity
    grad_log_metric = -8 * y / (1 + square)  # log|G| = 2 log(4 / (1 + r^2)^2)
    divergence = (1 + square) * y  # of the inverse metric
    z, w = gauss(n_nodes)
    noise = np.stack(np.meshgrid(z, z, indexing="ij"), -1)
    weight = w[:, None] * w
    rates = {}
    for name, sign in [("printed", -0.5), ("corrected", 0.5)]:
        drift = inverse_metric * sign * grad_log_metric + divergence
        moved = y + STEP * drift + np.sqrt(2 * STEP * inverse_metric) * noise
        rise = last_coordinate(moved) - last_coordinate(y)
        rates[name] = (weight * rise).sum() / STEP
    rates["exact"] = -2 * last_coordinate(y)
    return rates


def loss_sign(n_nodes):
    """Equation (17): the sign of the loss.

    Data N(0, 1), flat metric, model energies s x^2 / 2: the loss should be least at
    s = 1, where it is s^2 - 2 s = -1 on the paper's scale.
    """
    nodes, w = gauss(n_nodes)
    x, z = nodes[:, None], nodes[None]
    weight = w[:, None] * w
    rows = []
    for s in (0.5, 1.0, 2.0, 4.0):
        moved = x - STEP * s * x / 2 + np.sqrt(2 * STEP) * z
        difference = s * moved**2 / 2 - s * x**2 / 2 - np.sqrt(2 * STEP) * s * x * z
        printed = 2 / STEP * (weight * difference).sum()
        rows.append((s, printed, -printed, s**2 - 2 * s))
    return rows


def sphere_loss(k, n_nodes, *, loss_sign, metric_sign, concentration=2.0):
    r"""Equation (17) on the sphere S2, in stereographic coordinates.

    Data from the von Mises-Fisher distribution of `concentration` about the last axis,
    energies -k x_2. Each point has the chart from the farther pole, so that |y| <= 1.
    All depends on the height only: y lies on the first axis.
    """
    t, w_height = np.polynomial.legendre.leggauss(n_nodes)
    w_height = w_height * np.exp(concentration * t)
    r = np.sqrt((1 - np.abs(t)) / (1 + np.abs(t)))
    slope = -k * np.where(t < 0, -1.0, 1.0)  # the chart from the other pole: -x_2

    def energy(y):
        square = (y**2).sum(-1)
        return slope[:, None, None] * (1 - square) / (1 + square)

    y = np.stack([r, 0 * r], -1)[:, None, None]
    square = (y**2).sum(-1, keepdims=True)
    inverse_metric = (1 + square) ** 2 / 4
    grad = slope[:, None, None, None] * -4 * y / (1 + square) ** 2
    grad_log_metric = -8 * y / (1 + square)
    drift = inverse_metric * (-grad + metric_sign * grad_log_metric) / 2
    drift = drift + (1 + square) * y
    z, w = gauss(n_nodes)
    noise = np.stack(np.meshgrid(z, z, indexing="ij"), -1)
    noise = np.sqrt(2 * STEP * inverse_metric) * noise
    rise = energy(y + STEP * drift + noise) - energy(y) - (grad * noise).sum(-1)
    weight = (w_height / w_height.sum())[:, None, None] * w[:, None] * w
    return loss_sign * 2 / STEP * (weight * rise).sum()


SPHERE_LOSSES = {
    "printed": {"loss_sign": 1, "metric_sign": -1},
    "(18) corrected": {"loss_sign": 1, "metric_sign": 1},
    "(17) corrected": {"loss_sign": -1, "metric_sign": -1},
    "both corrected": {"loss_sign": -1, "metric_sign": 1},
}


def descend(n_nodes, *, steps=100, rate=0.1, start=1.0, **signs):
    """Return k after gradient descent on `sphere_loss`; infinite once beyond 1000."""
    k, h = start, 1e-3
    for _ in range(steps):
        ends = [sphere_loss(k + d, n_nodes, **signs) for d in (h, -h)]
        k -= rate * (ends[0] - ends[1]) / (2 * h)
        if abs(k) > 1e3:
            return np.copysign(np.inf, k)
    return k


def denoising_residual(n_nodes, sigma=0.5):
    """Equation (12): the sign of psi in the residual.

    Data N(0, 1): the best linear psi(x) = c x should be sigma^2 times the score of the
    blurred data, c = -sigma^2 / (1 + sigma^2).
    """
    nodes, w = gauss(n_nodes)
    x, z = nodes[:, None], nodes[None]
    weight = w[:, None] * w
    blurred = x + sigma * z
    slope = (weight * blurred * sigma * z).sum() / (weight * blurred**2).sum()
    return {
        "printed": slope,  # least squares of sigma z - c blurred
        "corrected": -slope,  # of sigma z + c blurred
        "exact": -(sigma**2) / (1 + sigma**2),
    }


def denoising_bias(n_nodes):
    """Equation (15): its bias at a finite step, on this package's scale.

    Data and model N(0, 1), where exact score matching is -1/2.
    """
    nodes, w = gauss(n_nodes)
    x, z = nodes[:, None], nodes[None]
    weight = w[:, None] * w
    rows = []
    for step in (1e-1, 1e-2, 1e-3):
        blurred = x + np.sqrt(step) * z
        value = 0.5 * blurred**2 - z * (blurred - x) / np.sqrt(step)
        rows.append((step, (weight * value).sum() + 0.5))
    return rows


def spos_noise(n_nodes, alpha=0.5):
    """Noise of (1 - alpha) Langevin + alpha SVGD, as in the authors' released code.

    Many particles from the target N(0, 1): E[x^2] should not move. In equilibrium the
    SVGD part vanishes (Stein's identity), which is computed here too.
    """
    nodes, w = gauss(n_nodes)
    x, z = nodes[:, None], nodes[None]
    weight = w[:, None] * w
    kernel = np.exp(-0.5 * (x - z) ** 2)  # k(x, x') with x' on the second axis
    svgd = ((-z + (x - z)) * kernel * w).sum(1, keepdims=True)
    drift = -(1 - alpha) * x + alpha * svgd
    rates = {"largest SVGD drift": np.abs(svgd[np.abs(nodes) < 4]).max()}
    for name, scale in [("released", 1 - alpha), ("corrected", np.sqrt(1 - alpha))]:
        moved = x + STEP * drift + scale * np.sqrt(2 * STEP) * z
        rates[name] = (weight * (moved**2 - x**2)).sum() / STEP
    return rates


def von_mises_contrast():
    """Section 6.1.2: largest over smallest density of the target on the circle."""
    t = np.linspace(-np.pi, np.pi, 20001)[:-1]
    means = np.arctan2([1.0, -0.5], [0.0, 0.5])
    contrast = {}
    for name, kappas in [("printed", (1 / 4, 1 / 9)), ("released", (2.0, 3.0))]:
        density = 0.0
        for weight, mean, kappa in zip((0.7, 0.3), means, kappas, strict=True):
            component = np.exp(kappa * np.cos(t - mean))
            density = density + weight * component / component.mean()
        contrast[name] = density.max() / density.min()
    return contrast


def main():
    """Print all the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer quadrature nodes")
    n_nodes = 20 if parser.parse_args().quick else 60

    print(f"step {STEP}, {n_nodes} nodes")
    print("\n(4), (18)  rate of f on the sphere")
    for name, value in log_metric_sign(n_nodes).items():
        print(f"    {name:20s} {value:9.4f}")
    print("\n(17)  loss of models with precision s; data have precision 1")
    print(f"    {'s':>4s} {'printed':>9s} {'corrected':>9s} {'exact':>9s}")
    for s, *values in loss_sign(n_nodes):
        print(f"    {s:4.1f}" + "".join(f" {v:9.4f}" for v in values))
    print("\n(17)  the same on the sphere; concentration k, data have 2")
    print(f"    {'k':>4s}" + "".join(f" {x:>14s}" for x in SPHERE_LOSSES) + "    exact")
    mean = 1 / np.tanh(2) - 1 / 2
    for k in (0.0, 1.0, 2.0, 4.0):
        values = [sphere_loss(k, n_nodes, **v) for v in SPHERE_LOSSES.values()]
        values.append(2 * mean * (k**2 / 2 - 2 * k))
        print(f"    {k:4.1f}" + "".join(f" {v:14.4f}" for v in values))
    ends = [descend(n_nodes, **signs) for signs in SPHERE_LOSSES.values()]
    print("    from 1, gradient descent leads to")
    print("        " + "".join(f" {k:14.4g}" for k in ends))
    print("\n(12)  slope of the best linear psi")
    for name, value in denoising_residual(n_nodes).items():
        print(f"    {name:20s} {value:9.4f}")
    print("\n(15)  bias")
    for step, bias in denoising_bias(n_nodes):
        print(f"    step {step:<15g} {bias:9.4f}")
    print("\nSPOS  rate of E[x^2] in equilibrium")
    for name, value in spos_noise(n_nodes).items():
        print(f"    {name:20s} {value:9.4f}")
    print("\nSection 6.1.2  largest over smallest density")
    for name, value in von_mises_contrast().items():
        print(f"    {name:20s} {value:9.2f}")


if __name__ == "__main__":
    main()
