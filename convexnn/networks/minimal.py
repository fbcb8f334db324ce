"""Fewer neurons: those that are parallel, too small to matter, or more than the samples need.

Parallel neurons of the same sign are one neuron: they add up to |u_1| + |u_2| = |u_1 + u_2|, for u = w |a|.

Of more neurons than samples, those that linear algebra spares go:

    F s = f,  s >= 0,  minimise d's        F[:, j] = h_j a_j' / (|h_j| |a_j|),  s_j = |h_j| |a_j|,  d_j = |w_j| / |h_j|

h_j are the activations of neuron j on X, so that f is what the hidden layer adds to the predictions, and d_j s_j =
|w_j| |a_j| is the weight decay of the balanced neuron. Activations are positively homogeneous: any other s >= 0 with
F s = f is a network with the same predictions, its neurons scaled. While the columns of F are dependent, some z != 0
has F z = 0 and d'z <= 0; s moves along z until a neuron reaches zero, and leaves. What is left is independent.

The null vectors are those of a basis B of columns: for a column j outside, z_j = 1 and z_B = -T_j with F_B T = F. When
a neuron of the basis leaves, j takes its place and T is updated as a simplex tableau is.

References
----------
C. Caratheodory (1911), Ueber den Variabilitaetsbereich der Fourierschen Konstanten. Rend. Circ. Mat. Palermo 32.
S. Rosset, G. Swirszcz, N. Srebro and J. Zhu (2007), l1 regularization in infinite dimensional feature spaces. COLT.
M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers, theorem 1. ICML.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr, solve_triangular
from scipy.linalg.blas import dger
from sklearn.utils import gen_batches

from ..geometry.arrangements import BLOCK_ENTRIES
from .network import Network, column_norms

__all__ = ["merge_parallel", "minimal_network", "prune"]

EPS = np.finfo(np.float64).eps
# Relative difference of every weight, up to scale, below which two neurons are parallel.
PARALLEL_TOL = 1e-10
# Largest change of the fit and rise of the weight decay, relative to them, for which a neuron is dropped.
FIT_TOL, DECAY_TOL = 1e-9, 1e-12
# Entries of a null vector below it, relative to the largest, count as zero.
PIVOT_TOL = 1e-12
# The basis is chosen anew when a null vector has larger entries, after REFACTOR exchanges or more.
GROWTH, REFACTOR = 1e3, 32


def merge_parallel(network: Network) -> Network:
    """Merge parallel neurons of the same sign into one; f does not change, and weight decay never grows.

    Parameters
    ----------
    network : Network
        Any network. Neurons with gates or thresholds are left as they are: two gates do not add up to one.

    Returns
    -------
    Network
        Balanced (|w_j| = |a_j|, and |w_j| counts penalised biases only) where neurons were merged, the others
        untouched. Merged constants, free biases with w_j = 0, keep the first one's a_j.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.networks import merge_parallel
    >>> net = Network(np.array([[1.0, 3.0, -1.0]]), np.zeros(3), np.array([[1.0], [1.0], [2.0]]), np.zeros(1))
    >>> merged = merge_parallel(net)
    >>> merged.n_neurons, net.predict([[2.0], [-1.0]]), merged.predict([[2.0], [-1.0]]).round(12)
    (2, array([8., 2.]), array([8., 2.]))
    """
    if network.activation in ("gated_relu", "threshold") or network.n_neurons < 2:
        return network
    hidden = np.vstack([network.W1, network.b1])
    norms, sizes = np.linalg.norm(hidden, axis=0), network.output_sizes()
    alive = norms * sizes > 0
    if not alive.all():
        return merge_parallel(_select(network, hidden, network.W2, alive))
    directions = np.vstack([hidden / norms, (network.W2 / sizes[:, None]).T])
    leader = np.arange(network.n_neurons)
    for j in range(1, network.n_neurons):
        others, own = directions[:, :j], directions[:, [j]]
        # weight by weight: a small weight may belong to a feature of large values
        same = (np.abs(others - own) <= PARALLEL_TOL * np.maximum(np.abs(others), np.abs(own))).all(axis=0)
        close = np.flatnonzero(same & (leader[:j] == np.arange(j)))
        if len(close):
            leader[j] = close[0]
    W2 = network.W2.copy()
    for j in np.flatnonzero(np.bincount(leader, minlength=len(leader)) > 1):
        group = leader == j
        vector = hidden[:, group] @ sizes[group]
        charged = vector[:-1] if network.hidden_bias == "free" else vector
        norm = column_norms(charged[:, None], network.hidden_norm)[0]
        root = np.sqrt(norm) if norm > 0 else sizes[j]  # the weights of a constant are zero
        hidden[:, j] = vector / root
        W2[j] *= root / sizes[j]
    return _select(network, hidden, W2, leader == np.arange(network.n_neurons))


def minimal_network(network: Network, X: ArrayLike) -> Network:
    """Find a network of at most n_samples * n_outputs neurons with the same predictions on X and no more weight decay.

    Parallel neurons are merged and neurons that are zero on X dropped. Then, while the fits (x_k.w_j + b_j)_+ a_j of
    the neurons on X are linearly dependent, their squared scales s_j >= 0 move along a null vector that does not raise
    sum_j |w_j| |a_j|, until one is zero (Caratheodory's theorem [1]_, [2]_). So a best network stays a best network.
    The output bias and the skip are kept. Away from X the function may change.

    Parameters
    ----------
    network : Network
        Any network. With gates, neurons keep them, and parallel neurons are not merged beforehand.
    X : array-like of shape (n_samples, n_features)
        The training inputs.

    Returns
    -------
    Network
        Balanced (|w_j| = |a_j| in the norms of its weight decay, where |w_j| counts penalised biases only), with
        linearly independent fits. The given network if no neuron can go. A neuron with w_j = 0 and a free bias keeps
        its a_j, a neuron of a threshold network its w_j.

    Raises
    ------
    ValueError
        If X is not finite or has another number of features than the network.

    Notes
    -----
    Predictions on X change by rounding only: neurons stay that cannot go without a change of the hidden layer's fit by
    1e-9 of its norm. Dependent means a rank, to rounding, below the number of neurons. Neurons whose whole fit is
    below the rounding of the sum of all fits count as zero.

    References
    ----------
    .. [1] S. Rosset, G. Swirszcz, N. Srebro and J. Zhu (2007), l1 regularization in infinite dimensional feature
       spaces, COLT.
    .. [2] M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers: exact polynomial-time convex
       optimization formulations for two-layer networks, ICML, theorem 1: n_samples neurons are enough.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.networks.minimal import minimal_network
    >>> rng = np.random.default_rng(0)
    >>> wide = Network(rng.standard_normal((2, 50)), np.zeros(50), rng.standard_normal((50, 1)), np.zeros(1))
    >>> X = rng.standard_normal((4, 2))
    >>> narrow = minimal_network(wide, X)
    >>> narrow.n_neurons <= 4, np.allclose(narrow.predict(X), wide.predict(X))
    (True, True)
    """
    merged = merge_parallel(network)
    batches = list(gen_batches(len(X), max(1, BLOCK_ENTRIES // max(merged.W2.size, 1)))) if len(X) else []
    steps = merged.activation == "threshold"  # hidden weights of which have no scale
    in_sizes = np.ones(merged.n_neurons) if steps else merged.input_sizes()
    out_sizes, responses = merged.output_sizes(), np.zeros(merged.n_neurons)
    for batch in batches:
        responses = np.hypot(responses, _lengths(merged.hidden(X[batch])))
    scales = responses * out_sizes
    total = scales.sum()
    active = np.flatnonzero(scales > EPS * total)
    W2, n_rows = merged.W2[active].T / out_sizes[active], len(X) * merged.W2.shape[1]
    fits = np.zeros((0, len(active)))
    for batch in batches:  # norms of combinations are those of the triangle, of which pivoting takes less time, too
        hidden = merged.hidden(X[batch])[:, active] / responses[active]
        rows = np.einsum("kj,cj->kcj", hidden, W2).reshape(len(hidden) * len(W2), len(active))
        fits = np.vstack([fits, rows])
        if len(fits) > len(active) > 0:
            fits = qr(fits, mode="r", check_finite=False)[0][: len(active)]
    before = scales[active] / total
    after = _purify(fits, before, in_sizes[active] / responses[active], n_rows)
    kept = np.flatnonzero(after)
    if len(kept) == network.n_neurons:
        return network
    neurons = active[kept]
    ratio = after[kept] / before[kept]
    # balanced, then both layers scaled by sqrt(ratio); a constant with a free bias keeps its a, and its bias is scaled
    constant = in_sizes[neurons] == 0
    balanced = np.sqrt(in_sizes[neurons]) / np.sqrt(out_sizes[neurons]) * np.sqrt(ratio)
    shares = ratio if steps else np.where(constant, 1.0, balanced)
    return replace(
        merged,
        W1=merged.W1[:, neurons] * (ratio / shares),
        b1=merged.b1[neurons] * (ratio / shares),
        W2=merged.W2[neurons] * shares[:, None],
        gates=None if merged.gates is None else merged.gates[:, neurons],
    )


def prune(sizes, objective, slack=1e-10, *, spare=True):
    """Return which entries of `sizes` to keep: those above the largest threshold that the objective allows.

    `objective(kept)` may grow by a fraction `slack` of its value where all are kept. Thresholds are powers of ten of
    the largest size, which is kept where `spare` is true.
    """
    limit = (1 + slack) * objective(sizes > 0)
    for threshold in sizes.max(initial=0.0) * 10.0 ** -np.arange(int(spare), 13):
        if objective(sizes > threshold) <= limit:
            return sizes > threshold
    return sizes > 0


def _lengths(columns):
    """Return the norms of columns, computed without underflow in their squares."""
    largest = np.abs(columns).max(axis=0, initial=0.0)
    return largest * np.linalg.norm(columns / np.where(largest > 0, largest, 1.0), axis=0)


def _select(network, hidden, W2, keep):
    return replace(network, W1=hidden[:-1, keep], b1=hidden[-1, keep], W2=W2[keep])


def _purify(F, s, d, n_rows):
    """Return s' >= 0 with F s' = F s and d's' <= d's whose non-zero entries select independent columns of F.

    sum(s) must be 1; F may be the triangle of `n_rows` rows. Where rounding stops a step, s' may still have dependent
    columns.
    """
    f = F @ s
    # F s itself is rounded: EPS for each unit of s
    allowed, decay = FIT_TOL * np.linalg.norm(f) + 64 * EPS, (1 + DECAY_TOL) * (d @ s)
    while (s > 0).any():
        active = np.flatnonzero(s)
        Q, R, order = qr(F[:, active], mode="economic", pivoting=True, check_finite=False)
        diagonal = np.abs(np.diagonal(R))
        rank = np.count_nonzero(diagonal > 10 * max(n_rows, len(active)) * EPS * diagonal[0])
        if rank == len(active):
            refined = _refine(F, s, f, active[order], Q, R)
            return refined if d @ refined <= decay else s
        T = solve_triangular(R[:rank, :rank], R[:rank, rank:], check_finite=False)
        basis, others = active[order[:rank]], active[order[rank:]]
        # all at once, and one of them where rounding adds up
        for some in [slice(None), *map(slice, range(len(others)), range(1, len(others) + 1))]:
            trial = _drop(T[:, some], s, d, basis, others[some])
            if np.linalg.norm(F @ trial - f) <= allowed and d @ trial <= decay:
                s = trial
                break
        else:
            break
    return s


def _drop(T, s, d, basis, others):
    """Return a copy of s that drops a column for each of `others`, or for the first of them if T gets inaccurate.

    T holds F[:, basis] T = F[:, others].
    """
    s, basis = s.copy(), basis.copy()
    T = np.array(T, order="F")
    exchanges = 0
    for j in others:
        column, T = T[:, 0].copy(), T[:, 1:]
        largest = max(1.0, np.abs(column).max())
        if largest > GROWTH and exchanges >= REFACTOR:
            break
        up, down = (_step(s[basis], sign * column, PIVOT_TOL * largest) for sign in (1.0, -1.0))
        rising = d[j] < d[basis] @ column and up is not None
        leaving, length = up if rising else (down or (None, np.inf))
        if not rising and s[j] <= length:
            leaving, length = None, s[j]
        step = length if rising else -length
        s[basis] = np.maximum(s[basis] - step * column, 0.0)
        s[j] = max(s[j] + step, 0.0)
        if leaving is None:
            s[j] = 0.0
            continue
        s[basis[leaving]] = 0.0
        basis[leaving] = j
        exchanges += 1
        if T.shape[1]:
            row = T[leaving] / column[leaving]
            column[leaving] -= 1.0  # so that the pivot's row becomes `row`
            T = dger(-1.0, column, row, a=T, overwrite_a=1)
    s[s <= EPS] = 0.0
    return s


def _step(s, rates, zero):
    """Return (index, t) for the entry of s - t * rates that reaches zero first; None if none does.

    Of entries tied to rounding, take the one of the largest rate. Rates up to `zero` count as zero.
    """
    falling = np.flatnonzero(rates > zero)
    if not len(falling):
        return None
    rates, s = rates[falling], s[falling]
    tied = s <= rates * ((s + EPS) / rates).min()
    best = np.argmax(np.where(tied, rates, 0.0))
    return falling[best], s[best] / rates[best]


def _refine(F, s, f, columns, Q, R):
    """Return s with the rounding errors in F s = f corrected, where that lowers the error; s stays >= 0."""
    error = np.linalg.norm(F @ s - f)
    for _ in range(2):
        trial = s.copy()
        trial[columns] += solve_triangular(R, Q.T @ (f - F @ s), check_finite=False)
        trial = np.maximum(trial, 0.0)
        if not (smaller := np.linalg.norm(F @ trial - f)) < error:
            break
        s, error = trial, smaller
    return s
