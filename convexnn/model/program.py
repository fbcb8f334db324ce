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
from typing import Any, Self

import numpy as np

from ..geometry.arrangements import Arrangements, unique_bits
from ..geometry.enumeration import distinct_walls, interior_gates
from ..geometry.selections import selection_walls
from ..losses.duals import SEPARATED_TOL, least_loss
from .architecture import Architecture, HiddenLayer
from .certificate import Certificate
from .cones import ArrangementCones, make_cones
from .design import Design
from .rounding import POINT_TOL, FreeColumns, dual_domain, loss_rounding, proved_value
from .selection_cones import SelectionCones

__all__ = ["Program", "Solution"]

EPS = float(np.finfo(float).eps)
# Residuals below this fraction of |Y| are rounding.
RESIDUAL_TOL = 100 * EPS
# Differences below this fraction of the loss of the free fit are nothing.
NEGLIGIBLE_TOL = 1e-12
# Corrections of a dual vector on stiff free columns, each of which gives it five digits or more.
REFINEMENTS = 3


@dataclass(frozen=True, eq=False)
class Program:
    """The convex program min L(A(W) + F beta) + alpha R(W) subject to W_b in K_b.

    Parameters
    ----------
    Y : ndarray of shape (n_samples, n_outputs)
        Targets.
    design : Design
        The map A from blocks to predictions.
    cones : ArrangementCones, SelectionCones or FreeCones
        The cones K_b.
    loss : object
        The loss L, of `convexnn.losses`.
    penalty : object
        The penalty R, of `convexnn.model.penalties`.
    alpha : float
        Regularisation strength, the lambda of the papers and the alpha of scikit-learn's MLPRegressor at full batches.
    free : ndarray of shape (n_samples, n_free)
        The free columns F.
    architecture : Architecture
        The network that the blocks stand for.
    hidden : HiddenLayer
        What the neurons see, and their weights in terms of blocks.
    neglected : float, default=0
        Spectral norm of what was left out of the data, by `convexnn.model.reduction`.
    bias_unit : float, default=0
        The t of `convexnn.model.architecture` where hidden biases are free, else 0.
    free_columns : FreeColumns or None, default=None
        The free columns of the data, where `free` is a basis of them; None: those in `free`.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all").block_shape  # of 4 patterns, each with both signs
    (8, 2, 1)
    """

    Y: np.ndarray
    design: Design
    cones: Any
    loss: Any
    penalty: Any
    alpha: float
    free: np.ndarray
    architecture: Architecture
    hidden: HiddenLayer
    neglected: float = 0.0
    bias_unit: float = 0.0
    free_columns: FreeColumns | None = None

    def __post_init__(self):
        if self.free_columns is None:
            object.__setattr__(self, "free_columns", FreeColumns(self.free))

    @property
    def scope(self) -> str:
        """The scope of this program's certificates, "sampled" or "global".

        Gated networks are bounded over the given gates only: a gate on a wall has a pattern that no cell has. Nothing
        is proved over all networks where free columns are dependent up to rounding, but not exactly.
        """
        fixed = self.architecture.activation == "gated_relu"
        everything = self.design.arrangements.complete and not fixed and self.free_columns.resolved
        return "global" if everything else "sampled"

    @property
    def relaxation(self) -> float:
        """Largest factor by which kappa of the network exceeds that of the rows: above 1 for free hidden biases."""
        return float(np.hypot(1.0, self.bias_unit))

    @property
    def block_shape(self) -> tuple[int, int, int]:
        """Shape of W, (n_blocks, n_hidden_features, n_outputs); patches with weights of their own have columns too."""
        return self.design.n_blocks, self.design.X.shape[1], self.design.n_columns(self.Y.shape[1])

    def predict(self, W: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """Return Z = A(W) + F beta, shape (n_samples, n_outputs)."""
        return self.design.matvec(W) + self.free @ beta

    def objective(self, W: np.ndarray, beta: np.ndarray) -> float:
        """Return L(A(W) + F beta) + alpha R(W), without free hidden biases in R."""
        return self.loss.value(self.Y, self.predict(W, beta)) + self.alpha * self.decay(W)

    def rounding(self, beta: np.ndarray, Z: np.ndarray) -> float:
        """Return how far the objective of predictions Z may be from its exact value where free coefficients cancel."""
        terms = np.abs(self.free) @ np.abs(beta)
        return loss_rounding(self.loss, self.Y, Z, EPS * (self.free.shape[1] + 1) * terms)

    def decay(self, W: np.ndarray) -> float:
        """Return R(W) as the network is charged: without free hidden biases, the last row of a block."""
        return self.penalty.value(W[:, :-1] if self.architecture.hidden_bias == "free" else W)

    def zero(self) -> tuple[np.ndarray, np.ndarray]:
        """Return W = 0 and the best beta for it."""
        return np.zeros(self.block_shape), self.free_fit

    @cached_property
    def free_fit(self) -> np.ndarray:
        """The best beta for W = 0, shape (n_free, n_outputs)."""
        basis, coefficients = self.free_basis
        return coefficients @ self.loss.fit_free(self.Y, basis)

    def _with_free_fit(self, program):
        """Return a program of the same targets that is told its free fit, where it is known from this one."""
        if "free_fit" in vars(self):
            vars(program)["free_fit"] = self.free_fit
        return program

    def at(self, alpha: float) -> Self:
        """Return the program at another alpha."""
        return self._with_free_fit(replace(self, alpha=alpha))

    def project_dual(self, V: np.ndarray) -> np.ndarray:
        """Project V onto {F'V = 0} and the domain of the dual; what is only rounding becomes zero."""
        V = self.loss.project_dual(self.Y, V, self.free_basis[0])
        if not (np.abs(V) > RESIDUAL_TOL * self.loss.gradient_scale(self.Y) * self.loss.weights).any():
            return np.zeros_like(V)
        for _ in range(REFINEMENTS if self.free_columns.is_stiff else 0):  # the basis has a few digits only
            change = self.free_columns.correction(V, *dual_domain(self.loss, self.Y))
            V = V if change is None else V + change
        return V

    @cached_property
    def negligible(self) -> float:
        """Difference of objective and bound that is rounding where both should be zero.

        That of residuals which are rounding, beside which samples of small weight are not to vanish: the free fit is
        not zero where it is not on all samples.
        """
        if not self.fits_freely:
            fit = self.free @ self.free_fit
            return min(self._rounding_at_zero, NEGLIGIBLE_TOL * float(self.loss.value(self.Y, fit)))
        return self._rounding_at_zero

    @cached_property
    def _rounding_at_zero(self):
        if self.loss.vanishes:  # residuals are rounding of Y
            size = max(self.loss.value(self.Y, (1 + part) * self.Y) for part in (-RESIDUAL_TOL, RESIDUAL_TOL))
        else:
            size = self.loss.value(self.Y, np.zeros_like(self.Y)) * RESIDUAL_TOL**2
        return float(size) if np.isfinite(size) else 0.0

    @cached_property
    def separated(self) -> bool:
        """Whether the free columns separate the labels: the loss has no minimum, and tends to 0."""
        least = SEPARATED_TOL * least_loss(self.loss)
        return not self.loss.vanishes and self.loss.value(self.Y, self.free @ self.zero()[1]) <= least

    def dual_value(self, V: np.ndarray, norm: float) -> float:
        """Return the largest D(t V) with t kappa <= alpha, for norm >= kappa(V): a lower bound of the optimum.

        It is one for the network, whose kappa is larger where hidden biases are free.
        """
        return self.scaled_value(V, norm * self.relaxation)

    def dual_point(self, V: np.ndarray, norm: float) -> np.ndarray:
        """Return the multiple t V at which `dual_value` is attained."""
        return self._scaled(V, norm * self.relaxation)

    def scaled_value(self, V: np.ndarray, norm: float) -> float:
        """Return the largest D(t V) with |t| norm <= alpha."""
        return float(-self.loss.conjugate(self.Y, -self._scaled(V, norm)))

    def _scaled(self, V, norm):
        return self.loss.best_scale(self.Y, V, self.alpha / norm if norm > 0 else np.inf) * V

    def proved_bound(self, V: np.ndarray, norm: float) -> float:
        """Return a lower bound of the optimum, every rounding charged, for norm >= kappa(V) over all it is to hold for.

        V is scaled as for `dual_value`. 0, which all objectives exceed, where no exactly feasible vector is near.
        """
        steepest = self.relaxation * max(1.0, abs(self.design.slope)) * np.sqrt(self.design.n_patches)
        steepest *= self.penalty.dual_factor * float(np.linalg.norm(self.design.X))
        T = self._scaled(V, norm * self.relaxation * (1 + POINT_TOL))
        return proved_value(self.loss, self.Y, self.free_columns, T, steepest / self.alpha)

    @cached_property
    def left_out(self) -> np.ndarray:
        """How much of a dual vector's weight cells between walls that were taken as one may add to kappa, by row."""
        X, angle = self.design.X, self.design.arrangements.angle
        if isinstance(self.cones, ArrangementCones):
            return abs(1.0 - self.design.slope) * distinct_walls(X).slack(angle)
        if self.selects and angle > 0.0:
            return selection_walls(X, self.design.n_patches).slack(angle)[: len(X)]
        return np.zeros(len(X))

    def free_kappa(self, V: np.ndarray) -> float:
        """Return a bound of kappa(V) over all patterns that takes no search, rounding included.

        sum_g |sum of v_k, k in g| |x_g| over groups g of equal samples, whose neurons are active together where they
        follow from the weights: at once for features that do not vary. inf where the penalty is not one of each block.
        """
        if not self.penalty.separable:
            return np.inf
        first = group = np.arange(len(V))
        if self.architecture.constrained:
            _, first, group = unique_bits(np.ascontiguousarray(self.design.X).reshape(len(V), -1).view(np.uint8))
        sums = np.zeros((len(first), V.shape[1]))
        np.add.at(sums, group, V)
        return self._steepest * float(np.linalg.norm(sums, axis=1) @ self._lengths[first]) + self.dual_rounding(V)

    def dual_rounding(self, V: np.ndarray, dtype: type = np.float64) -> float:
        """Return the size of the rounding errors of X' D V in products of a precision.

        sum_k |v_k| |x_k| times a few eps. Sums are made in 16 lanes at least. That of single precision is an estimate:
        its bounds are proved anew.
        """
        terms = 8 + (len(self.design.X) / 16 if dtype is np.float64 else 0)
        sizes = float(np.linalg.norm(V, axis=1) @ self._lengths)
        return terms * float(np.finfo(dtype).eps) * self._steepest * sizes

    @cached_property
    def _lengths(self):
        """Lengths of the samples, those of all patches of one."""
        return np.linalg.norm(self.design.X, axis=1).reshape(len(self.Y), -1).sum(axis=1)

    @property
    def _steepest(self):
        """The dual norm of a block is at most this times its length where all samples are active."""
        return max(1.0, abs(self.design.slope)) * self.penalty.dual_factor

    def any_dual_at_zero(self) -> np.ndarray:
        """Return the dual vector of the zero network if the loss is smooth, else one of them or near them."""
        return self.project_dual(-self._grad_at_zero)

    @cached_property
    def fits_freely(self) -> bool:
        """Whether the free columns fit exactly, up to rounding: there is nothing left for neurons."""
        fit = self.free @ self.free_fit
        terms = np.abs(self.Y) + np.abs(self.free) @ np.abs(self.free_fit)
        on_all = (np.abs(self.Y - fit) <= RESIDUAL_TOL * np.linalg.norm(terms)).all() or not self.loss.vanishes
        return bool(on_all and self.loss.value(self.Y, fit) <= self._rounding_at_zero)

    @cached_property
    def duals_at_zero(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the dual vectors of the zero network, -dL at the best free fit; they are one if L is smooth."""
        beta = self.zero()[1]
        (lower, upper), G = self.loss.domain(self.Y), self._grad_at_zero
        nonsmooth = self.loss.nonsmooth_at(self.Y, self.free @ beta)
        return np.where(nonsmooth, -upper, -G), np.where(nonsmooth, -lower, -G)

    @cached_property
    def _grad_at_zero(self):
        return self.loss.stationary_grad(self.Y, self.free @ self.zero()[1], self.free_basis[0])

    @property
    def by_prox(self) -> bool:
        """Whether the prox of the penalty on the cones has a formula: Euclidean norms, or no cones."""
        return self.penalty.rotation_invariant or not self.architecture.constrained

    @property
    def selects(self) -> bool:
        """Whether patches are pooled by their maximum: patterns are then selections of a patch for each sample."""
        return isinstance(self.cones, SelectionCones)

    @property
    def shares_neurons(self) -> bool:
        """Whether outputs share neurons on cones, under true weight decay: no program with one block a cell."""
        decay = self.architecture.output_penalty == "weight_decay" and self.architecture.constrained
        return decay and self.Y.shape[1] > 1

    def require_blocks(self) -> None:
        """Raise ValueError if the network is not the program over the blocks of its patterns."""
        if self.shares_neurons:
            raise ValueError(
                'output_penalty="weight_decay" with several outputs is for solve_vector_generation; other solvers '
                'need output_penalty="l1", or networks without cones (gated_relu, linear)'
            )

    def require_patterns(self) -> None:
        """Raise ValueError if the program has no patterns, or is not one over blocks."""
        self.require_blocks()
        if len(self.design.arrangements) == 0:
            raise ValueError(
                'arrangements="adaptive" is for solve_generation, which finds the patterns; this solver needs given '
                'ones: a number to sample, "all", or gates'
            )

    def over(self, arrangements: Arrangements) -> Self:
        """Return the program over other patterns of the same data."""
        return self._with_free_fit(self.with_design(self.design.over(arrangements)))

    def with_design(self, design: Design) -> Self:
        """Return the program of another design, with its cones."""
        return replace(self, design=design, cones=make_cones(design, self.architecture))

    def dual_neglected(self, V: np.ndarray) -> float:
        """Return how much kappa(V) of the whole data may exceed that of this program.

        |V'(Xu)_+ - V'(X_r u)_+| <= |V| |(X - X_r) u| <= |V| sigma_{r+1} for the data X_r of rank r.
        """
        steepest = max(1.0, abs(self.design.slope)) * np.sqrt(self.design.n_patches) * self.penalty.dual_factor
        return self.neglected * steepest * float(np.linalg.norm(V))

    @property
    def free_basis(self) -> tuple[np.ndarray, np.ndarray]:
        """An orthonormal basis Q (n_samples, rank) of the free columns, and M (n_free, rank) such that Q = F M."""
        Q, M = self.free_columns.basis
        return (Q, M) if self.free is self.free_columns.F else (self.free, np.eye(self.free.shape[1]))


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
        One record an iteration that was observed: time (s), objective, lower_bound, gap, scope, provisional, n_blocks.
        Those of `solve_generation` are of scope "local"; the last is what the certificate says. A bound is provisional
        where only a short search supports it, or where a later point is below it.
    dual : ndarray of shape (n_samples, n_outputs) or None
        The dual vector V of the lower bound, F'V = 0 and kappa(V) <= alpha as far as the scope of the certificate says
        (of a proved bound to within the gap). None where the solver has none.
    interrupted : bool
        Whether Ctrl-C ended the run, maybe after the tolerance was reached.

    Examples
    --------
    >>> from convexnn.model import build_program
    >>> from convexnn.solvers import solve_working_set
    >>> solution = solve_working_set(build_program([[1.0], [-1.0]], [1.0, 0.0], 0.1, "all"))
    >>> round(solution.certificate.objective, 6), solution.status
    (0.065711, 'solved')
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
    dual: np.ndarray | None = None
    interrupted: bool = False

    def trimmed(self) -> Self:
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
