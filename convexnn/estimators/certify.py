"""Certificates of any two-layer ReLU network: how far from optimal it is, at most.

A lower bound of the objective over all networks of the same kind, of any width, comes from the dual of the convex
program, so from a good dual vector, not from the network. Generation is started at the network and run to the optimum.
Hidden biases may be penalised, absent, or free, as scikit-learn's are (`convexnn.model.architecture`).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from ..geometry.arrangements import Arrangements
from ..losses import Logistic, Loss, Squared
from ..model.architecture import Architecture
from ..model.building import build_program
from ..model.certificate import Certificate
from ..model.rounding import objective_rounding
from ..networks.conversion import as_network
from ..networks.network import CircularNetwork, ConvNetwork, Network
from ..solvers import solve_generation
from ..utils.deadline import within
from ..utils.quiet import ignoring
from ..utils.validation import check_array, check_choice, check_flag, check_numeric, check_positive, check_size
from .base import ConvexNetworkEstimator
from .inputs import check_inputs, refuse_text
from .tasks import Classification

__all__ = ["certify"]


def certify(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    alpha: float | None = None,
    *,
    scope: str = "auto",
    loss: Loss | None = None,
    hidden_bias: str | None = None,
    fit_intercept: bool | None = None,
    tol: float = 1e-4,
    time_limit: float | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: int | bool = 0,
) -> Certificate:
    """Bound how far a two-layer ReLU network is from the best network of any width.

    The objective is L(f(X)) + alpha / 2 sum_j (|w_j|^2 + b_j^2 + a_j^2), without the b_j^2 if hidden biases are free;
    L = 1/2 sum_k (f(x_k) - y_k)^2 by default. It is that of MLPRegressor, or of MLPClassifier with the logistic loss,
    times n_samples, if batches are full. Output biases and skips are free.

    Parameters
    ----------
    model : Network, fitted estimator, tuple of arrays, or torch.nn.Module
        The network: one of ours, a fitted MLPRegressor with one hidden layer and ReLU, arrays (W1, b1, W2, b2) of
        shapes (n_features, n_neurons), (n_neurons,), (n_neurons,) or (n_neurons, 1), and (1,), or a torch module of
        Linear, ReLU and Linear.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,)
        Targets; of a classifier the labels that it was trained on; else as the loss takes them. Samples count once
        each: a model that was trained with sample weights had another objective.
    alpha : float or None, default=None
        Strength of the weight decay, above 0. None is the `alpha_` of a fitted estimator of this package; other models
        hold none.
    scope : {"auto", "local", "global"}, default="auto"
        Kind of the bound. "local": as far as a search over all patterns finds, an estimate that proves nothing.
        "global": proved, in seconds up to six features or so; beyond it give a `time_limit`. "auto": "global" where a
        short attempt proves it, else "local", with what the attempt did prove in `proved_bound`.
    loss : object or None, default=None
        A loss of `convexnn.losses`; None is the one that an estimator of this package was trained with, the logistic
        one for an MLPClassifier, and the squared one otherwise.
    hidden_bias : {"penalized", "none", "free"} or None, default=None
        What weight decay does with hidden biases; None is as the model has it: "free" for scikit-learn, "penalized"
        otherwise, "none" without biases.
    fit_intercept : bool or None, default=None
        Whether the networks compared with have an output bias; None: if the model has one. Free hidden biases include
        a free output bias.
    tol : float, default=1e-4
        Relative gap to which the best network is sought; the bound is at most about this far below the optimum.
    time_limit : float or None, default=None
        Limit in seconds.
    random_state : int, RandomState instance or None, default=None
        Source of the starts of the search.
    verbose : int or bool, default=0
        0 is silent, 1 shows one live line and a summary at the end, 2 each record of the solver; on stderr.

    Returns
    -------
    Certificate
        The objective of the model, a lower bound, their gap, and in words what is proved. print it.

    Raises
    ------
    TypeError, ValueError
        If the model is not a two-layer ReLU network with one output, or does not fit the data.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import certify
    >>> X, y = np.array([[-1.0], [0.0], [2.0]]), np.array([1.0, 0.0, 2.0])
    >>> certificate = certify(([[1.0, -1.0]], [0.0, 0.0], [1.0, 1.0], None), X, y, 0.1, scope="global")
    >>> certificate.scope, certificate.objective
    ('global', 0.2)
    """
    check_choice("scope", scope, ("local", "global", "auto"))
    alpha = None if alpha is None else check_size("alpha", alpha)
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    options = {"tol": tol, "scope": scope, "time_limit": time_limit, "random_state": random_state, "verbose": verbose}
    return within(time_limit, _certify, model, X, y, alpha, loss, hidden_bias, fit_intercept, options)


def _certify(model, X, y, alpha, loss, hidden_bias, fit_intercept, options):
    network = _check_network(model, hidden_bias)
    if isinstance(getattr(model, "network_", None), Network):
        model = getattr(model, "estimator_", model)  # of a search
    if alpha is None and not hasattr(model, "alpha_"):
        raise ValueError("alpha must be a number above 0 for a model that is no fitted estimator of convexnn; got None")
    alpha = model.alpha_ if alpha is None else alpha
    X, y, loss = _data(model, X, y, loss)
    objective = network.objective(X, y, alpha, loss)
    program, W = _program_at(network, X, y, alpha, _has_intercept(model, network, fit_intercept), loss)
    with ignoring(ConvergenceWarning):  # the certificate says how far it is
        solution = solve_generation(program, W_init=W, **options)
    rounding = objective_rounding(network, X, np.reshape(y, (len(X), -1)), alpha, loss or Squared())
    return solution.certificate.of(objective, rounding)


def _check_network(model, hidden_bias):
    if isinstance(getattr(model, "network_", None), (ConvNetwork, CircularNetwork)):
        raise ValueError(
            f"model must have two dense layers; got {type(model).__name__}, whose hidden one is convolutional"
        )
    network = as_network(model, hidden_bias)
    if network.activation != "relu":
        raise ValueError(f"model must be a ReLU network; got activation {network.activation!r}")
    if network.W2.shape[1] != 1:
        raise ValueError(f"model must have one output, a classifier two classes; got {network.W2.shape[1]} outputs")
    return network


def _data(model, X, y, loss):
    """Return the data as the loss takes them, and the loss, by default the model's own (None is the squared one).

    Raises an error where a fitted estimator would not predict from X, such as by other names, or y has other classes.
    """
    if loss is None and isinstance(model, ConvexNetworkEstimator):
        loss = model._loss()
    X = check_inputs(model, X, reset=False) if isinstance(model, BaseEstimator) else check_array(X, input_name="X")
    check_numeric("y", y, dates=True)
    if not isinstance(model, (Classification, MLPClassifier)):
        refuse_text("y", y)
        return X, y, loss
    y = np.asarray(y)
    if not np.isin(y, model.classes_).all():
        raise ValueError(f"y must have the classes of model, {', '.join(map(str, model.classes_))}")
    return X, np.where(y == model.classes_[1], 1.0, -1.0), loss or Logistic()


def _has_intercept(model, network, fit_intercept):
    free = network.hidden_bias == "free"
    if fit_intercept is None:
        return free or bool(getattr(model, "fit_intercept", network.b2.any()))
    check_flag("fit_intercept", fit_intercept)
    if not fit_intercept and (free or network.b2.any()):
        raise ValueError("fit_intercept must be True or None: the model has an output bias, or free hidden biases")
    return fit_intercept


def _program_at(network, X, y, alpha, fit_intercept, loss):
    """Return the program of a network's kind, over the patterns of its neurons, and the network as its blocks."""
    architecture = Architecture("relu", network.hidden_bias, fit_intercept, network.skip is not None)
    architecture = architecture.solved_for(X)
    layer = architecture.hidden_layer(X)
    blocks = layer.blocks(network.W1, network.b1).T * np.abs(network.W2)
    alive = blocks.any(axis=1)
    if not alive.any():
        return build_program(X, y, alpha, "adaptive", architecture, loss=loss), None
    blocks, signs = blocks[alive], np.sign(network.W2[alive, 0])
    arrangements = Arrangements.from_gates(layer.rows(X), blocks)
    program = build_program(X, y, alpha, arrangements, architecture, loss=loss)
    place = {bits.tobytes(): index for index, bits in enumerate(arrangements.bits)}
    patterns = np.packbits(blocks @ program.design.X.T >= 0, axis=1)
    index = np.array([place[bits.tobytes()] for bits in patterns])
    W = np.zeros(program.block_shape)
    np.add.at(W, index + len(arrangements) * (signs < 0), blocks[:, :, None])
    return program, W
