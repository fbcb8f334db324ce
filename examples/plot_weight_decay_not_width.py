"""
Weight decay, not width, decides what is learned
================================================

How many neurons should a network have? Enough; beyond that, more change nothing. Networks of 2 to 200 neurons are
trained by L-BFGS at one alpha, from six random starts each. Narrow ones stay above the optimum over all widths, wide
ones come within 0.1% of it, and none is below: the lower bound is proved for every width. More neurons make training
easier, but what is learned in the end is the same function. What changes it is alpha.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLURegressor
from convexnn.baselines import train_lbfgs

ALPHA, WIDTHS, SEEDS = 0.3, (2, 4, 7, 12, 25, 50, 100, 200), range(6)

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (60, 2))
y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1]) + 0.1 * rng.standard_normal(60)
X_new = rng.uniform(-2, 2, (1000, 2))

# %%
# The optimum over all widths, with a proof
# -----------------------------------------

model = ConvexReLURegressor(ALPHA, scope="global", tol=1e-5, random_state=0).fit(X, y)
best = model.certificate_
print(f"{model.n_neurons_} neurons, {best}")

# %%
# Networks of given widths
# ------------------------

excess, distance = np.empty((2, len(WIDTHS), len(SEEDS)))
for i, width in enumerate(WIDTHS):
    for seed in SEEDS:
        run = train_lbfgs(X, y, ALPHA, n_neurons=width, max_iter=800, random_state=seed)
        excess[i, seed] = run.objective / best.lower_bound - 1
        distance[i, seed] = np.sqrt(np.mean((run.network.predict(X_new) - model.predict(X_new)) ** 2))
for width, low in zip(WIDTHS, excess.min(axis=1), strict=True):
    print(f"{width} neurons: {low:.0e} above the proved bound")

# %%
# Left: above the bound. Right: how far what is learned is from the convex network, at new inputs.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
labels = ("objective above the proved lower bound, relative", "distance of predictions (RMS, unit of y)")
for ax, values, label in zip(axes, (excess, distance), labels, strict=True):
    ax.plot(np.repeat(WIDTHS, len(SEEDS)), values.ravel(), "o", color="#0072B2", alpha=0.5, label="L-BFGS, six starts")
    ax.plot(WIDTHS, values.min(axis=1), color="#0072B2", label="the best of six")
    ax.axvline(model.n_neurons_, color="0.5", linestyle=":", label=f"neurons of the convex network: {model.n_neurons_}")
    ax.set(xscale="log", yscale="log", xlabel="hidden neurons", ylabel=label)
    ax.set_xticks(WIDTHS, WIDTHS)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
axes[0].axhline(best.gap, color="#D55E00", linestyle="--", label="the convex network: its proved gap")
axes[0].legend(fontsize=9)
figure.suptitle(f"Networks of 2 to 200 neurons at the same weight decay, alpha = {ALPHA:g}")
plt.show()
