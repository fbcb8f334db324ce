"""Explanations of predictions: what each neuron adds, and the linear model that the network is around each sample.

    f(x) = b_0 + sum_j act(t_j) a_j + x.w_0,  t_j = x.w_j + b_j      contributions act(t_j) a_j of the neurons

In the region of inputs with the same signs of all t_j, act(t_j) = s_j t_j for slopes s_j, and f is linear:

    f(x') = x'.coefficients + offset,  coefficients = sum_j s_j w_j a_j' + w_0,  offset = sum_j s_j b_j a_j + b_0

A filter of a convolutional network is a neuron for each patch p_k, whose weights are those of the filter on the values
of the patch, and whose slope is multiplied by what pooling gives the patch: 1, 1 / n_patches, or, for the maximum,
whether it is the largest.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from ..utils.files import import_pandas
from .conversion import trained_model, two_layers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Explanation", "explain"]

# Pre-activations below this fraction of |x|.|w| + |b| are rounding: the sample lies on the wall of the neuron.
WALL_TOL = 1e-12
# Dual variables below this fraction of the largest are zero.
SUPPORT_TOL = 1e-8
# How many neurons or features `str` names.
NAMED = 5


@dataclass(frozen=True, eq=False)
class Explanation:
    """Predictions as sums over neurons, and as local linear models; made by `explain`.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_outputs)
        What the network predicts: targets, or the raw outputs of a classifier (logits), in the unit of y.
    contributions : ndarray of shape (n_samples, n_neurons, n_outputs)
        What each neuron, or filter, adds. With `intercept` and `skip` they sum to `predictions`.
    intercept : ndarray of shape (n_outputs,)
        Output biases.
    skip : ndarray of shape (n_samples, n_outputs) or None
        What the linear skip adds; None without one.
    coefficients : ndarray of shape (n_samples, n_features, n_outputs)
        The gradient of the network in the activation region of each sample: exact there, not a fit.
    offsets : ndarray of shape (n_samples, n_outputs)
        f(x') = x'.coefficients + offset for every x' in the region.
    regions : ndarray of int, shape (n_samples,)
        The activation region of each sample, from 0, which holds the most of them.
    region_sizes : ndarray of int, shape (n_regions,)
        Number of samples in each region, decreasing.
    dual : ndarray of shape (n_train, n_outputs) or None
        The dual variables of the training samples, by which they hold the fit in place; None where there are none.
    feature_names : ndarray of str, shape (n_features,)
        Names of the features; x0, x1, ... where the training data had none.
    output_names : ndarray, shape (n_outputs,)
        The classes, or the second of two where there is one output; y0, y1, ... of a regression.
    sample_names : ndarray, shape (n_samples,)
        The index of a DataFrame, or 0, 1, ...
    activation : str, default="relu"
        The activation of the network.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.networks.explanation import explain
    >>> network = Network(np.array([[1.0, -1.0]]), np.zeros(2), np.array([[2.0], [1.0]]), np.array([0.5]))
    >>> explanation = explain(network, [[3.0], [-2.0], [-1.0]])
    >>> explanation.contributions[:, :, 0]
    array([[6., 0.],
           [0., 2.],
           [0., 1.]])
    >>> explanation.coefficients[:, 0, 0], explanation.offsets[:, 0], explanation.n_regions
    (array([ 2., -1., -1.]), array([0.5, 0.5, 0.5]), 2)
    """

    predictions: np.ndarray
    contributions: np.ndarray
    intercept: np.ndarray
    skip: np.ndarray | None
    coefficients: np.ndarray
    offsets: np.ndarray
    regions: np.ndarray
    region_sizes: np.ndarray
    dual: np.ndarray | None
    feature_names: np.ndarray
    output_names: np.ndarray
    sample_names: np.ndarray
    activation: str = "relu"

    @property
    def n_regions(self) -> int:
        """Number of activation regions that hold samples."""
        return len(self.region_sizes)

    @property
    def support(self) -> np.ndarray | None:
        """Training samples whose dual variables are not zero: without the others the optimal network stays optimal.

        Indices of rows of the training data; None where there are no dual variables. Zero is below 1e-8 of the largest.
        """
        if self.dual is None:
            return None
        sizes = np.abs(self.dual).max(axis=1, initial=0.0)
        return np.flatnonzero(sizes > SUPPORT_TOL * sizes.max(initial=0.0))

    def to_frame(self) -> "pd.DataFrame":
        """Return the sums over neurons as a table: a row for each prediction.

        Columns are neuron_0, neuron_1, ..., intercept, skip (where there is one) and prediction, which is the sum of
        the others. Rows are samples, or samples and outputs where there are several.
        """
        parts = self.contributions.transpose(1, 0, 2)
        table = {f"neuron_{j}": part.ravel() for j, part in enumerate(parts)}
        table["intercept"] = np.tile(self.intercept, len(self.predictions))
        if self.skip is not None:
            table["skip"] = self.skip.ravel()
        table["prediction"] = self.predictions.ravel()
        return import_pandas().DataFrame(table, index=self._index())

    def coefficients_frame(self) -> "pd.DataFrame":
        """Return the local linear models as a table: features, offset and region by columns, rows as in `to_frame`."""
        n, d, c = self.coefficients.shape
        values = self.coefficients.transpose(0, 2, 1).reshape(n * c, d)
        frame = import_pandas().DataFrame(values, index=self._index(), columns=self.feature_names)
        # inserted as they are, beside a feature of the same name
        frame.insert(d, "offset", self.offsets.ravel(), allow_duplicates=True)
        frame.insert(d + 1, "region", np.repeat(self.regions, c), allow_duplicates=True)
        return frame

    def __str__(self):
        n, m, c = self.contributions.shape
        lines = [
            f"{n} {_plural('prediction', n)} of {c} {_plural('output', c)} by {m} {_plural('neuron', m)} "
            f"({self.activation}){' and a linear skip' if self.skip is not None else ''}",
            f"activation regions of these samples: {self.n_regions}, the largest with {self.region_sizes[0]}",
            "intercept: " + ", ".join(f"{value:.3g}" for value in self.intercept[:NAMED]) + " ..." * (c > NAMED),
        ]
        if m:
            names = [f"neuron_{j}" for j in range(m)]
            lines.append("mean |contribution|: " + _largest(names, np.abs(self.contributions).mean(axis=(0, 2))))
        lines.append("mean |coefficient|: " + _largest(self.feature_names, np.abs(self.coefficients).mean(axis=(0, 2))))
        if self.dual is not None:
            lines.append(f"training samples that hold the fit in place: {len(self.support)} of {len(self.dual)}")
        return "\n".join(lines)

    def __repr__(self):
        n, m, c = self.contributions.shape
        d = self.coefficients.shape[1]
        return (
            f"Explanation(n_samples={n}, n_features={d}, n_outputs={c}, n_neurons={m}, n_regions={self.n_regions}, "
            f"activation={self.activation!r})"
        )

    def _index(self):
        pandas = import_pandas()
        if len(self.output_names) == 1:
            return pandas.Index(self.sample_names, name="sample", tupleize_cols=False)
        return pandas.MultiIndex.from_product([self.sample_names, self.output_names], names=["sample", "output"])


def explain(model: object, X: Any) -> Explanation:
    """Explain what a network predicts: contributions of neurons, and the local linear model of each sample.

    A sample on the wall of a neuron (knots are often at training samples) is counted to the region on one side of it,
    the same side for all samples; f is continuous there, and both linear models give its prediction. Gated ReLU and
    threshold networks jump at walls: there the side is that of the prediction.

    Parameters
    ----------
    model : estimator or network
        A fitted estimator of this package (of cross-validation: its `estimator_` is explained), or a network.
    X : array-like of shape (n_samples, n_features), or (n_samples, *input_shape) of estimators that have one
        Inputs.

    Returns
    -------
    Explanation
        Arrays that explain the predictions.

    Raises
    ------
    TypeError
        If `model` is neither.
    ValueError
        If X is not finite or has another number of features than the model.
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.networks.explanation import explain
    >>> x = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexReLURegressor(alpha=1e-6, hidden_bias="free").fit(x, np.abs(x).ravel())
    >>> explain(model, [[-0.5], [0.25], [0.5]]).coefficients.round(3).ravel()
    array([-1.,  1.,  1.])
    """
    estimator, network = trained_model(model)
    rows = X if estimator is None else estimator._checked(X)
    predictions = network.outputs(rows)
    rows, kind = np.asarray(rows, dtype=np.float64), two_layers(network)
    contributions, coefficients, offsets, codes = _local_models(kind, rows)
    regions, sizes = _count_regions(codes)
    skip, dual = kind.skip, getattr(estimator, "dual_", None)
    return Explanation(
        predictions,
        contributions + 0.0,  # -0.0 of neurons that are off is 0.0
        network.b2.copy(),
        None if skip is None else rows @ skip,
        coefficients + (0.0 if skip is None else skip),
        offsets + network.b2,
        regions,
        sizes,
        dual,
        *_names(estimator, X, rows.shape[1], predictions.shape[1]),
        network.activation,
    )


def _local_models(network, X):
    """Return contributions, coefficients, offsets and region codes, without the skip and the output biases.

    A dense network has one patch, the input. Values, slopes and constants are (n_samples, n_patches, n_neurons), with
    values = slopes * weights + constants.
    """
    patches, W1, b1 = getattr(network, "patches", None), network.W1, network.b1
    ahead = np.random.default_rng(0).uniform(0.5, 1.5, (1, X.shape[1]))  # a direction parallel to no wall
    P, ahead = (X[:, None], ahead[:, None]) if patches is None else (patches.extract(X), patches.extract(ahead))
    n, K, h = P.shape
    rows = P.reshape(n * K, h)
    T = rows @ W1 + b1
    if network.gates is not None:
        active = rows @ network.gates[:-1] + network.gates[-1] >= 0
    elif network.activation == "threshold":
        active = network.hidden(X) > 0
    elif network.slope == 1.0:
        active = np.ones(T.shape, dtype=bool)
    else:  # on its wall a neuron counts as active if it is so a little further ahead
        on_wall = np.abs(T) <= WALL_TOL * (np.abs(rows) @ np.abs(W1) + np.abs(b1))
        active = np.where(on_wall, np.tile(ahead[0] @ W1 > 0, (n, 1)), T > 0)
    active, T = active.reshape(n, K, -1), T.reshape(n, K, -1)
    if network.activation == "threshold":
        slopes, values = np.zeros(T.shape), active.astype(float)
        constants = values
    else:
        slopes = np.where(active, 1.0, network.slope)
        values, constants = slopes * T, slopes * b1
    codes = active[:, :, :0] if network.slope == 1.0 else active
    if patches is not None and patches.pooling == "mean":
        slopes, values, constants = slopes / K, values / K, constants / K
    elif patches is not None and patches.pooling == "max":
        largest = values.argmax(axis=1)[:, None]
        slope, side = (np.take_along_axis(array, largest, axis=1) for array in (slopes, active))
        # which patch is the largest, and on which side, unless the filter is off: then no patch matters
        codes = np.where(slope != 0, 1 + 2 * largest + side, 0)
        chosen = np.arange(K)[:, None] == largest
        slopes, values, constants = chosen * slopes, chosen * values, chosen * constants
    W2 = network.W2 if network.W2.ndim == 3 else np.broadcast_to(network.W2, (K, *network.W2.shape))
    contributions = np.einsum("nkj,kjc->njc", values, W2, optimize=True)
    offsets = np.einsum("nkj,kjc->nc", constants, W2, optimize=True)
    gradients = [((slopes * a).reshape(n * K, -1) @ W1.T).reshape(n, K * h) for a in np.moveaxis(W2, 2, 0)]
    if patches is not None:  # gradients in the patches, then in the features that stand at their places
        features, shape = patches.features().ravel(), (patches.n_features + 1, K * h)
        onto = csr_array((np.ones(K * h), (features, np.arange(K * h))), shape=shape)[:-1]  # the last are padding
        gradients = [(onto @ gradient.T).T for gradient in gradients]
    return contributions, np.stack(gradients, axis=2), offsets, codes


def _count_regions(codes):
    """Return the region of each sample and the sizes of the regions, largest first."""
    codes = np.ascontiguousarray(codes.reshape(len(codes), -1))
    codes = np.packbits(codes, axis=1) if codes.dtype == bool else codes.view(np.uint8)
    keys = np.column_stack([codes, np.zeros(len(codes), np.uint8)])  # without neurons there is one region
    first, place, sizes = np.unique(
        keys.view(f"V{keys.shape[1]}").ravel(), return_index=True, return_inverse=True, return_counts=True
    )[1:]
    order = np.lexsort((first, -sizes))
    return np.argsort(order)[place], sizes[order]


def _names(estimator, X, n_features, n_outputs):
    """Return the names of features, outputs and samples."""
    features, classes = (getattr(estimator, name, None) for name in ("feature_names_in_", "classes_"))
    if features is None:
        features = np.array([f"x{i}" for i in range(n_features)], dtype=object)
    if classes is None:
        classes = np.array([f"y{i}" for i in range(n_outputs)], dtype=object)
    index = getattr(X, "index", None)  # of lists this is a method
    samples = np.arange(len(X)) if index is None or callable(index) else np.asarray(index)
    return features.copy(), classes[-n_outputs:].copy(), samples


def _largest(names, values):
    order = np.argsort(-values, kind="stable")
    text = ", ".join(f"{names[i]} {values[i]:.3g}" for i in order[:NAMED])
    return text + " ..." * (len(values) > NAMED)


def _plural(word, count):
    return word if count == 1 else f"{word}s"
