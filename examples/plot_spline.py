"""
One feature: the best network is a linear spline
================================================

With one input and hidden biases that weight decay leaves alone, weight decay is the total variation of the slope. The
best network of any width is then a linear spline with its knots at data points: training a neural network has become a
lasso on hinges. The smaller alpha, the more knots, down to joining the dots.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLURegressor
from convexnn.plotting import NetworkFunctionDisplay

rng = np.random.default_rng(1)
x = np.sort(rng.uniform(0, 10, 40))
y = np.sin(x) + 0.15 * rng.standard_normal(40)
models = {alpha: ConvexReLURegressor(alpha, hidden_bias="free").fit(x[:, None], y) for alpha in (1.0, 0.1, 0.01)}

# %%
# Knots and slopes
# ----------------
# A knot is where a neuron switches on, at x = -b / w. Each is at a sample, up to rounding, and weight decay, which is
# :math:`\sum_j |w_j| |a_j|` at the optimum, is the total variation of the slope (in general the larger of it and of
# :math:`|f'(-\infty) + f'(\infty)|`: Savarese, Evron, Soudry and Srebro, 2019).

grid = np.linspace(-0.5, 10.5, 100_001)
for alpha, model in models.items():
    network = model.network_
    distance = np.abs(-network.b1 / network.W1[0] - x[:, None]).min(axis=0).max()
    variation = np.abs(np.diff(model.predict(grid[:, None]), 2)).sum() / (grid[1] - grid[0])
    print(f"alpha = {alpha:g}: {model.certificate_}")
    print(f"  knots are at samples, to {distance:.0e}")
    print(f"  weight decay {network.weight_decay():.4f}, total variation of the slope {variation:.4f}")

# %%
# The fits
# --------

figure, axes = plt.subplots(3, 1, figsize=(7.5, 8.5), layout="constrained", sharex=True, sharey=True)
for ax, (alpha, model) in zip(axes, models.items(), strict=True):
    ax.plot(grid, np.sin(grid), color="0.75", zorder=0, label="sin(x), unknown to the fit")
    display = NetworkFunctionDisplay.from_estimator(model, x[:, None], y, ax=ax, legend=False)
    decay = model.network_.weight_decay()
    ax.set_title("", loc="left")
    ax.set_title(f"alpha = {alpha:g}: {len(display.knots_)} knots, total variation of the slope {decay:.1f}")
    ax.set(ylabel="y", xlabel="x" if ax is axes[-1] else "")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
plt.show()
