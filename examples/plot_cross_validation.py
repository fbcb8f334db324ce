"""
Choosing alpha by cross-validation
==================================

Weight decay is the one number to choose, and cross-validation chooses it: a path for each fold, each network starting
from the one of the alpha before, then one network on all data. The rule of one standard error takes the largest alpha
whose score cannot be told from the best one, for a network with fewer neurons.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLURegressor, ConvexReLURegressorCV, regularization_path

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (1120, 2))
y = np.sin(2 * X[:, 0]) + np.abs(X[:, 1]) + 0.4 * rng.standard_normal(len(X))
X, y, X_new, y_new = X[:120], y[:120], X[120:], y[120:]

# %%
# Two rules
# ---------

estimator = ConvexReLURegressor(scope="local", random_state=0)
models = {
    "best mean score": ConvexReLURegressorCV(estimator, n_alphas=11, eps=5e-3).fit(X, y),
    "one standard error": ConvexReLURegressorCV(estimator, n_alphas=11, eps=5e-3, rule="one_standard_error").fit(X, y),
}
for rule, model in models.items():
    score = model.score(X_new, y_new)
    print(f"{rule}: alpha {model.alpha_:.3g}, {model.n_neurons_} neurons, R2 at new inputs {score:.3f}")

# %%
# What the search saw, and what it could not see
# ----------------------------------------------
# The folds are small, so their scores scatter; at new inputs the scores of the two networks are known much better.

search = models["best mean score"]
path = regularization_path(X, y, X_val=X_new, y_val=y_new, estimator=estimator, alphas=search.alphas_)
error = search.scores_.std(axis=1, ddof=1) / np.sqrt(search.scores_.shape[1])

figure, ax = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
ax.plot(search.alphas_, search.scores_, color="0.8", linewidth=0.8)
label = "mean of five folds (grey), and its standard error"
ax.errorbar(search.alphas_, search.mean_scores_, error, color="#0072B2", marker="o", capsize=3, label=label)
ax.plot(path.alphas, path.validation_scores, "--", color="#009E73", label="1000 new inputs, unknown to the search")
for (rule, model), style in zip(models.items(), ("-", ":"), strict=True):
    label = f"{rule}: alpha = {model.alpha_:.2g}, {model.n_neurons_} neurons"
    ax.axvline(model.alpha_, color="#D55E00", linestyle=style, label=label)
ax.set(xscale="log", xlabel="alpha", ylabel="R2 on samples left out", ylim=(0, 1))
ax.set_title("120 samples of sin(2 x0) + |x1|, noise 0.4")
ax.grid(alpha=0.3)
ax.legend(loc="lower left")
plt.show()
