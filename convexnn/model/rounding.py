"""How far an objective that was computed in double precision may be from its exact value.

A prediction is a sum of products. Each operation rounds to a part eps of what it returns, so that the error of a sum is
at most eps times the number of operations that an entry goes through, times the same sum of the absolute values: the
prediction of the network of the absolute weights at the absolute inputs. Large weights that cancel make it large.
"""

from dataclasses import fields, replace

import numpy as np

__all__ = ["loss_rounding", "objective_rounding"]

EPS = float(np.finfo(float).eps)


def objective_rounding(network, X, Y, alpha, loss):
    """Return a bound of the rounding error of a network's objective."""
    sizes = np.reshape(_absolute(network).predict(np.abs(X)), Y.shape)
    error = EPS * (X.shape[1] + network.W1.shape[1] + 8) * (sizes + np.abs(Y))
    moved = loss_rounding(loss, Y, np.reshape(network.predict(X), Y.shape), error)
    value, decay = network.objective(X, Y, alpha, loss), alpha * network.weight_decay()
    return float(moved + EPS * ((8 + np.log2(len(Y))) * value + (X.shape[1] + 8) * decay))


def loss_rounding(loss, Y, Z, error):
    """Return a bound of how far the loss at predictions Z may be from that at the exact ones.

    `error`, of the shape of Z, bounds the errors of the predictions.
    """
    if loss.smooth:
        return float(np.sum(np.abs(loss.grad(Y, Z)) * error) + 0.5 * loss.smoothness * np.sum(error**2))
    return float(np.sum(np.maximum(*map(np.abs, loss.domain(Y))) * error))


def _absolute(network):
    """Return the network of absolute weights, whose neurons are all active."""
    names = {"W1", "b1", "W2", "b2", "skip", "U"} & {field.name for field in fields(network)}
    changed = {name: None if getattr(network, name) is None else np.abs(getattr(network, name)) for name in names}
    if network.gates is not None:
        changed |= {"activation": "relu", "gates": None}
    changed["W2"] = changed["W2"] * max(1.0, abs(network.slope))
    return replace(network, **changed)
