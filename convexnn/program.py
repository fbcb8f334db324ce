"""The convex program of a network over given patterns, its solutions and their certificates.

    minimise over W, beta   L(A(W) + F beta) + alpha R(W)   subject to   W_b in K_b

`A` is a `Design` (a block b for each pattern and sign), `R` a penalty, `F` the free columns (output bias, linear skip).
The dual is max D(V) = -L*(-V) subject to kappa(V) <= alpha and F'V = 0. Any fit Z gives a dual feasible point: project
-grad L(Z) onto F'V = 0 and scale it until kappa(V) <= alpha. D of that point is a lower bound of the program, whatever
solver made Z.

References
----------
M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers: exact polynomial-time convex optimization
formulations for two-layer networks, ICML.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from .architecture import Architecture
from .arrangements import Arrangements, resolve_arrangements
from .certificate import Certificate
from .cones import ArrangementCones, FreeCones
from .design import Design
from .enumeration import interior_gates
from .losses import Squared
from .penalties import GroupL2
from .pricing import kappa
from .validation import check_positive

__all__ = ["Program", "Solution", "build_program"]

# Residuals below this part of |Y| are rounding.
RESIDUAL_TOL = 100 * np.finfo(float).eps
# Sizes of data whose products have squares in the range of floating point, with room for small residuals.
SIZES = (1e-100, 1e100)


@dataclass(frozen=True, eq=False)
class Program:
    """minimise L(A(W) + F beta) + alpha R(W) subject to W_b in K_b.

    Parameters
    ----------
    Y : ndarray of shape (n_samples, n_outputs)
        Targets.
    design : Design
        The map A from blocks to predictions.
    cones : ArrangementCones or FreeCones
        The cones K_b.
    loss : Squared
        The loss L.
    penalty : GroupL2
        The penalty R.
    alpha : float
        Regularisation strength, the lambda of the papers and the alpha of scikit-learn's MLPRegressor at full batches.
    free : ndarray of shape (n_samples, n_free)
        The free columns F.
    architecture : Architecture
        The network that the blocks stand for.
    neglected : float, default=0
        Spectral norm of what was left out of the data, in `in_row_space`.
    """

    Y: np.ndarray
    design: Design
    cones: ArrangementCones | FreeCones
    loss: Squared
    penalty: GroupL2
    alpha: float
    free: np.ndarray
    architecture: Architecture
    neglected: float = 0.0

    @property
    def scope(self):
        """The scope of this program's certificates, "sampled" or "global".

        Gated networks are bounded over the given gates only: a gate on a wall has a pattern that no cell has.
        """
        complete = self.design.arrangements.complete and self.architecture.activation == "relu"
        return "global" if complete else "sampled"

    @property
    def block_shape(self):
        """Shape of W, (n_blocks, n_hidden_features, n_outputs)."""
        return self.design.n_blocks, self.design.X.shape[1], self.Y.shape[1]

    def predict(self, W, beta):
        """Return Z = A(W) + F beta, shape (n_samples, n_outputs)."""
        return self.design.matvec(W) + self.free @ beta

    def objective(self, W, beta):
        """Return L(A(W) + F beta) + alpha R(W)."""
        return self.loss.value(self.Y, self.predict(W, beta)) + self.alpha * self.penalty.value(W)

    def zero(self):
        """Return W = 0 and the best beta for it."""
        basis, coefficients = self.free_basis
        return np.zeros(self.block_shape), coefficients @ self.loss.fit_free(self.Y, basis)

    def at(self, alpha):
        """Return the program at another alpha."""
        return replace(self, alpha=alpha)

    def centred(self, beta):
        """Return the program for what the free fit F beta leaves of Y, with orthonormal free columns.

        Its coefficients b stand for beta + M b, M of `free_basis`. The loss has to be translation invariant.
        """
        return replace(self, Y=self.Y - self.free @ beta, free=self.free_basis[0])

    def rescaled(self, unit_x, unit_y):
        """Return the program for X / unit_x and Y / unit_y: W in units of unit_y / unit_x, beta in those of unit_y."""
        design = replace(self.design, X=self.design.X / unit_x)
        cones = make_cones(design, self.architecture)
        return replace(
            self,
            Y=self.Y / unit_y,
            design=design,
            cones=cones,
            alpha=self.alpha / (unit_x * unit_y),
            neglected=self.neglected / unit_x,
        )

    def project_dual(self, V):
        """Project V onto {F'V = 0}; what is only rounding of Y becomes zero."""
        basis, _ = self.free_basis
        for _ in range(2):  # once more: what is left may be small beside the rounding of what was taken away
            V = V - basis @ (basis.T @ V)
        return V if np.linalg.norm(V) > RESIDUAL_TOL * np.linalg.norm(self.Y) else np.zeros_like(V)

    @property
    def rounding(self):
        """Difference of objective and bound that is rounding where both should be zero."""
        return float(self.loss.value(self.Y, 0.0) * RESIDUAL_TOL**2)

    def dual_value(self, V, norm):
        """Return the largest D(t V) with |t| norm <= alpha, for norm >= kappa(V): a lower bound of the optimum."""
        limit = self.alpha / norm if norm > 0 else np.inf
        return float(-self.loss.conjugate(self.Y, -self.loss.best_scale(self.Y, V, limit) * V))

    def dual_rounding(self, V, dtype=np.float64):
        """Return the size of the rounding errors of X' D V in products of a precision."""
        return 8 * float(np.finfo(dtype).eps) * np.linalg.norm(self.design.X) * np.linalg.norm(V)

    def certificate(self, W, beta, V=None):
        """Bound the optimum from below and compare.

        The bound is D(t V) = -L*(-t V), V the projection of -grad L(Z) onto {F'V = 0} and t the best scale with
        kappa(t V) <= alpha, over the patterns of this program.

        Parameters
        ----------
        W : ndarray of shape (n_blocks, n_features, n_outputs)
            Feasible blocks.
        beta : ndarray of shape (n_free, n_outputs)
            Coefficients of the free columns.
        V : ndarray of shape (n_samples, n_outputs) or None, default=None
            Another dual vector to try, from a solver; it need not be feasible.

        Returns
        -------
        Certificate
            With the better of the two bounds.
        """
        candidates = [-self.loss.grad(self.Y, self.predict(W, beta))] + ([] if V is None else [V])
        bound = max(self.lower_bound(candidate) for candidate in candidates)
        return Certificate(self.objective(W, beta), bound, self.scope, self.rounding)

    def lower_bound(self, V):
        """Return the dual value of the best dual feasible multiple of the projection of V onto {F'V = 0}."""
        V = self.project_dual(V)
        return self.dual_value(V, kappa(self.design, self.cones, self.penalty, V) + self.dual_rounding(V))

    def dual_at_zero(self):
        """Return -grad L at the best free fit, the dual vector of the zero network; kappa of it is alpha_max."""
        W, beta = self.zero()
        return self.project_dual(-self.loss.grad(self.Y, self.predict(W, beta)))

    def require_patterns(self):
        """Raise ValueError if the program has no patterns."""
        if len(self.design.arrangements) == 0:
            raise ValueError(
                'arrangements="adaptive" is for solve_generation, which finds the patterns; this solver needs given '
                'ones: a number to sample, "all", or gates'
            )

    def over(self, arrangements):
        """Return the program over other patterns of the same data."""
        design = self.design.over(arrangements)
        other = replace(self, design=design, cones=make_cones(design, self.architecture))
        other.__dict__["free_basis"] = self.free_basis
        return other

    def dual_neglected(self, V):
        """Return how much kappa(V) of the whole data may exceed that of this program.

        |V'(Xu)_+ - V'(X_r u)_+| <= |V| |(X - X_r) u| <= |V| sigma_{r+1} for the data X_r of rank r.
        """
        return self.neglected * float(np.linalg.norm(V))

    def in_row_space(self, most=None):
        """Return the program in coordinates of the row space of X, and their basis (n_features, rank).

        Blocks W of that program are blocks W basis' of this one: same predictions, norms and cones, fewer features.
        With `most` only that many of the leading singular vectors are kept, and the program has a higher optimum.
        `neglected` is the largest singular value left out, rounding of X where the rank is kept.
        """
        X = self.design.X
        scale = np.linalg.norm(X, axis=0)
        scale[scale == 0] = 1.0
        relative = np.linalg.svd(X / scale, compute_uv=False)  # a small unit is no reason to drop a column
        rank = int(np.count_nonzero(relative > max(X.shape) * np.finfo(float).eps * relative[0]))
        kept = max(rank if most is None else min(rank, most), 1)
        if kept == X.shape[1]:
            return self, np.eye(kept)
        _, singular, Vt = np.linalg.svd(X, full_matrices=False)
        basis = Vt[:kept].T
        design = replace(self.design, X=X @ basis)
        neglected = float(singular[kept]) if kept < len(singular) else 0.0
        return replace(self, design=design, cones=make_cones(design, self.architecture), neglected=neglected), basis

    @cached_property
    def free_basis(self):
        """An orthonormal basis Q (n_samples, rank) of the free columns, and M (n_free, rank) such that Q = F M."""
        scale = np.linalg.norm(self.free, axis=0)
        scale[scale == 0] = 1.0
        if self.free.shape[1] == 0:
            return self.free, np.zeros((0, 0))
        U, singular, Vt = np.linalg.svd(self.free / scale, full_matrices=False)
        kept = singular > len(U) * np.finfo(float).eps * singular[0]
        return U[:, kept], Vt[kept].T / singular[kept] / scale[:, None]


@dataclass(frozen=True, eq=False)
class Solution:
    """A feasible point of a program and what is proved about it.

    Parameters
    ----------
    program : Program
        The program; of a solver that generates patterns, the program over those that it kept.
    W : ndarray of shape (n_blocks, n_features, n_outputs)
        Blocks, each in its cone; most are exactly zero.
    beta : ndarray of shape (n_free, n_outputs)
        Coefficients of the free columns.
    Z : ndarray of shape (n_samples, n_outputs)
        Predictions.
    certificate : Certificate
        Objective, lower bound and scope.
    n_iter : int
        Iterations of the solver.
    converged : bool
        Whether the relative gap is at most the tolerance asked for.
    status : str
        What the solver said.
    history : list of dict
        One record an iteration that was observed: time (s), objective, lower_bound, gap, scope, n_blocks. Those of
        `solve_generation` are of scope "local"; the last is what the certificate says.
    """

    program: Program
    W: np.ndarray
    beta: np.ndarray
    Z: np.ndarray
    certificate: Certificate
    n_iter: int
    converged: bool
    status: str
    history: list = field(default_factory=list)

    def trimmed(self):
        """Return the solution over the patterns of its nonzero blocks alone, with gates inside their cells."""
        program, arrangements = self.program, self.program.design.arrangements
        active = np.flatnonzero(self.W.any(axis=(1, 2)))
        index = np.unique(program.design.pattern_index(active))
        n_signs = len(program.design.signs)
        W = self.W[np.concatenate([index + k * len(arrangements) for k in range(n_signs)])]
        # a sum of points of a cell is in the cell
        points = W.reshape(n_signs, len(index), *W.shape[1:]).sum(axis=(0, 3))
        gates = interior_gates(program.design.X, points, arrangements.patterns(index))
        kept = Arrangements(arrangements.bits[index], gates, arrangements.n_samples)
        return replace(self, program=program.over(kept), W=W)


def build_program(X, y, alpha, arrangements, architecture=None, random_state=None):
    """Build the convex program of a network on data.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Targets.
    alpha : float
        Regularisation strength, above 0.
    arrangements : "adaptive", int, "all", Arrangements, or array-like of gates
        "adaptive": none yet, `solve_generation` finds them. Else a number of sampled patterns, all of them, or those of
        given gates (n_gates, n_hidden_features), where a hidden bias counts as one more feature.
    architecture : Architecture or None, default=None
        The network; None is a ReLU network with penalised hidden biases and a free output bias.
    random_state : int, RandomState instance or None, default=None
        Source of sampled patterns.

    Returns
    -------
    Program
        Ready for a solver.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    architecture = Architecture() if architecture is None else architecture
    if not isinstance(architecture, Architecture):
        raise TypeError(f"architecture must be an Architecture or None; got {architecture!r}")
    alpha = check_positive("alpha", alpha)
    X = check_array(X, dtype=np.float64, input_name="X")
    Y = check_array(np.atleast_1d(y), dtype=np.float64, input_name="y", ensure_2d=False)
    Y = Y.reshape(len(Y), -1)
    check_consistent_length(X, Y)
    sizes = np.array([np.abs(X).max(), np.abs(Y).max()])
    if not all(size == 0 or SIZES[0] <= size <= SIZES[1] for size in (*sizes, np.exp(np.log(sizes[sizes > 0]).sum()))):
        raise ValueError(
            f"the largest entries of X and of y, and their product, must be from {SIZES[0]:g} to {SIZES[1]:g}, for "
            f"squares to be in the range of floating point; got {sizes[0]:g} and {sizes[1]:g}: change their units"
        )
    if Y.shape[1] != 1:
        raise ValueError(f"y must have one output, shape (n_samples,) or (n_samples, 1); got shape {np.shape(y)}")
    if isinstance(arrangements, str) and arrangements == "adaptive" and architecture.activation != "relu":
        raise ValueError(
            f'arrangements="adaptive" is for ReLU networks; the patterns of activation {architecture.activation!r} are '
            "fixed beforehand: give a number to sample, or gates"
        )
    rows = architecture.hidden_rows(X)
    arrangements = resolve_arrangements(rows, arrangements, random_state)
    design = Design(rows, arrangements, (1.0, -1.0) if architecture.activation == "relu" else (1.0,))
    cones = make_cones(design, architecture)
    return Program(Y, design, cones, Squared(), GroupL2(), alpha, architecture.free_columns(X), architecture)


def make_cones(design, architecture):
    """Return the cones that the blocks of a design have in an architecture."""
    return ArrangementCones(design) if architecture.activation == "relu" else FreeCones()
