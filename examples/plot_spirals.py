"""
Two spirals, and the regions that the network cuts
==================================================

A ReLU network is linear in each of the regions that the lines of its neurons cut out, and its boundary is a chain of
straight pieces. The convex program has no local optima to be stuck in, no width and no learning rate to tune: the two
spirals are separated, and the certificate says how close to the optimum the network is.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLUClassifier
from convexnn.plotting import NetworkFunctionDisplay

rng = np.random.default_rng(0)
turn = np.linspace(0.25, 1.0, 80) * 3.5 * np.pi
arm = np.column_stack([turn * np.cos(turn), turn * np.sin(turn)]) / (3.5 * np.pi)
X = np.vstack([arm, -arm]) + 0.01 * rng.standard_normal((160, 2))
y = np.repeat(["first", "second"], 80)

model = ConvexReLUClassifier(0.002, scope="local", random_state=0).fit(X, y)
print(f"{model.n_neurons_} neurons, accuracy {model.score(X, y):.1%}; {model.certificate_}")

# %%
# Colours are the probability of a class, lines are where neurons switch on.

display = NetworkFunctionDisplay.from_estimator(model, X, y)
display.ax_.set_title(f"Two spirals: {model.n_neurons_} neurons, {display.n_regions_:,} regions in view", loc="left")
plt.show()
