"""How far from optimal is a network that scikit-learn trained? A certificate for an MLPRegressor.

    python examples/plot_certify.py [figure.png]

For every width and three seeds an MLPRegressor is trained by L-BFGS to its end. `certify` bounds the objective of ANY
network of its kind, of any width, from below, here with a proof: so each network is at most so far from the optimum.
"""

import sys
import warnings

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from convexnn import certify

ALPHA, WIDTHS, SEEDS = 0.3, (2, 5, 10, 20, 50, 200), (0, 1, 2)


def main(path="certify.png"):
    """Certify networks of several widths and draw their objectives above the proved bound."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (40, 2))
    y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1]) + 0.1 * rng.standard_normal(40)

    models = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for width in WIDTHS:
            for seed in SEEDS:
                model = MLPRegressor(
                    hidden_layer_sizes=(width,), alpha=ALPHA, solver="lbfgs", max_iter=5000, random_state=seed
                )
                models[width, seed] = model.fit(X, y)

    certificates = {key: certify(model, X, y, ALPHA, scope="global", time_limit=60) for key, model in models.items()}
    best = min(certificates.values(), key=lambda certificate: certificate.objective)
    print("the best network:", best)

    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    widths, gaps = [key[0] for key in certificates], [certificate.gap for certificate in certificates.values()]
    axis.plot(widths, gaps, "o", color="tab:blue", label="MLPRegressor, L-BFGS, three seeds")
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="hidden neurons",
        ylabel="proved gap: so far from the optimum at most",
        title=f"Networks trained by scikit-learn, alpha = {ALPHA:g}, beside all of any width",
    )
    axis.set_xticks(WIDTHS, WIDTHS)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:2])
