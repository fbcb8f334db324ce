"""Objectives of networks in exact rational arithmetic, and networks that attain low ones: judges of proved bounds."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

HALF = Fraction(1, 2)


def rational(array):
    """Return an array as nested lists of Fractions, exactly."""
    array = np.asarray(array)
    return [rational(row) for row in array] if array.ndim else Fraction(array.item())


@dataclass
class Data:
    """Inputs (n, d), targets (n, c), weights (n) as Fractions, and what the objective is made of."""

    X: list
    Y: list
    weights: list
    alpha: Fraction
    loss: str
    delta: Fraction = Fraction(1)
    quantile: Fraction = HALF

    @classmethod
    def of(cls, X, Y, alpha, loss="squared_error", weights=None, delta=1.0, quantile=0.5):
        Y = np.reshape(Y, (len(Y), -1))
        weights = np.ones(len(Y)) if weights is None else weights
        numbers = Fraction(float(alpha)), loss, Fraction(float(delta)), Fraction(float(quantile))
        return cls(rational(X), rational(Y), rational(weights), *numbers)

    def losses(self, z, y):
        """Return the loss of one prediction."""
        residual = z - y
        if self.loss == "squared_error":
            return HALF * residual**2
        if self.loss == "absolute_error":
            return abs(residual)
        if self.loss == "quantile":
            return max(-self.quantile * residual, (1 - self.quantile) * residual)
        if self.loss == "huber":
            size = abs(residual)
            return HALF * size**2 if size <= self.delta else self.delta * (size - HALF * self.delta)
        margin = max(1 - y * z, Fraction(0))
        return margin if self.loss == "hinge" else HALF * margin**2

    def value(self, Z):
        pairs = zip(self.weights, Z, self.Y, strict=True)
        return sum(w * sum(map(self.losses, z, y)) for w, z, y in pairs)


@dataclass
class ExactNetwork:
    """The weights of a network as Fractions."""

    W1: list
    b1: list
    W2: list
    b2: list
    skip: list | None
    slope: Fraction
    hidden_bias: str
    output_penalty: str

    @classmethod
    def of(cls, network):
        slope = {"relu": 0.0, "abs": -1.0, "leaky_relu": network.negative_slope}[network.activation]
        skip = None if network.skip is None else rational(network.skip)
        arrays = map(rational, (network.W1.T, network.b1, network.W2, network.b2))
        return cls(*arrays, skip, Fraction(slope), network.hidden_bias, network.output_penalty)

    def hidden(self, x):
        sums = [
            b + sum(w * v for w, v in zip(column, x, strict=True)) for column, b in zip(self.W1, self.b1, strict=True)
        ]
        return [t if t > 0 else self.slope * t for t in sums]

    def predict(self, X):
        rows = []
        for x in X:
            z = list(self.b2)
            for t, a in zip(self.hidden(x), self.W2, strict=True):
                z = [zc + t * ac for zc, ac in zip(z, a, strict=True)]
            if self.skip is not None:
                z = [zc + sum(v * row[c] for v, row in zip(x, self.skip, strict=True)) for c, zc in enumerate(z)]
            rows.append(z)
        return rows

    def decay(self):
        total = Fraction(0)
        for column, b, a in zip(self.W1, self.b1, self.W2, strict=True):
            total += sum(w * w for w in column) + (b * b if self.hidden_bias == "penalized" else 0)
            total += sum(map(abs, a)) ** 2 if self.output_penalty == "l1" else sum(v * v for v in a)
        return HALF * total

    def objective(self, data):
        return data.value(self.predict(data.X)) + data.alpha * self.decay()

    def refitted(self, data, fit_intercept):
        """Return the network whose output layer minimises the weighted squares of one output, exactly."""
        H = [self.hidden(x) for x in data.X]
        n_neurons = len(self.W1)
        columns = [
            h + ([Fraction(1)] if fit_intercept else []) + (x if self.skip is not None else [])
            for h, x in zip(H, data.X, strict=True)
        ]
        penalties = [data.alpha] * n_neurons + [Fraction(0)] * (len(columns[0]) - n_neurons)
        theta = least_squares(columns, [y[0] for y in data.Y], data.weights, penalties)
        a, rest = theta[:n_neurons], theta[n_neurons:]
        b2 = [rest.pop(0)] if fit_intercept else [Fraction(0)]
        skip = [[value] for value in rest] if self.skip is not None else None
        kept = (self.W1, self.b1, [[value] for value in a], b2, skip)
        return ExactNetwork(*kept, self.slope, self.hidden_bias, self.output_penalty)


def least_squares(A, y, weights, penalties):
    """Return a minimiser of 1/2 sum_k w_k (a_k't - y_k)^2 + 1/2 sum_j p_j t_j^2, by elimination; free ones are zero."""
    p = len(penalties)
    rows = []
    for i in range(p):
        row = [sum(w * a[i] * a[j] for w, a in zip(weights, A, strict=True)) for j in range(p)]
        row[i] += penalties[i]
        rows.append([*row, sum(w * a[i] * v for w, a, v in zip(weights, A, y, strict=True))])
    theta, pivots = [Fraction(0)] * p, []
    for j in range(p):
        pivot = next((i for i in range(len(pivots), p) if rows[i][j]), None)
        if pivot is None:
            continue
        k = len(pivots)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][j] for value in rows[k]]
        for i in range(p):
            if i != k and rows[i][j]:
                factor = rows[i][j]
                rows[i] = [u - factor * v for u, v in zip(rows[i], rows[k], strict=True)]
        pivots.append(j)
    for k, j in enumerate(pivots):
        theta[j] = rows[k][-1]
    return theta
