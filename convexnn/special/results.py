"""What the special cases share: their result, the checks of their data, and bounds from the dual of a loss."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length

from ..losses.base import Loss
from ..model.certificate import Certificate, uncontradicted
from ..model.program import Solution
from ..model.rounding import FreeColumns, proved_value
from ..model.summary import Status
from ..utils.quiet import warn
from ..utils.validation import check_array, check_positive, check_size

__all__ = ["LossDual", "SpecialResult", "check_problem", "conclude"]


@dataclass(frozen=True, eq=False)
class SpecialResult:
    """A network of a special case, and what is proved about it.

    Parameters
    ----------
    network : Network, ConvNetwork, CircularNetwork or PolynomialNetwork
        The network.
    certificate : Certificate
        Its objective, as the function that returns it defines it, and a lower bound of the optimum.
    converged : bool
        Whether the relative gap is at most the tolerance asked for.
    status : str
        "solved", or how the solver ended.
    n_iter : int, default=1
        Iterations of the solver.
    dual : ndarray of shape (n_samples, n_outputs) or None, default=None
        The dual vector V.
    history : list of dict
        One record an iteration, where the solver makes them: time (s), objective, lower_bound, gap, scope and others.
    solution : Solution or None, default=None
        The blocks that the network is made of, where it has a convex program over patterns.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> from convexnn.special import minimum_norm_interpolation
    >>> result = minimum_norm_interpolation([[1.0], [2.0]], [1.0, 2.0], Architecture(hidden_bias="none"))
    >>> result.network.predict([[1.0], [2.0], [3.0]]).round(6)
    array([1., 2., 3.])
    >>> result.status, result.certificate.scope, bool(result.certificate.gap < 1e-6)
    ('solved', 'global', True)
    """

    network: Any
    certificate: Certificate
    converged: bool
    status: str
    n_iter: int = 1
    dual: np.ndarray | None = None
    history: list = field(default_factory=list)
    solution: Solution | None = None


def conclude(network, certificate, tol, status=Status.NO_PROGRESS, **known):
    """Return the result; warn where its gap is above `tol`, and say how the solver ended."""
    converged = certificate.reaches(tol)
    if not converged:
        warn(
            f"the solver was {status} at a relative gap of {certificate.gap:.2e}, above tol={tol:.2e} (scope "
            f'"{certificate.scope}"); the best network found is kept',
            ConvergenceWarning,
        )
    return SpecialResult(network, certificate, converged, Status.SOLVED if converged else status, **known)


def check_problem(X, Y, alpha, tol, name="X"):
    """Return X, Y as a matrix, alpha and tol as numbers; raise TypeError or ValueError where one is not valid."""
    X, Y = check_array(X, input_name=name), check_array(np.reshape(Y, (len(Y), -1)), input_name="Y")
    check_consistent_length(X, Y)
    return X, Y, check_size("alpha", alpha), check_positive("tol", tol)


@dataclass(frozen=True)
class LossDual:
    """The dual max -L*(-V) subject to F'V = 0 and kappa(V) <= alpha, of a penalty alpha R over all networks.

    `kappa` includes rounding and has the Lipschitz constant `steepness`; the orthonormal `basis` spans F.
    """

    loss: Loss
    Y: np.ndarray
    alpha: float
    F: np.ndarray
    basis: np.ndarray
    kappa: Callable
    steepness: float

    def certify(self, objective, candidates):
        """Return the certificate of an objective by the best of some dual vectors, made feasible, and that vector."""
        free, best = FreeColumns(self.F), (-1.0, None)
        for V in candidates:
            V = self.loss.project_dual(self.Y, V, self.basis)
            norm = self.kappa(V)
            V = self.loss.best_scale(self.Y, V, self.alpha / norm if norm > 0 else np.inf) * V
            value = proved_value(self.loss, self.Y, free, V, self.steepness / self.alpha)
            best = max(best, (value, V), key=lambda pair: pair[0])
        # below this both objective and bound are zero up to rounding
        rounding = self.loss.value(self.Y, np.zeros_like(self.Y)) * (100 * np.finfo(float).eps) ** 2
        bound = uncontradicted(objective, float(best[0]), rounding)
        return Certificate(objective, bound, "global", rounding), best[1]
