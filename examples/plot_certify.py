"""
How far from optimal is a network that scikit-learn trained?
============================================================

A loss curve that has become flat does not say how good the network is. ``certify`` bounds the objective of every
network of its kind, of any width, from below, here with a proof: so a trained network is at most so far from the
optimum. An MLPRegressor of 100 neurons is stopped after 10 to 3000 iterations and certified. After 200 iterations of
Adam, the default, its objective is several times the optimum; L-BFGS ends 0.1% above it.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from convexnn import certify

ALPHA, ITERATIONS = 0.3, (10, 30, 100, 200, 400, 1000, 3000)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (40, 2))
y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1]) + 0.1 * rng.standard_normal(40)

# %%
# Train and certify
# -----------------

METHODS = {
    "Adam, learning rate 0.001 (default)": {"solver": "adam"},
    "Adam, learning rate 0.01": {"solver": "adam", "learning_rate_init": 0.01},
    "L-BFGS": {"solver": "lbfgs", "max_fun": 10**6},
}


def certificate_after(n_iter, options):
    model = MLPRegressor(alpha=ALPHA, max_iter=n_iter, tol=0, n_iter_no_change=n_iter, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # training is stopped on purpose
        model.fit(X, y)
    return certify(model, X, y, ALPHA, scope="global", random_state=0)


certificates = {name: [certificate_after(n, options) for n in ITERATIONS] for name, options in METHODS.items()}
for name, results in certificates.items():
    print(f"{name}, {ITERATIONS[-1]} iterations: {results[-1]}")

# %%
# Draw
# ----

figure, ax = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
for (name, results), color, marker in zip(certificates.items(), ("#D55E00", "#009E73", "#0072B2"), "s^o", strict=True):
    excess = [result.objective / result.lower_bound - 1 for result in results]
    ax.loglog(ITERATIONS, excess, marker=marker, color=color, label=name)
ax.set(xlabel="iterations", ylabel="objective above the proved bound, relative")
ax.set_title(f"MLPRegressor of 100 neurons, alpha = {ALPHA:g}: at most this far from the best network")
ax.set_xticks(ITERATIONS, ITERATIONS)
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend()
plt.show()
