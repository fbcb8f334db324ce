"""Pricing over all cells for several outputs, by local search: kappa(V) = max over |u| <= 1 of |V' act(X u)|.

For given output weights g, |g| = 1, the best u is a maximum of v' act(X u) for v = V g, to which `ascent` climbs over
the cells; for a given u the best g is V' act(X u), normalised. In turn they lead to a local maximum of both, and each
raises the value. What is found is a lower bound of kappa and neurons that violate kappa(V) <= alpha; that nothing is
found proves nothing.
"""

from dataclasses import dataclass

import numpy as np

from .search import CellSearch

__all__ = ["VectorMaxima", "VectorSearch", "join_vector_maxima"]

# Gradient steps of starts, and the most times that u and g are found in turn, from a start and from a neuron.
GRADIENT_STEPS, START_TURNS, NEURON_TURNS = 20, 20, 100
# Relative growth of a maximum that is none.
PROGRESS_TOL = 1e-13
# The longest step, one of which leads to the gradient, nearly; a length that is zero, and that of gradients that are.
LONGEST, TINY, FLAT = 2.0, np.finfo(np.float64).tiny, 1e-150
# Most walls crossed one after the other.
CLIMBED_CELLS = 30
# Starts below this part of alpha after the gradient steps are not worth a climb.
PROMISING = 0.75
# Cosine above which starts are one after the gradient steps, and maxima at the end.
SAME_START, SAME_MAXIMUM = 0.999, 1 - 1e-8
# Maxima remembered as starts of the next search.
REMEMBERED = 200


@dataclass(frozen=True, eq=False)
class VectorMaxima:
    """Local maxima of |V' act(X u)| on the unit sphere.

    Parameters
    ----------
    values : ndarray of shape (n_maxima,)
        The values there.
    directions : ndarray of shape (n_maxima, n_features)
        Where, unit vectors u.
    outputs : ndarray of shape (n_maxima, n_outputs)
        The output weights g, unit vectors.
    patterns : ndarray of bool, shape (n_maxima, n_rows)
        Their cells.
    """

    values: np.ndarray
    directions: np.ndarray
    outputs: np.ndarray
    patterns: np.ndarray

    def __len__(self):
        return len(self.values)

    def select(self, index):
        """Return some of the maxima."""
        return VectorMaxima(self.values[index], self.directions[index], self.outputs[index], self.patterns[index])

    def distinct(self, cosine, by_value=True):
        """Return the first of those within this cosine, those of large values first, or all in their order."""
        kept = []
        for j in np.argsort(-self.values, kind="stable") if by_value else range(len(self)):
            near = self.directions[kept] @ self.directions[j] > cosine
            if not (near & (self.outputs[kept] @ self.outputs[j] > cosine)).any():
                kept.append(j)
        return self.select(np.array(kept, int))


def join_vector_maxima(parts):
    """Put maxima together, one after the other.

    Parameters
    ----------
    parts : list of VectorMaxima
        At least one.

    Returns
    -------
    VectorMaxima
        All of them.
    """
    names = ("values", "directions", "outputs", "patterns")
    return VectorMaxima(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class VectorSearch:
    """Local search over the cells of a design's rows, for dual vectors of several outputs.

    Parameters
    ----------
    design : Design
        The rows; its patterns are not used.
    rng : RandomState
        Source of the starts.

    Attributes
    ----------
    n_starts : int
        The usual number of starts for data of this size.
    """

    def __init__(self, design, rng):
        self.design, self.rng, self.cells = design, rng, CellSearch(design, rng)
        self.n_starts, self.found = self.cells.n_starts, np.zeros((0, design.X.shape[1]))

    def hidden(self, U):
        """Return the activations of neurons (n_neurons, n_features), shape (n_samples, n_neurons)."""
        T = self.design.X @ U.T
        return self.design.pool(np.where(T > 0, T, self.design.slope * T))

    def climb(self, V, outputs, patterns, n_turns=NEURON_TURNS):
        """Climb from cells, in turn in u and in g.

        Parameters
        ----------
        V : ndarray of shape (n_samples, n_outputs)
            The dual vector.
        outputs : ndarray of shape (n_starts, n_outputs)
            Output weights g to start from, unit vectors.
        patterns : ndarray of bool, shape (n_starts, n_rows)
            Cells to start from.
        n_turns : int, default=100
            Most turns.

        Returns
        -------
        VectorMaxima
            Those reached, in the order of the starts.
        """
        values, outputs, patterns = np.zeros(len(outputs)), outputs.copy(), patterns.copy()
        directions, one = np.zeros((len(outputs), self.design.X.shape[1])), np.ones(1)
        for j in range(len(outputs)):
            for _ in range(n_turns):
                reached = self.cells.climb(V @ outputs[j][:, None], one, patterns[[j]], CLIMBED_CELLS)
                pull = V.T @ self.hidden(reached.directions)[:, 0]
                value = float(np.linalg.norm(pull))
                if not value > values[j] * (1 + PROGRESS_TOL):
                    break
                patterns[j] = np.unpackbits(reached.bits[0], count=len(self.design.X)).view(bool)
                values[j], directions[j], outputs[j] = value, reached.directions[0], pull / value
        return VectorMaxima(values, directions, outputs, patterns)

    def maxima(self, V, alpha, neurons, n_starts, over=lambda: False):
        """Search for local maxima that are near or above alpha.

        Parameters
        ----------
        V : ndarray of shape (n_samples, n_outputs)
            The dual vector.
        alpha : float
            What is asked about; maxima far below are not looked for.
        neurons : ndarray of shape (n_neurons, n_features)
            Directions of the neurons of the current network, unit vectors; there may be none.
        n_starts : int
            Number of starts, besides the maxima found before.
        over : callable, default: never
            Asked between climbs whether to stop.

        Returns
        -------
        VectorMaxima
            Those found, each once, the largest first.
        """
        U = self.cells.starts(neurons, np.ones(len(neurons)), n_starts)[0]
        starts = self._ascend(V, np.concatenate([U, self.found]))
        starts = starts.select(starts.values > PROMISING * alpha).distinct(SAME_START)
        if self.cells.large:  # cells are too small to climb from one to the next
            maxima = starts
        else:
            parts = [starts.select(slice(0))]
            for j in range(len(starts)):
                if over():
                    break
                parts.append(self.climb(V, starts.outputs[[j]], starts.patterns[[j]], START_TURNS))
            maxima = join_vector_maxima(parts).distinct(SAME_MAXIMUM)
        self.found = maxima.directions[:REMEMBERED]
        return maxima

    def _ascend(self, V, U):
        """Ascend from directions by steps of adapted length along the gradient on the sphere, in units."""
        design, X, squares = self.design, self.cells.scaled, self.cells.units**2

        def normalised(U):
            return U / np.maximum(np.sqrt(U**2 @ squares), TINY)[:, None]

        def look(U):
            T = X @ U.T
            activity = np.where(T > 0, 1.0, design.slope)
            pulls = design.pool(T * activity).T @ V
            values = np.linalg.norm(pulls, axis=1)
            pulls /= np.where(values > 0, values, 1.0)[:, None]
            return values, pulls, (activity * design.spread(V @ pulls.T)).T @ X

        U = normalised(U / self.cells.units)
        (values, pulls, G), steps = look(U), np.ones(len(U))
        for _ in range(GRADIENT_STEPS):
            slopes = np.linalg.norm(G, axis=1)
            sizes = steps * np.divide(np.linalg.norm(U, axis=1), slopes, out=np.zeros(len(U)), where=slopes > FLAT)
            trial = normalised(U + sizes[:, None] * (G - values[:, None] * squares * U))
            reached = look(trial)
            better = reached[0] > values
            U[better], values[better], pulls[better], G[better] = trial[better], *(part[better] for part in reached)
            steps = np.where(better, np.minimum(LONGEST, 1.5 * steps), 0.5 * steps)
        U = U * self.cells.units
        return VectorMaxima(values, U, pulls, U @ design.X.T >= 0)
