"""Exact answers in rational arithmetic, to judge floating-point results by."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import isqrt

import numpy as np

from convexnn.networks.network import THRESHOLD_TOL


def count_cells(rows):
    """Count the full-dimensional cells of the arrangement of integer rows, by deletion and restriction."""
    return _count([[Fraction(int(x)) for x in row] for row in rows])


def _count(rows):
    distinct = []
    for row in rows:
        if any(row) and not any(_parallel(row, other) for other in distinct):
            distinct.append(row)
    if not distinct:
        return 1
    *others, wall = distinct
    pivot = next(k for k, x in enumerate(wall) if x)
    restricted = [
        [x - other[pivot] / wall[pivot] * w for k, (x, w) in enumerate(zip(other, wall, strict=True)) if k != pivot]
        for other in others
    ]
    return _count(others) + _count(restricted)


def _parallel(a, b):
    return all(a[i] * b[j] == a[j] * b[i] for i in range(len(a)) for j in range(i))


def kappa_of_lines(x, v):
    """Return max over |(w, b)| <= 1 of |sum_k v_k (w x_k + b)_+| for sorted distinct integers x and rationals v.

    The maximum is on a wall, or at the gradient of a cell; other directions can only give less.
    """
    directions = [(s, -s * int(t)) for t in x for s in (1, -1)]
    for k in range(len(x) + 1):
        for on in (range(k), range(k, len(x))):
            w, b = sum(v[i] * int(x[i]) for i in on), sum(v[i] for i in on)
            directions += [(w, b), (-w, -b)]
    squares = [_response(x, v, w, b) ** 2 / Fraction(w * w + b * b) for w, b in directions if w or b]
    return float(max(squares)) ** 0.5


def _response(x, v, w, b):
    return sum(vk * max(Fraction(0), w * int(t) + b) for t, vk in zip(x, v, strict=True))


def exact_objective(network, X, Y, alpha, loss, sample_weight=None, *, delta=1.0, quantile=0.5):
    """The objective of a dense or convolutional network at float64 numbers, as a rational; roots and logs to 2^-100."""
    _, K, h = X.shape if X.ndim == 3 else (len(X), 1, X.shape[1])
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    Z = [outputs(network, x.reshape(K, h)) for x in X]
    total = sum(
        Fraction(float(w)) * _loss(loss, [Fraction(float(t)) for t in y], z, Fraction(delta), Fraction(quantile))
        for w, y, z in zip(weights, Y, Z, strict=True)
    )
    return total + Fraction(float(alpha)) * decay(network)


def outputs(network, patches):
    """The outputs for the patches (K, h) of a sample; of a dense network the sample is its own patch."""
    W1, b1, b2 = _rational(network.W1), _rational(network.b1), _rational(network.b2)
    W2 = _rational(network.W2.reshape(-1, network.W2.shape[-1]))  # patch by patch, where they have weights of their own
    x = _rational(patches)
    active = [[_activation(network, patch, w, T) for w, T in enumerate(row)] for patch, row in _inputs(x, W1, b1)]
    pooling = network.patches.pooling if hasattr(network, "patches") else "sum"
    if pooling == "none":
        hidden = [t for row in active for t in row]
    else:
        pool = {"max": max, "sum": sum, "mean": lambda column: sum(column) / len(column)}[pooling]
        hidden = [pool([row[j] for row in active]) for j in range(network.n_neurons)]
    z = [b + sum(t * a[c] for t, a in zip(hidden, W2, strict=True)) for c, b in enumerate(b2)]
    skip = getattr(network, "skip", None)
    if skip is not None:
        z = [zc + sum(t * s[c] for t, s in zip(x[0], _rational(skip), strict=True)) for c, zc in enumerate(z)]
    return z


def _inputs(x, W1, b1):
    for patch in x:
        yield patch, [b + sum(t * w[j] for t, w in zip(patch, W1, strict=True)) for j, b in enumerate(b1)]


def _activation(network, patch, j, T):
    name = network.activation
    if name == "gated_relu":
        gate = _rational(network.gates[:, j])
        return T * (sum(t * g for t, g in zip(patch, gate[:-1], strict=True)) + gate[-1] >= 0)
    if name == "threshold":
        size = (1 + sum(t * t for t in patch)) * sum(
            w * w for w in _rational(np.append(network.W1[:, j], network.b1[j]))
        )
        return Fraction(int(T >= 0 or Fraction(THRESHOLD_TOL) ** 2 * size >= T * T))
    slope = {"abs": -1.0, "linear": 1.0, "bent": -0.4, "leaky_relu": network.negative_slope}.get(name, 0.0)
    return T if T > 0 else Fraction(slope) * T


def decay(network):
    """The weight decay, as it is documented."""
    outputs = [a.ravel() for a in np.moveaxis(network.W2, -2, 0)]
    ratio = 1 if network.output_penalty == "l1" else 0
    sizes = [_size(_rational(a), ratio) for a in outputs]
    if network.activation == "threshold":
        return sum(sizes, Fraction(0))
    charged = np.vstack([network.W1, network.b1]) if network.hidden_bias == "penalized" else network.W1
    ratio = {"l2": 0, "l1": 1}.get(norm := getattr(network, "hidden_norm", "l2"), norm)
    return sum((_size(_rational(w), Fraction(ratio)) ** 2 for w in charged.T), sum(a * a for a in sizes)) / 2


def _size(vector, ratio):
    """ratio |vector|_1 + (1 - ratio) |vector|_2."""
    return ratio * sum(map(abs, vector), Fraction(0)) + (1 - ratio) * _root(sum((t * t for t in vector), Fraction(0)))


def _root(x):
    return Fraction(isqrt(x.numerator * x.denominator << 200), x.denominator << 100)


def _loss(name, y, z, delta, quantile):
    """The loss of a sample with targets y and outputs z, as the documentation writes it out."""
    if name == "softmax":
        return _log_sum_exp(z) - sum(t * s for t, s in zip(y, z, strict=True))
    if name == "log_loss":
        return _log_sum_exp([Fraction(0), -y[0] * z[0]])
    if name in ("hinge", "squared_hinge"):
        short = max(Fraction(0), 1 - y[0] * z[0])
        return short if name == "hinge" else short**2 / 2
    R = [t - s for t, s in zip(y, z, strict=True)]
    return sum(
        {
            "squared_error": r * r / 2,
            "absolute_error": abs(r),
            "quantile": max(quantile * r, (quantile - 1) * r),
            "huber": r * r / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2),
        }[name]
        for r in R
    )


def _log_sum_exp(values):
    with localcontext(prec=60):
        numbers = [Decimal(t.numerator) / Decimal(t.denominator) for t in values]
        top = max(numbers)
        return Fraction(top + sum((t - top).exp() for t in numbers).ln())


def _rational(array):
    return [_rational(row) for row in array] if array.ndim > 1 else [Fraction(float(t)) for t in array]
