"""Certificates of any two-layer ReLU network: how far from optimal it is, at most.

A lower bound of the objective over all networks of the same kind, of any width, comes from the dual of the convex
program, so from a good dual vector, not from the network. Generation is started at the network and run to the optimum.

Hidden biases that weight decay leaves out (scikit-learn's) are bounded through a program with penalised ones. With the
rows moved to x - m and R their largest norm, a bias |b| > R |w| makes a neuron linear or dead on the data, so that

    kappa_free(v) = max_{|w| <= 1, |b| <= R} |v'((X - 1 m')w + b)_+|,    1'v = 0.

On the rows (x - m, R / d) the point (w, d b / R) has a norm of at most sqrt(1 + d^2), so kappa_free is at most that
many times the kappa of these rows: the program on them at alpha / sqrt(1 + d^2) bounds the problem with free biases
from below. d = 1e-2 costs 5e-5 of the bound at most.
"""

import warnings
from dataclasses import replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from .architecture import Architecture
from .arrangements import Arrangements
from .building import build_program
from .conversion import as_network
from .solvers import solve_generation
from .validation import check_choice, check_flag, check_positive

__all__ = ["certify"]

# d of the module docstring.
BIAS_UNIT = 1e-2


def certify(
    model,
    X,
    y,
    alpha,
    *,
    scope="auto",
    hidden_bias=None,
    fit_intercept=None,
    tol=1e-4,
    time_limit=None,
    random_state=None,
    verbose=False,
):
    """Bound how far a two-layer ReLU network is from the best network of any width.

    The objective is 1/2 sum_k (f(x_k) - y_k)^2 + alpha / 2 sum_j (|w_j|^2 + b_j^2 + a_j^2), without the b_j^2 if hidden
    biases are free; that of MLPRegressor, times n_samples, if batches are full. Output biases and skips are free.

    Parameters
    ----------
    model : Network, fitted estimator, tuple of arrays, or torch.nn.Module
        The network: one of ours, a fitted MLPRegressor with one hidden layer and ReLU, arrays (W1, b1, W2, b2) of
        shapes (n_features, n_neurons), (n_neurons,), (n_neurons,) or (n_neurons, 1), and (1,), or a torch module of
        Linear, ReLU and Linear.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,)
        Targets.
    alpha : float
        Strength of the weight decay, above 0.
    scope : {"auto", "local", "global"}, default="auto"
        Kind of the bound. "local": as far as a search over all patterns finds, an estimate that proves nothing.
        "global": proved, in seconds up to six features or so; beyond it give a `time_limit`. "auto": "global" where a
        short attempt proves it, else "local", with what the attempt did prove in `proved_bound`.
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
    verbose : bool, default=False
        Whether to print the progress.

    Returns
    -------
    Certificate
        The objective of the model, a lower bound, their gap, and in words what is proved. print it.

    Raises
    ------
    TypeError, ValueError
        If the model is not a two-layer ReLU network with one output and squared loss, or does not fit the data.

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
    alpha = check_positive("alpha", alpha)
    network = _check_network(model, hidden_bias)
    X = check_array(X, dtype=np.float64, input_name="X")
    objective = network.objective(X, y, alpha)
    program, W = _program_at(network, X, y, alpha, _has_intercept(model, network, fit_intercept))
    with warnings.catch_warnings():  # the certificate says how far it is
        warnings.simplefilter("ignore", ConvergenceWarning)
        solution = solve_generation(
            program, W_init=W, tol=tol, scope=scope, time_limit=time_limit, random_state=random_state, verbose=verbose
        )
    return replace(solution.certificate, objective=objective)


def _check_network(model, hidden_bias):
    network = as_network(model, hidden_bias)
    if type(model).__name__ == "MLPClassifier":
        raise ValueError("model: the logistic loss of MLPClassifier is not supported yet; certify takes regressors")
    if network.activation != "relu":
        raise ValueError(f"model must be a ReLU network; got activation {network.activation!r}")
    if network.W2.shape[1] != 1:
        raise ValueError(f"model must have one output; got {network.W2.shape[1]}")
    return network


def _has_intercept(model, network, fit_intercept):
    free = network.hidden_bias == "free"
    if fit_intercept is None:
        return free or bool(getattr(model, "fit_intercept", network.b2.any()))
    check_flag("fit_intercept", fit_intercept)
    if not fit_intercept and (free or network.b2.any()):
        raise ValueError("fit_intercept must be True or None: the model has an output bias, or free hidden biases")
    return fit_intercept


def _program_at(network, X, y, alpha, fit_intercept):
    """Return the program of a network's kind, over the patterns of its neurons, and the network as its blocks."""
    hidden, kind = np.vstack([network.W1, network.b1]), network.hidden_bias
    rows = X
    if kind == "free":
        centre = X.mean(axis=0)
        radius = np.linalg.norm(X - centre, axis=1).max() or 1.0
        rows = np.column_stack([X - centre, np.full(len(X), radius / BIAS_UNIT)])
        hidden[-1] += centre @ network.W1
        hidden[-1] *= BIAS_UNIT / radius
        alpha, kind = alpha / np.sqrt(1 + BIAS_UNIT**2), "none"
    elif kind == "none":
        hidden = hidden[:-1]
    architecture = Architecture("relu", kind, fit_intercept, network.skip is not None)
    blocks = hidden.T * np.abs(network.W2)
    alive = blocks.any(axis=1)
    if not alive.any():
        program = build_program(rows, y, alpha, "adaptive", architecture)
        return program, None
    blocks, signs = blocks[alive], np.sign(network.W2[alive, 0])
    arrangements = Arrangements.from_gates(architecture.hidden_rows(rows), blocks)
    program = build_program(rows, y, alpha, arrangements, architecture)
    place = {bits.tobytes(): index for index, bits in enumerate(arrangements.bits)}
    patterns = np.packbits(blocks @ program.design.X.T >= 0, axis=1)
    index = np.array([place[bits.tobytes()] for bits in patterns])
    W = np.zeros(program.block_shape)
    np.add.at(W, index + len(arrangements) * (signs < 0), blocks[:, :, None])
    return program, W
