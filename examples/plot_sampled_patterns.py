"""
Sampled, gated and all activation patterns
==========================================

The convex program has a block for each activation pattern, and there are millions even here. Sampling some of them
gives the optimum over those, and the certificate says so: scope "sampled". With a hundred sampled patterns it is 20%
above the optimum over all, which ``convexnn`` generates as they are needed, and with two thousand still 2%. Gated ReLU
networks, whose gates are fixed, drop the constraints of the program: more functions for the same patterns, a lower
objective, and a model of its own.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLURegressor
from convexnn.datasets import planted_network
from convexnn.geometry import count_arrangements

ALPHA, COUNTS, SEEDS = 2.0, (10, 20, 50, 100, 200, 500, 1000, 2000), range(3)
X, y = planted_network(50, 5, n_neurons=10, noise=0.1, random_state=0)

# %%
# All patterns
# ------------
# Few of them are used, and the bound is proved for networks of any width.

best = ConvexReLURegressor(ALPHA, scope="global", random_state=0).fit(X, y)
total = count_arrangements(len(X), X.shape[1] + 1)  # the bias is one more feature
print(f"{total:,} patterns, of which the optimum uses {best.n_neurons_}: {best.certificate_}")

# %%
# Sampled patterns
# ----------------
# ReLU and gated ReLU, several draws each.

optima = {"relu": np.empty((len(COUNTS), len(SEEDS))), "gated_relu": np.empty((len(COUNTS), len(SEEDS)))}
for activation, values in optima.items():
    for i, count in enumerate(COUNTS):
        for seed in SEEDS:
            model = ConvexReLURegressor(ALPHA, activation=activation, arrangements=count, random_state=seed)
            values[i, seed] = model.fit(X, y).certificate_.objective
excess = optima["relu"].mean(axis=1) / best.certificate_.objective - 1
print(
    "ReLU, sampled, above the optimum by",
    *(f"{fraction:.0%} ({n})" for n, fraction in zip(COUNTS, excess, strict=True)),
)

# %%
# Draw
# ----

figure, ax = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
styles = {
    "relu": ("#0072B2", "o", "ReLU"),
    "gated_relu": ("#D55E00", "s", "gated ReLU"),
}
for activation, (color, marker, label) in styles.items():
    values = optima[activation]
    ax.plot(
        COUNTS,
        values.mean(axis=1),
        marker=marker,
        color=color,
        label=f"{label}, sampled patterns: mean of {len(SEEDS)} draws",
    )
    ax.fill_between(COUNTS, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2)
ax.axhline(
    best.certificate_.objective,
    color="black",
    linestyle="--",
    label=f"ReLU, all {total:,} patterns, proved: {best.n_neurons_} used",
)
ax.set(
    xscale="log",
    xlabel="patterns sampled",
    ylabel="least objective over them",
    title=f"What sampling patterns costs ({len(X)} samples, {X.shape[1]} features, alpha = {ALPHA:g})",
)
ax.set_xticks(COUNTS, COUNTS)
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend()
plt.show()
