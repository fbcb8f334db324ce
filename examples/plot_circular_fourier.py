"""
Circular filters: weight decay is sparsity in the Fourier domain
================================================================

Two layers of weights multiply. Where the first is a circular convolution, weight decay on both is the l1 norm of the
discrete Fourier transform of their product, so that the best network uses few frequencies. Here a response to three
frequencies is learned from 40 signals of length 64, fewer than there are weights: the circular network finds the three,
the dense one, with the same linear activation and weight decay, does not. Both optima are proved.
"""

import matplotlib.pyplot as plt
import numpy as np

from convexnn import CircularCNNRegressor, ConvexReLURegressor

LENGTH, FREQUENCIES, SIZES = 64, (4, 11, 23), (20, 28, 40, 56, 80, 112)

rng = np.random.default_rng(0)
time = np.arange(LENGTH)
response = sum(np.cos(2 * np.pi * k * time / LENGTH + rng.uniform(0, 6)) for k in FREQUENCIES) / LENGTH**0.5
X = rng.standard_normal((2000, LENGTH))
y = X @ response + 0.1 * rng.standard_normal(2000)
X_new, y_new = X[1000:], y[1000:]

# %%
# Two linear networks, each at the best of a few alphas for new signals
# ---------------------------------------------------------------------

makers = {
    "circular": lambda fraction: CircularCNNRegressor(fraction, activation="linear"),
    "dense": lambda fraction: ConvexReLURegressor(fraction, activation="linear", hidden_bias="none"),
}
errors, kept = {}, {}
for name, make in makers.items():
    for n in SIZES:
        models = [make(alpha).fit(X[:n], y[:n]) for alpha in (0.3, 1, 3, 10)]
        scores = [np.mean((model.predict(X_new) - y_new) ** 2) for model in models]
        errors[name, n], kept[name, n] = min(scores), models[int(np.argmin(scores))]
    print(f"{name}, 40 signals: {kept[name, 40].certificate_}")

# %%
# Left: the spectrum of the weights that act on a signal. Right: the error at new signals.

weights = {
    "circular": kept["circular", 40].network_.effective() @ kept["circular", 40].network_.W2[:, 0],
    "dense": kept["dense", 40].network_.W1 @ kept["dense", 40].network_.W2[:, 0],
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.bar(np.arange(33), np.abs(np.fft.rfft(response)), width=0.5, color="0.8", label="to be learned")
for name, color, marker in (("dense", "#D55E00", "s"), ("circular", "#0072B2", "o")):
    left.plot(np.abs(np.fft.rfft(weights[name])), marker, color=color, markersize=5, label=f"{name} network")
    right.plot(SIZES, [errors[name, n] for n in SIZES], marker=marker, color=color, label=f"{name} network")
left.set(xlabel="frequency (cycles per signal)", ylabel="magnitude", title="Spectra learned from 40 signals")
left.set_ylim(0, 5.6)
right.axhline(0.01, color="0.5", linestyle=":", label="variance of the noise")
right.set(xscale="log", yscale="log", xlabel="training signals", ylabel="mean squared error")
right.set_title("Errors at 1000 new signals of length 64")
right.set_xticks(SIZES, SIZES)
right.minorticks_off()
for ax in (left, right):
    ax.grid(alpha=0.3)
    ax.legend(loc="best", ncols=1)
plt.show()
