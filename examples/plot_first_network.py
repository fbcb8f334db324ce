"""
A network with a proof
======================

A two-layer ReLU network with weight decay is usually trained by descent, and nobody knows how far from the best network
it ends. Here it is trained by a convex program, and comes with a certificate: no network of this kind, of any width,
has a lower objective. The data are 30 noisy samples of a function with two kinks; alpha is the weight decay, the same
number as ``alpha`` of scikit-learn's MLPRegressor.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLURegressor

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-2, 2, 30))
y = np.abs(x) - 1.5 * np.maximum(x - 1, 0) + 0.1 * rng.standard_normal(30)

# %%
# Train, and read the certificate
# -------------------------------
# With one feature there are few activation patterns. ``arrangements="all"`` enumerates them, so that the lower bound is
# proved: its scope is "global".

models = {alpha: ConvexReLURegressor(alpha, arrangements="all").fit(x[:, None], y) for alpha in (0.01, 0.1, 1.0)}
for alpha, model in models.items():
    print(f"alpha = {alpha:g}: {model.n_neurons_} neurons, {model.certificate_}")

# %%
# Draw the networks
# -----------------
# The number of neurons is an outcome, not a choice: weight decay decides how many are worth their weights.

grid = np.linspace(-2.3, 2.3, 400)
figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
ax.plot(x, y, "o", color="0.4", markersize=4, label="30 samples, noise 0.1")
styles = (("#D55E00", "-"), ("#0072B2", "--"), ("#009E73", "-."))
for (alpha, model), (color, style) in zip(models.items(), styles, strict=True):
    neurons = f"{model.n_neurons_} neuron" + "s" * (model.n_neurons_ > 1)
    label = f"alpha = {alpha:g}: {neurons}, proved gap {model.certificate_.proved_gap:.0e}"
    ax.plot(grid, model.predict(grid[:, None]), style, color=color, label=label)
ax.set(xlabel="x", ylabel="y", title="Two-layer ReLU networks, proved optimal among those of any width")
ax.legend(fontsize=9)
ax.grid(alpha=0.3)
plt.show()
