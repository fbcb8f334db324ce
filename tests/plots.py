"""What the tests of pictures share: matplotlib without a screen, and estimators that hold a given network."""

import matplotlib
import numpy as np

from convexnn import ConvexReLUClassifier, ConvexReLURegressor, Network

matplotlib.use("Agg")
matplotlib.rcParams["figure.dpi"] = 40


def dense(W1, b1, W2, b2=0.0, **options):
    """A network of hidden weights as columns, biases, and output weights as rows."""
    W1, W2 = np.array(W1, dtype=float), np.array(W2, dtype=float)
    W2 = W2[:, None] if W2.ndim == 1 else W2
    return Network(W1, np.array(b1, dtype=float), W2, np.full(W2.shape[1], b2), **options)


def holding(network, classes=None):
    """An estimator whose network is given, as `fit` would leave it."""
    model = ConvexReLURegressor() if classes is None else ConvexReLUClassifier()
    model.network_, model.n_features_in_ = network, len(network.W1)
    if classes is not None:
        model.classes_, model.probability_scale_ = np.array(classes), 1.0
    return model


def random_network(n_features, n_neurons, n_outputs=1, seed=0, **options):
    rng = np.random.default_rng(seed)
    b1 = np.zeros(n_neurons) if options.get("hidden_bias") == "none" else rng.standard_normal(n_neurons)
    shapes = (n_features, n_neurons), (n_neurons, n_outputs)
    W1, W2 = (rng.standard_normal(shape) for shape in shapes)
    return dense(W1, b1, W2, 0.5, **options)
