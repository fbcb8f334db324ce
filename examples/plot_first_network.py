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
from convexnn.plotting import CertificateDisplay

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
# Draw the networks, and what is proved of them
# ---------------------------------------------
# The number of neurons is an outcome, not a choice: weight decay decides how many are worth their weights. Green in the
# bars are objectives that no network has, from 0 at the left to as near to that of the network as is proved.

grid = np.linspace(-2.3, 2.3, 400)
figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.5, 6.5), layout="constrained", height_ratios=(2, 1))
top.plot(x, y, "o", color="0.4", markersize=4, label="30 samples, noise 0.1")
styles = (("#D55E00", "-"), ("#0072B2", "--"), ("#009E73", "-."))
for (alpha, model), (color, style) in zip(models.items(), styles, strict=True):
    neurons = f"{model.n_neurons_} neuron" + "s" * (model.n_neurons_ > 1)
    top.plot(grid, model.predict(grid[:, None]), style, color=color, label=f"alpha = {alpha:g}: {neurons}")
top.set(xlabel="x", ylabel="y", title="Two-layer ReLU networks, proved optimal among those of any width")
top.legend(fontsize=9)
top.grid(alpha=0.3)
CertificateDisplay.from_estimators({f"alpha = {alpha:g}": model for alpha, model in models.items()}, ax=bottom)
plt.show()
