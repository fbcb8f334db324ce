"""A network with a proof: fit |x| and a kink from 30 noisy samples, and read the certificate.

    python examples/plot_first_network.py [figure.png]

With one feature there are few activation patterns. All are enumerated, so the certificate's scope is "global": no
two-layer ReLU network of any width has a lower objective at this alpha.
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from convexnn import ConvexReLURegressor


def main(path="first_network.png"):
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2, 2, 30))
    truth = np.abs(x) - 1.5 * np.maximum(x - 1, 0)
    y = truth + 0.1 * rng.standard_normal(30)
    grid = np.linspace(-2.3, 2.3, 400)

    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axis.plot(x, y, "k.", label="samples: |x| with a second kink, noise 0.1")
    for alpha, color in ((0.01, "tab:orange"), (0.1, "tab:blue"), (1.0, "tab:green")):
        model = ConvexReLURegressor(alpha, arrangements="all").fit(x[:, None], y)
        print(f"alpha = {alpha}: {model.n_neurons_} neurons, {model.certificate_}")
        certificate, count = model.certificate_, model.n_neurons_
        neurons = "1 neuron" if count == 1 else f"{count} neurons"
        label = f"alpha = {alpha:g}: {neurons}, gap {certificate.gap:.0e} ({certificate.scope})"
        axis.plot(grid, model.predict(grid[:, None]), color=color, label=label)
    axis.set(xlabel="x", ylabel="y", title="Two-layer ReLU networks, proved optimal over all widths")
    axis.legend(fontsize=9)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:2])
