"""scikit-learn estimators: convex training behind fit and predict."""

from dataclasses import replace
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .alpha_max import alpha_max_over_all, kappa_at_zero
from .architecture import Architecture
from .building import build_program
from .minimal import minimal_network
from .recovery import recover
from .solvers import get_solver, solve_generation
from .validation import check_choice, check_flag, check_positive

__all__ = ["ConvexReLURegressor"]

# alpha="auto" is this part of alpha_max.
AUTO_FRACTION = 0.01
# Patterns sampled for gated networks where no number is given.
GATED_PATTERNS = 1000


class ConvexReLURegressor(RegressorMixin, BaseEstimator):
    """Two-layer ReLU network for regression, trained to the global optimum of a convex program.

    The network f(x) = sum_j (x.w_j + b_j)_+ a_j + b_0 (+ x.w_0) minimises

        1/2 sum_k (f(x_k) - y_k)^2 + alpha / 2 sum_j (|w_j|^2 + b_j^2 + a_j^2)

    over all networks, of any width [1]_: over all activation patterns of the neurons, or those of `arrangements`. No
    learning rate, no number of neurons. `certificate_` says how far from the optimum the network is, and whether that
    is proved or an estimate.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the weight decay, above 0: the same number as MLPRegressor's alpha at full batches. "auto" is 0.01
        alpha_max, where alpha_max is the smallest alpha at which no neuron is active.
    activation : {"relu", "gated_relu"}, default="relu"
        ReLU, or gated ReLU with the gates of `arrangements`: a convex model of its own.
    arrangements : "adaptive", int, "all", or array-like of shape (n_gates, n_hidden_features), default="adaptive"
        Activation patterns. "adaptive" trains over all of them: those that matter are generated as they are needed; for
        gated ReLU, whose gates are fixed beforehand, it means 1000. A number samples that many (all of them, where the
        data have no more), "all" enumerates them (exact, for few features), an array gives gates, whose patterns are
        used. With a penalised hidden bias a gate has one more entry, for the bias.
    hidden_bias : {"penalized", "none"}, default="penalized"
        Whether neurons have a bias, penalised like their weights.
    fit_intercept : bool, default=True
        Whether there is a free output bias b_0.
    skip : bool, default=False
        Whether there is a free linear skip connection x.w_0.
    solver : str, default="auto"
        "auto": `solve_generation` with "adaptive", else `solve_working_set`. With given patterns also "newton" (the
        same), "fista" (the same with accelerated proximal gradient inside), "cvxpy" (the reference: the whole program
        in cvxpy, solved by Clarabel), or the name of an installed solver of cvxpy, such as "SCS".
    scope : {"auto", "local", "global"}, default="auto"
        With "adaptive": what to certify. "local" is an estimate by search over all patterns, "global" is proved
        (seconds up to about six features), "auto" proves what a short attempt can. Given patterns have a scope of their
        own.
    rank : int or None, default=None
        With "adaptive": train in this many leading singular directions of the data, as in `solve_generation`; the
        certificate is for the whole data.
    tol : float, default=1e-4
        Compared with the relative gap (objective - lower_bound) / objective of `certificate_`.
    max_iter : int or None, default=None
        Limit of the solver's iterations; None is the solver's own.
    time_limit : float or None, default=None
        Limit of the solver's run in seconds.
    random_state : int, RandomState instance or None, default=None
        Source of the sampled patterns, and of the starts of "adaptive". With "all" or given gates nothing is random.
    verbose : bool, default=False
        Whether the solver prints its progress.

    Attributes
    ----------
    network_ : Network
        The trained network.
    certificate_ : Certificate
        Objective, lower bound, relative gap, and scope: "sampled" when the bound holds for the given patterns or gates,
        "local" when search over all patterns found nothing that violates it, "global" when it is proved for every
        ReLU network.
    alpha_ : float
        The alpha used. 1.0 for "auto" when the free part fits y exactly, and no alpha activates a neuron.
    alpha_max_ : float
        Smallest alpha at which no neuron is active, over the patterns used; with "adaptive" over all of them, as far as
        search finds it (`alpha_max` proves it).
    arrangements_ : Arrangements
        The patterns used; with "adaptive" those of the neurons.
    n_neurons_ : int
        Number of neurons.
    coefs_ : list of ndarray, shapes (n_features, n_neurons) and (n_neurons, 1)
        Weights, as in MLPRegressor. The skip is `network_.skip`.
    intercepts_ : list of ndarray, shapes (n_neurons,) and (1,)
        Biases, as in MLPRegressor.
    n_iter_ : int
        Iterations of the solver.
    history_ : list of dict
        Records of time (s), objective, lower_bound, gap, scope, n_blocks. With "adaptive" all but the last are local.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, when X has string names.

    References
    ----------
    .. [1] M. Pilanci and T. Ergen (2020), Neural networks are convex regularizers: exact polynomial-time convex
       optimization formulations for two-layer networks, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> model = ConvexReLURegressor(alpha=0.01, arrangements="all").fit(x, np.abs(x).ravel())
    >>> model.certificate_.scope
    'global'
    >>> model.predict([[0.5]]).round(2)
    array([0.5])
    """

    def __init__(
        self,
        alpha="auto",
        *,
        activation="relu",
        arrangements="adaptive",
        hidden_bias="penalized",
        fit_intercept=True,
        skip=False,
        solver="auto",
        scope="auto",
        rank=None,
        tol=1e-4,
        max_iter=None,
        time_limit=None,
        random_state=None,
        verbose=False,
    ):
        self.alpha = alpha
        self.activation = activation
        self.arrangements = arrangements
        self.hidden_bias = hidden_bias
        self.fit_intercept = fit_intercept
        self.skip = skip
        self.solver = solver
        self.scope = scope
        self.rank = rank
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Targets.

        Returns
        -------
        ConvexReLURegressor
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are not as described.
        RuntimeError
            If the solver fails.

        Warns
        -----
        ConvergenceWarning
            If the relative gap stays above `tol`.
        """
        architecture = Architecture(self.activation, self.hidden_bias, self.fit_intercept, self.skip)
        alpha, arrangements = _check_alpha(self.alpha), self.arrangements
        check_choice("scope", self.scope, ("auto", "local", "global"))
        adaptive = isinstance(arrangements, str) and arrangements == "adaptive"
        if adaptive and self.activation == "gated_relu":
            adaptive, arrangements = False, GATED_PATTERNS
        if self.scope != "auto" and not adaptive:
            raise ValueError(
                f'scope must be "auto" but for "adaptive" arrangements of "relu" networks; got {self.scope!r}'
            )
        if self.rank is not None and not adaptive:
            raise ValueError(f'rank must be None but for "adaptive" ReLU networks; got {self.rank!r}')
        solve = get_solver("generation" if adaptive and self.solver == "auto" else self.solver)
        limits = {"tol": check_positive("tol", self.tol), "max_iter": self.max_iter, "time_limit": self.time_limit}
        verbose = check_flag("verbose", self.verbose)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        rng = check_random_state(self.random_state)
        program = build_program(X, y, 1.0, arrangements, architecture, rng)
        if adaptive:
            self.alpha_max_ = alpha_max_over_all(program, "local", random_state=rng).value
            own = {"scope": self.scope, "rank": self.rank, "random_state": rng}
            limits |= own if solve is solve_generation else {}
        else:
            self.alpha_max_ = kappa_at_zero(program)
        self.alpha_ = (AUTO_FRACTION * self.alpha_max_ or 1.0) if alpha == "auto" else alpha
        solution = solve(program.at(self.alpha_), verbose=verbose, **limits)
        self.arrangements_ = solution.program.design.arrangements
        self.network_ = minimal_network(recover(solution), X)
        # the network's own objective: in extreme units its rounding differs from the program's
        self.certificate_ = replace(solution.certificate, objective=self.network_.objective(X, y, self.alpha_))
        self.n_neurons_ = self.network_.n_neurons
        self.coefs_ = [self.network_.W1, self.network_.W2]
        self.intercepts_ = [self.network_.b1, self.network_.b2]
        self.n_iter_ = solution.n_iter
        self.history_ = solution.history
        return self

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions, in the unit of y.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.
        """
        check_is_fitted(self)
        return self.network_.predict(validate_data(self, X, dtype=np.float64, reset=False))


def _check_alpha(alpha):
    if isinstance(alpha, str) and alpha == "auto":
        return alpha
    if not isinstance(alpha, Real):
        raise TypeError(f'alpha must be a number above 0 or "auto"; got {alpha!r} of type {type(alpha).__name__}')
    return check_positive("alpha", alpha)
