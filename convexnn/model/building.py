"""Building the convex program of a network on data: rows, patterns, free columns, loss and penalty."""

from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from ..geometry.arrangements import FEWEST_PATTERNS, Arrangements, resolve_arrangements
from ..geometry.enumeration import ThinCellsError
from ..geometry.faces import boundary_patterns
from ..geometry.fourier import fourier_basis
from ..geometry.selections import resolve_selections
from ..losses import Loss, Squared
from ..utils.deadline import in_time
from ..utils.validation import SIZES, check_array, check_size
from .architecture import BIAS_UNIT, Architecture
from .cones import make_cones
from .design import Design, PatchwiseDesign
from .penalties import ElasticNorm, GroupL2, GroupNorm, Nuclear, group_l1
from .program import Program

__all__ = ["build_program"]


def build_program(
    X: ArrayLike,
    y: ArrayLike,
    alpha: float,
    arrangements: str | int | Arrangements | ArrayLike,
    architecture: Architecture | None = None,
    random_state: int | np.random.RandomState | None = None,
    loss: Loss | None = None,
) -> Program:
    """Build the convex program of a network on data.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets; -1 or 1 for the losses of labels, indicators of the classes for the softmax loss.
    alpha : float
        Regularisation strength, above 0.
    arrangements : "adaptive", int, "all", Arrangements, or array-like of gates
        "adaptive": none yet, `solve_generation` finds them. Else a number of sampled patterns, all of them, or those of
        given gates (n_gates, n_hidden_features), where a hidden bias counts as one more feature: x.g + h. Linear
        networks have one pattern, whatever is asked for.
    architecture : Architecture or None, default=None
        The network; None is a ReLU network with penalised hidden biases and a free output bias.
    random_state : int, RandomState instance or None, default=None
        Source of sampled patterns.
    loss : Loss or None, default=None
        A loss of `convexnn.losses`, or one of your own that extends `Loss`; None is the squared loss.

    Returns
    -------
    Program
        Ready for a solver.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> from convexnn.model import build_program
    >>> X, y = [[2, 2], [3, 3], [1, 0]], [1, 2, -1]
    >>> program = build_program(X, y, 0.1, "all", Architecture(hidden_bias="none"))
    >>> len(program.design.arrangements), program.block_shape  # a block for each pattern and sign
    (4, (8, 2, 1))
    """
    architecture = Architecture() if architecture is None else architecture
    if not isinstance(architecture, Architecture):
        raise TypeError(f"architecture must be an Architecture or None; got {architecture!r}")
    alpha = check_size("alpha", alpha)
    X = check_array(X, input_name="X")
    loss = Squared() if loss is None else loss
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a Loss of convexnn.losses or None; got {loss!r}")
    Y = _check_targets(X, y, loss)
    layer = architecture.hidden_layer(X)
    rows = layer.rows(X)
    arrangements = _resolve(layer, rows, arrangements, architecture, random_state)
    n_patches = len(rows) // len(X)
    values = np.ones((len(rows), 1)) if architecture.activation == "threshold" else rows
    apart = architecture.patches is not None and architecture.patches.pooling == "none"
    matrices = _are_matrices(architecture, apart or Y.shape[1] > 1)
    kind = PatchwiseDesign if apart else Design
    units = np.append(np.ones(rows.shape[1] - 1), BIAS_UNIT) if architecture.hidden_bias == "free" else None
    design = kind(values, arrangements, architecture.signs, architecture.slope, n_patches, units)
    cones, free = make_cones(design, architecture), architecture.free_columns(X)
    penalty = Nuclear() if matrices else _norm(architecture, rows.shape[1])
    bias_unit = BIAS_UNIT if architecture.hidden_bias == "free" else 0.0
    return Program(Y, design, cones, loss, penalty, alpha, free, architecture, layer, bias_unit=bias_unit)


def _are_matrices(architecture, several):
    """Return whether blocks are matrices, those of several output weights with weight decay and fixed patterns.

    Raise ValueError where there is no program for the output weights.
    """
    apart = architecture.patches is not None and architecture.patches.pooling == "none"
    if apart and (architecture.activation not in ("linear", "gated_relu") or architecture.output_penalty == "l1"):
        raise ValueError(
            'pooling="none" needs activation "linear" or "gated_relu" and output_penalty="weight_decay"; got '
            f"{architecture.activation!r} and {architecture.output_penalty!r}"
        )
    if architecture.activation == "gated_relu" and architecture.hidden_bias == "free":
        raise ValueError(
            'hidden_bias must be "penalized" or "none" for gated networks: the weight decay of a gated neuron that is '
            "a free bias alone has no minimum"
        )
    if not several or architecture.output_penalty == "l1":
        return False
    if architecture.hidden_norm != "l2":
        raise ValueError(
            f'output_penalty must be "l1" for several outputs with hidden_norm={architecture.hidden_norm!r}; '
            'weight decay needs "l2"'
        )
    return not architecture.constrained


def _norm(architecture, n_features):
    """Return the penalty of a block whose columns are neurons, in the norm of the hidden weights."""
    if architecture.hidden_norm == "l1":
        return group_l1(n_features)
    if architecture.hidden_norm == "l2":
        return GroupL2()
    if architecture.hidden_norm != "circular":
        return ElasticNorm(architecture.hidden_norm)
    if architecture.circular_shape is None or prod(architecture.circular_shape) != n_features:
        raise ValueError(
            f"X must have as many features as circular_shape {architecture.circular_shape}; got {n_features}"
        )
    return GroupNorm(*fourier_basis(architecture.circular_shape))


def _check_targets(X, y, loss):
    Y = check_array(np.atleast_1d(y), input_name="y", ensure_2d=False)
    Y = Y.reshape(len(Y), -1)
    check_consistent_length(X, Y)
    if loss.sample_weight is not None and len(loss.sample_weight) != len(X):
        raise ValueError(f"sample_weight of loss has {len(loss.sample_weight)} entries; X has {len(X)} rows")
    _check_sizes(X, Y, loss)
    loss.check_targets(Y)
    return Y


def _check_sizes(X, Y, loss):
    """Raise ValueError where squares of data, weights, gradients of the loss or alpha_max may leave floating point."""
    x, y = float(np.abs(X).max()), float(np.abs(Y).max())
    weights = np.ones(1) if loss.sample_weight is None else loss.sample_weight
    steepest = max(np.max(np.abs(bound)) for bound in loss.slope_bounds(Y))
    slope = weights.max() * min(y, steepest)
    sizes = np.array([x, y, weights.min(), weights.max(), slope])
    products = np.append(sizes, [y * x for y in (y, slope)])
    if (products[products > 0] < SIZES[0]).any() or (products > SIZES[1]).any():
        raise ValueError(
            f"the largest entries of X and y, sample weights, and their products, must be from {SIZES[0]:g} to "
            f"{SIZES[1]:g}, for squares to be in the range of floating point; got {x:g}, {y:g}, and weights from "
            f"{weights.min():g} to {weights.max():g}: change their units"
        )


def _resolve(layer, rows, arrangements, architecture, random_state):
    """Return the patterns asked for, sampled and enumerated with free biases in the unit of the data."""
    if architecture.hidden_bias != "free":
        return _patterns(rows, arrangements, architecture, random_state)
    scale = np.append(np.ones(rows.shape[1] - 1), BIAS_UNIT)
    if isinstance(arrangements, Arrangements):
        arrangements = replace(arrangements, gates=arrangements.gates / scale)
    elif np.ndim(arrangements) == 2 and np.shape(arrangements)[1] == len(scale):
        gates = check_array(arrangements, input_name="gates")
        arrangements = layer.blocks(gates[:, :-1].T, gates[:, -1]).T / scale
    found = _patterns(rows * scale, arrangements, architecture, random_state)
    return replace(found, gates=found.gates * scale)


def _patterns(rows, arrangements, architecture, random_state):
    """Return the patterns asked for; the only one of linear networks."""
    activation, patches = architecture.activation, architecture.patches
    if patches is not None and patches.pooling == "max":
        if activation != "relu":
            raise ValueError(f'pooling="max" is for activation="relu"; got {activation!r}: pool by "sum" or "mean"')
        return resolve_selections(rows, arrangements, patches.n_patches, random_state)
    if activation == "linear":
        ones = np.packbits(np.ones((1, len(rows)), bool), axis=1)
        return Arrangements(ones, np.zeros((1, rows.shape[1])), len(rows), complete=True)
    if isinstance(arrangements, str) and arrangements == "adaptive" and not architecture.constrained:
        raise ValueError(
            f'arrangements="adaptive" is for networks whose patterns are those of their weights; activation '
            f"{activation!r} has patterns of its own: give a number to sample, or gates"
        )
    if activation != "threshold":
        return resolve_arrangements(rows, arrangements, random_state)
    if isinstance(arrangements, str) and arrangements == "all":
        few = partial(resolve_arrangements, rows, FEWEST_PATTERNS, random_state)
        return in_time(lambda: boundary_patterns(rows), few)
    found = resolve_arrangements(rows, arrangements, random_state)
    if not found.complete or found.on_walls:
        return found
    # all cells: a threshold network has patterns of points on walls, too
    everything = _with_walls(rows, found)
    if everything.on_walls and not isinstance(arrangements, Arrangements) and len(everything) <= arrangements:
        return everything
    return replace(found, complete=everything.on_walls and everything.complete and len(found) == len(everything))


def _with_walls(rows, cells):
    """Return the patterns of all points; of those in cells alone where there is no time, or there are too many."""
    try:
        return in_time(lambda: boundary_patterns(rows), lambda: cells)
    except (ValueError, ThinCellsError):
        return cells
