"""Networks trained by many restarts of L-BFGS on their nonconvex objectives: no global optimum may lie above a restart.

    min  sum_k weight_k loss(Y_k, f(X_k)) + alpha / 2 sum_j (|w_j|^2 + |a_j|^2)

The objective is taken at the best scale of each neuron, where its weight decay is alpha |w_j| |a_j|. Kinks of losses
and activations are smoothed over a width that goes to zero; the values returned are those of the objective itself. A
norm l1 is that of two non-negative parts. Neurons that died, or became copies of others, are drawn again, from random
ones that descend. Nothing of the package is used.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

LOSSES = ("squared_error", "huber", "quantile", "absolute_error", "log_loss", "hinge", "squared_hinge", "softmax")
SLOPES = {"relu": 0.0, "abs": -1.0, "linear": 1.0}  # of t < 0
ACTIVATIONS = ("leaky_relu", "gated_relu", "polynomial", *SLOPES)
CHOICES = {
    "loss": LOSSES,
    "activation": ACTIVATIONS,
    "hidden_bias": ("none", "penalized", "free"),
    "hidden_norm": ("l2", "l1"),
    "output_penalty": ("weight_decay", "l1"),
    "pooling": ("sum", "mean", "max", "none"),
}
# Widths of kinks: of every restart, and of those that are polished.
WIDTHS = (0.1, 0.01)
FINE_WIDTHS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
# One restart in so many is polished, and at least so many.
POLISHED_SHARE, POLISHED_LEAST = 4, 3
# Times that dead neurons are drawn again, the random neurons they are drawn from, and the size that is dead.
REDRAWS, CANDIDATES, DEAD = 6, 3000, 1e-3
# Largest distance of the unit weights of two neurons that are copies.
COPY_TOL = 1e-2


@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """Data and network of sum_j pool_k(act(x_k.w_j + b_j)) a_j + b_0 + x.w_0.

    X is (n, d), or (n, K, h) for K patches; Y is (n,) or (n, c), labels are -1 and 1, or one-hot rows (softmax).
    activation: "leaky_relu" has `slope`; "gated_relu" has `gates`, 0/1 masks (n_gates, n) or (n_gates, n, K), neuron j
    that of j % n_gates; "polynomial" is |w| p(x.w / |w|) with the coefficients (a, b, c) of p: its penalty is that of
    alpha |a_j| with |w_j| = 1. quantile: tau (y - z)_+ + (1 - tau) (z - y)_+. pooling "none": an output weight a patch.
    output_penalty "l1": |a_j|_1^2 for |a_j|^2; hidden_norm "l1": |w_j|_1^2 for |w_j|^2. circular: the shape of the
    grid of the features; w_j is convolved with a filter u_j, |u_j| <= 1, that is not penalised.
    """

    X: np.ndarray
    Y: np.ndarray
    alpha: float
    n_neurons: int
    loss: str = "squared_error"
    delta: float = 1.0
    quantile: float = 0.5
    sample_weight: np.ndarray | None = None
    activation: str = "relu"
    slope: float = 0.0
    gates: np.ndarray | None = None
    polynomial: tuple = (1.0, 1.0, 1.0)
    hidden_bias: str = "none"
    fit_intercept: bool = False
    skip: bool = False
    hidden_norm: str = "l2"
    output_penalty: str = "weight_decay"
    pooling: str = "sum"
    circular: tuple | None = None

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}; got {getattr(self, name)!r}")
        X, Y = np.asarray(self.X, float), np.asarray(self.Y, float)
        weight = np.ones(len(X)) if self.sample_weight is None else np.asarray(self.sample_weight, float)
        set_field = object.__setattr__
        set_field(self, "X", X if X.ndim == 3 else X[:, None, :])
        set_field(self, "Y", Y if Y.ndim == 2 else Y[:, None])
        set_field(self, "sample_weight", weight.reshape(-1, 1))
        if len(Y) != len(X) or len(weight) != len(X):
            raise ValueError("X, Y and sample_weight must have as many samples")
        if (self.activation == "gated_relu") != (self.gates is not None):
            raise ValueError('gates go with activation "gated_relu"')
        if self.activation == "leaky_relu" and self.slope == 0.0:
            raise ValueError('activation "leaky_relu" needs a slope')
        if self.gates is not None:
            masks = np.asarray(self.gates, float)
            masks = (masks if masks.ndim == 3 else masks[:, :, None])[np.arange(self.n_neurons) % len(masks)]
            set_field(self, "gates", np.broadcast_to(masks, (self.n_neurons, *self.X.shape[:2])).transpose(1, 2, 0))
        plain = self.hidden_norm == "l2" and self.hidden_bias != "free" and self.circular is None
        if self.activation == "polynomial" and not plain:
            raise ValueError("a polynomial activation goes with l2 norms, no free hidden bias and no circular filters")
        if self.circular is not None and np.prod(self.circular) != self.X.shape[2]:
            raise ValueError("circular must be the shape of the features")

    def shapes(self):
        """The parameters: hidden and output weights (two parts for a norm l1), filters, free weights."""
        (_, K, h), m, c = self.X.shape, self.n_neurons, self.Y.shape[1]
        return {
            "hidden": (1 + (self.hidden_norm == "l1"), h + (self.hidden_bias != "none"), m),
            "output": (1 + (self.output_penalty == "l1"), K if self.pooling == "none" else 1, m, c),
            "filters": (h if self.circular is not None else 0, m),
            "intercept": (int(self.fit_intercept), c),
            "skip": (K * h if self.skip else 0, c),
        }


def best_of_restarts(problem, n_restarts, seed):
    """Train from `n_restarts` random weights; return the least objective, and those of all restarts."""
    rng = np.random.default_rng(seed)
    values, ends = [], []
    for _ in range(n_restarts):
        value, theta = _train(problem, start(problem, rng), WIDTHS)
        values.append(value)
        ends.append(theta)
    for i in np.argsort(values)[: max(POLISHED_LEAST, n_restarts // POLISHED_SHARE)]:
        theta = ends[i]
        for _ in range(REDRAWS if problem.gates is None else 0):
            redrawn = _redraw_dead(problem, theta, rng)
            if redrawn is None:
                break
            theta = _train(problem, redrawn, WIDTHS[-1:])[1]
        values[i] = min(values[i], _train(problem, theta, FINE_WIDTHS)[0])
    return min(values), values


def start(problem, rng):
    """Draw random weights, of a size at which each neuron's output is about the targets'."""
    shapes = problem.shapes()
    size = np.sqrt(np.abs(problem.Y).max() / max(1.0, np.sqrt(problem.n_neurons)))
    parts = []
    for name, shape in shapes.items():
        part = rng.standard_normal(shape) * (0.0 if name in ("intercept", "skip") else 1.0)
        if name in ("hidden", "output"):
            part *= size / np.sqrt(np.prod(shape[1:-1]) if name == "hidden" else 1.0)
            part = _two_parts(part[0]) if shape[0] == 2 else part
        parts.append(part.ravel())
    return np.concatenate(parts)


def objective(problem, theta):
    """Return the objective at the best scale of every neuron, kinks and norms as they are."""
    parts = _split(problem, theta)
    for name in ("hidden", "output"):
        if len(parts[name]) == 2:
            parts[name] = _two_parts(parts[name][0] - parts[name][1])
    Z = _forward(problem, parts, 0.0)[0]
    sizes = [_sizes(problem, parts, name) for name in ("hidden", "output")]
    return _loss(problem, Z, 0.0)[0] + problem.alpha * float(np.prod(sizes, axis=0).sum())


def smooth_objective(problem, theta, width):
    """Return the objective with kinks smoothed over a width, before rescaling of neurons, and its gradient."""
    parts = _split(problem, theta)
    Z, pullback = _forward(problem, parts, width)
    value, G = _loss(problem, Z, width * (1 + np.abs(problem.Y).mean()))
    grads = pullback(G)
    for name in ("hidden", "output"):
        value += 0.5 * problem.alpha * float((_sizes(problem, parts, name) ** 2).sum())
        penalized = np.ones(parts[name].shape, bool)
        if name == "hidden" and problem.hidden_bias == "free":
            penalized[:, -1] = False
        if len(parts[name]) == 2:
            sizes = _sizes(problem, parts, name)
            grads[name] += problem.alpha * penalized * (sizes[:, None] if name == "output" else sizes)
        else:
            grads[name] += problem.alpha * penalized * parts[name]
    return value, np.concatenate([grads[name].ravel() for name in parts])


def _train(problem, theta, widths):
    """Minimise with ever smaller kinks; return the least objective passed and the last weights."""
    shapes = problem.shapes()
    bounds = [
        (0.0 if name in ("hidden", "output") and shape[0] == 2 else None, None)
        for name, shape in shapes.items()
        for _ in range(int(np.prod(shape)))
    ]
    least = objective(problem, theta)
    options = {"maxiter": 300, "maxfun": 400, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-9}
    for width in widths:
        result = minimize(
            lambda t, width=width: smooth_objective(problem, t, width),
            theta,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds if any(low is not None for low, _ in bounds) else None,
            options=options,
        )
        theta = result.x
        least = min(least, objective(problem, theta))
    return least, theta


def _redraw_dead(problem, theta, rng):
    """Replace dead neurons by random ones along which the objective falls; return None where there are none."""
    theta = theta.copy()
    parts = _split(problem, theta)
    sizes = _merge_copies(problem, parts)
    candidates = replace(problem, n_neurons=CANDIDATES)
    others = _split(candidates, start(candidates, rng))
    G = _loss(problem, _forward(problem, parts, WIDTHS[-1])[0], WIDTHS[-1])[1]
    slopes = _forward(candidates, others, 0.0)[1](G)["output"][0]
    if problem.output_penalty == "l1":
        slopes = slopes * (np.abs(slopes) == np.abs(slopes).max(axis=(0, 2), keepdims=True))
    steepness = np.sqrt((slopes**2).sum(axis=(0, 2)))
    lengths = _sizes(candidates, others, "hidden")
    falling = np.flatnonzero(steepness > problem.alpha * lengths)
    dead = np.flatnonzero(sizes <= DEAD * sizes.max())[: len(falling)]
    if len(dead) == 0:
        return None
    chosen = rng.permutation(falling)[: len(dead)]
    chosen[0] = falling[np.argmax((steepness / lengths)[falling])]
    root = 0.1 * np.sqrt(sizes.max() + DEAD)
    parts["hidden"][:, :, dead] = others["hidden"][:, :, chosen] * (root / lengths[chosen])
    output = -slopes[:, chosen] * (root / steepness[chosen])[:, None]
    parts["output"][:, :, dead] = _two_parts(output) if len(parts["output"]) == 2 else output
    parts["filters"][:, dead] = others["filters"][:, chosen]
    return theta


def _merge_copies(problem, parts):
    """Give the first of equal neurons the sizes of its copies; return the sizes, 0 for copies."""
    hidden, output = (_sizes(problem, parts, name) + np.finfo(float).tiny for name in ("hidden", "output"))
    sizes = hidden * output
    directions = [
        _whole(parts["hidden"]) / hidden,
        np.moveaxis(_whole(parts["output"]), 1, 2).reshape(-1, problem.n_neurons) / output,
        parts["filters"],
    ]
    directions = np.vstack(directions).T
    for j in range(1, problem.n_neurons):
        near = np.flatnonzero((np.abs(directions[:j] - directions[j]).max(axis=1) <= COPY_TOL) & (sizes[:j] > 0))
        if len(near):
            first, growth = near[0], np.sqrt(1 + sizes[j] / sizes[near[0]])
            parts["hidden"][:, :, first] *= growth
            parts["output"][:, :, first] *= growth
            sizes[first], sizes[j] = sizes[first] + sizes[j], 0.0
    return sizes


def _split(problem, theta):
    parts, begin = {}, 0
    for name, shape in problem.shapes().items():
        size = int(np.prod(shape))
        parts[name] = theta[begin : begin + size].reshape(shape)
        begin += size
    return parts


def _two_parts(weights):
    return np.stack([np.maximum(weights, 0.0), np.maximum(-weights, 0.0)])


def _whole(part):
    return part[0] - part[1] if len(part) == 2 else part[0]


def _sizes(problem, parts, name):
    """The norms (m,) of the neurons' hidden or output weights."""
    part = parts[name]
    if name == "hidden" and problem.hidden_bias == "free":
        part = part[:, :-1]
    axes = (0, 1) if name == "hidden" else (0, 1, 3)
    return part.sum(axis=axes) if len(part) == 2 else np.sqrt((part**2).sum(axis=axes))


def _forward(problem, parts, width):
    """Return the outputs Z (n, c), and the function from dL/dZ to the gradients of the parts."""
    n, K, h = problem.X.shape
    X = problem.X.reshape(n * K, h)
    hidden = _whole(parts["hidden"])
    directions, filters_pullback = _directions(problem, hidden[:h], parts["filters"])
    T = X @ directions + (hidden[h:].sum(axis=0) if len(hidden) > h else 0.0)
    width = width * np.sqrt((problem.X**2).mean() * h)
    act, act_slope, length_slope = _activation(problem, T.reshape(n, K, -1), hidden, width)
    pooled, pool_pullback = _pool(problem, act, width)
    output = _whole(parts["output"]).reshape(-1, problem.Y.shape[1])
    flat = problem.X.reshape(n, -1)
    Z = pooled @ output + parts["intercept"].sum(axis=0)
    if problem.skip:
        Z = Z + flat @ parts["skip"]

    def pullback(G):
        to_act = pool_pullback(G @ output.T)
        to_T = (to_act * act_slope).reshape(n * K, -1)
        to_weights, to_filters = filters_pullback(X.T @ to_T)
        to_hidden = np.vstack([to_weights, np.broadcast_to(to_T.sum(axis=0), (len(hidden) - h, problem.n_neurons))])
        if length_slope is not None:
            lengths = np.sqrt((hidden**2).sum(axis=0) + np.finfo(float).tiny)
            to_hidden = to_hidden + (to_act * length_slope).sum(axis=(0, 1)) * hidden / lengths
        to_output = (pooled.T @ G).reshape(parts["output"].shape[1:])
        return {
            "hidden": np.stack([to_hidden, -to_hidden][: len(parts["hidden"])]),
            "output": np.stack([to_output, -to_output][: len(parts["output"])]),
            "filters": to_filters,
            "intercept": np.broadcast_to(G.sum(axis=0), parts["intercept"].shape),
            "skip": flat.T @ G if problem.skip else parts["skip"],
        }

    return Z, pullback


def _directions(problem, weights, filters):
    """Convolve the weights (h, m) with their filters, cut to length 1; return also the pullback to both."""
    if problem.circular is None:
        return weights, lambda G: (G, filters)
    axes = tuple(range(len(problem.circular)))

    def transform(A):
        return np.fft.fftn(A.reshape(*problem.circular, -1), axes=axes)

    def invert(A):
        return np.fft.ifftn(A, axes=axes).real.reshape(weights.shape)

    lengths = np.maximum(1.0, np.linalg.norm(filters, axis=0))
    unit = filters / lengths
    of_weights, of_unit = transform(weights), transform(unit)

    def pullback(G):
        spectrum = transform(G)
        to_unit = invert(np.conj(of_weights) * spectrum)
        to_filters = np.where(lengths > 1, to_unit - unit * (unit * to_unit).sum(axis=0), to_unit) / lengths
        return invert(np.conj(of_unit) * spectrum), to_filters

    return invert(of_weights * of_unit), pullback


def _activation(problem, T, hidden, width):
    """Return act(T) (n, K, m), its derivative in T, and that in |w| for polynomials."""
    if problem.activation == "gated_relu":
        return T * problem.gates, problem.gates, None
    if problem.activation == "polynomial":
        a, b, c = problem.polynomial
        lengths = np.sqrt((hidden**2).sum(axis=0) + np.finfo(float).tiny)
        S = T / lengths
        return lengths * (a * S**2 + b * S + c), 2 * a * S + b, c - a * S**2
    slope = SLOPES.get(problem.activation, problem.slope)
    positive, step = _relu(T, width)
    return slope * T + (1 - slope) * positive, slope + (1 - slope) * step, None


def _pool(problem, act, width):
    """Pool activations (n, K, m) to (n, m), or to (n, K m) with weights for each patch; return also the pullback."""
    n, K, m = act.shape
    if problem.pooling == "none":
        return act.reshape(n, K * m), lambda G: G.reshape(n, K, m)
    if problem.pooling != "max":
        scale = 1 / K if problem.pooling == "mean" else 1.0
        return scale * act.sum(axis=1), lambda G: np.broadcast_to(scale * G[:, None], act.shape)
    top = act.max(axis=1, keepdims=True)
    if width == 0:
        return top[:, 0], lambda G: G[:, None] * (act == top)
    shares = np.exp((act - top) / width)
    total = shares.sum(axis=1, keepdims=True)
    shares /= total
    return (top + width * np.log(total))[:, 0], lambda G: G[:, None] * shares


def _loss(problem, Z, width):
    """Return the loss, and its derivative in Z (n, c)."""
    Y, weight, R = problem.Y, problem.sample_weight, problem.Y - Z
    if problem.loss == "squared_error":
        values, slopes = 0.5 * R**2, -R
    elif problem.loss == "huber":
        slopes = -np.clip(R, -problem.delta, problem.delta)
        values = -slopes * R - 0.5 * slopes**2
    elif problem.loss in ("quantile", "absolute_error"):
        up, down = (problem.quantile, 1 - problem.quantile) if problem.loss == "quantile" else (1.0, 1.0)
        (above, above_step), (below, below_step) = _relu(R, width), _relu(-R, width)
        values, slopes = up * above + down * below, down * below_step - up * above_step
    elif problem.loss == "log_loss":
        values = np.logaddexp(0.0, -Y * Z)
        slopes = -Y * np.exp(-Y * Z - values)
    elif problem.loss == "softmax":
        top = Z.max(axis=1, keepdims=True)
        shares = np.exp(Z - top)
        total = shares.sum(axis=1, keepdims=True)
        values = top + np.log(total) - (Y * Z).sum(axis=1, keepdims=True)
        slopes = shares / total - Y
    else:
        short, step = _relu(1 - Y * Z, width if problem.loss == "hinge" else 0.0)
        values, slopes = (short, -Y * step) if problem.loss == "hinge" else (0.5 * short**2, -Y * short)
    return float((weight * values).sum()), weight * slopes


def _relu(T, width):
    """Return max(T, 0) and its derivative, a parabola for |T| < width."""
    if width == 0:
        return np.maximum(T, 0.0), (T > 0).astype(float)
    inside = np.clip(T + width, 0.0, 2 * width)
    return np.maximum(T - width, 0.0) + inside**2 / (4 * width), inside / (2 * width)
