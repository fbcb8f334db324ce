"""What the estimators share: fit and predict after scikit-learn, explanation, export, files, and a summary in words.

An estimator has parameters and an `_architecture()`; what regressors and classifiers share is in `estimators` and
`classifiers`.
"""

from __future__ import annotations

from copy import copy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..geometry.arrangements import Arrangements
from ..model.architecture import ACTIVATIONS, HIDDEN_BIASES, OUTPUT_PENALTIES, Architecture
from ..model.summary import summary
from ..networks.conversion import trained_model
from ..networks.explanation import Explanation, explain
from ..networks.export import to_mlp, to_onnx, to_torch
from ..networks.persistence import save
from ..utils.deadline import despite_interrupt, plain_interrupts, within
from ..utils.validation import check_numeric
from .inputs import checked_inputs
from .training import Training

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.neural_network import MLPClassifier, MLPRegressor

__all__ = ["ConvexNetworkEstimator", "TrainedModel", "checked_estimator", "flat_inputs"]

POSITIVE, COUNT = Interval(Real, 0, None, closed="neither"), Interval(Integral, 1, None, closed="left")


class TrainedModel:
    """What can be done with a fitted estimator: explanation, a summary, export and files."""

    def explain(self, X: ArrayLike) -> Explanation:
        """Explain predictions: contributions of the neurons, local linear models, activation regions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs.

        Returns
        -------
        Explanation
            Arrays, or data frames by `to_frame`; of classifiers it is about the network's outputs, before the sigmoid.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If X is not finite or has another number of features than in `fit`.
        """
        return explain(self, X)

    def summary(self) -> str:
        """Say in words what was trained: the optimum over which patterns, how exactly, proved or not, and what to do.

        Returns
        -------
        str
            Some sentences.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        model = trained_model(self)[0]
        facts = {"n_neurons": model.n_neurons_, "alpha": model.alpha_, "alpha_max": model.alpha_max_}
        seconds = model.history_[-1]["time"] if model.history_ else None
        return summary(model.certificate_, model.tol_, model.status_, time=seconds, **facts)

    def to_torch(self) -> Any:
        """Return the network as a module of PyTorch, in double precision.

        Returns
        -------
        torch.nn.Module
            Its outputs, shape (n_samples, n_outputs), are those of `network_`: predictions, or of classifiers what
            the decision function is made of.

        Raises
        ------
        ImportError
            Without PyTorch.
        """
        return to_torch(self)

    def to_onnx(self, path: str | Path, **options: Any) -> None:
        """Write the network to a file in the ONNX format.

        Parameters
        ----------
        path : str or Path
            The file.
        **options : dict
            As of `convexnn.networks.export.to_onnx`.

        Raises
        ------
        ImportError
            Without onnx.
        """
        to_onnx(self, path, **options)

    def to_mlp(self) -> MLPRegressor | MLPClassifier:
        """Return a fitted multilayer perceptron of scikit-learn with the same weights.

        Returns
        -------
        MLPRegressor or MLPClassifier
            It predicts the same.

        Raises
        ------
        ValueError
            If the network is none that scikit-learn has.
        """
        return to_mlp(self)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to a file that `convexnn.load` reads: arrays and JSON, no pickle.

        Parameters
        ----------
        path : str or Path
            The file, .npz.
        """
        save(self, path)


class ConvexNetworkEstimator(TrainedModel, BaseEstimator):
    """What all estimators of one alpha share: parameters, training, and predictions."""

    _parameter_constraints: ClassVar[dict] = {
        "alpha": [POSITIVE, StrOptions({"auto"})],
        "delta": [POSITIVE],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "activation": [StrOptions(ACTIVATIONS.keys())],
        "negative_slope": [Interval(Real, None, 1, closed="neither")],
        "arrangements": [StrOptions({"adaptive", "all"}), COUNT, "array-like", Arrangements],
        "hidden_bias": [StrOptions(set(HIDDEN_BIASES))],
        "fit_intercept": ["boolean"],
        "skip": ["boolean"],
        "hidden_norm": [StrOptions({"l2", "l1"}), Interval(Real, 0, 1, closed="neither")],
        "output_penalty": [StrOptions(set(OUTPUT_PENALTIES))],
        "solver": [str],
        "scope": [StrOptions({"auto", "local", "global"})],
        "rank": [COUNT, None],
        "tol": [POSITIVE],
        "max_iter": [COUNT, None],
        "time_limit": [POSITIVE, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Inputs; the second for convolutional and circular networks.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets, or classes.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Factors of the losses of samples, not negative: k is k copies of a sample.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are not as described, or parameters do not go together.
        RuntimeError
            If the solver fails.

        Warns
        -----
        ConvergenceWarning
            If the relative gap stays above `tol`.
        """
        # on a copy: what ends a fit before it is done leaves the estimator as it was
        self.__dict__ = vars(within(self.time_limit, copy(self)._fit, X, y, sample_weight))
        return self

    def _fit(self, X, y, sample_weight):
        """Train the network and set the fitted attributes."""
        with plain_interrupts():
            training = self._prepare(X, y, sample_weight)
            solution = training.solve(training.alpha(self.alpha))
        return despite_interrupt(self._publish, training, solution)

    def _publish(self, training: Training, solution) -> ConvexNetworkEstimator:
        """Set the fitted attributes of a solution."""
        training.publish(self, solution)
        self.coefs_, self.intercepts_ = self._weights()
        return self

    def _weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights and the biases of the network, layer by layer."""
        network = self.network_
        return [network.W1, network.W2], [network.b1, network.b2]

    def _outputs(self, X: ArrayLike) -> np.ndarray:
        """Return what the network predicts of new inputs."""
        X = self._checked(X)
        return self.network_.predict(X)

    def _checked(self, X: ArrayLike) -> np.ndarray:
        """Return new inputs as rows of features; raise where they are not those of `fit`."""
        check_is_fitted(self)
        X = flat_inputs(X, getattr(self, "input_shape", None))
        return checked_inputs(self, X, reset=False)

    def _architecture(self) -> Architecture:
        """Return the network that the parameters describe, for the features seen."""
        raise NotImplementedError

    def _prepare(self, X, y, sample_weight, **known) -> Training:
        """Return the problem of the estimator on data; of a classifier the `classes` may be known, if y lacks some."""
        raise NotImplementedError


def flat_inputs(X: ArrayLike, input_shape: tuple[int, ...] | None) -> ArrayLike:
    """Return inputs given as arrays of `input_shape` as rows, each in C order; others as they are.

    Raises ValueError where X has more than two axes and another shape; None for the shape allows rows only.
    """
    shape = np.shape(X) if isinstance(X, (list, tuple)) else getattr(X, "shape", ())
    if len(shape) <= 2:
        return X
    check_numeric("X", X)
    if input_shape is None or shape[1:] != tuple(input_shape):
        raise ValueError(f"X must have shape (n_samples, n_features) or (n_samples, *input_shape); got {shape}")
    return np.reshape(X, (shape[0], -1))


def checked_estimator(estimator: Any, default: ConvexNetworkEstimator) -> ConvexNetworkEstimator:
    """Return an estimator of this package, or the default for None; raise TypeError for anything else (a class too)."""
    if estimator is None:
        return default
    if not isinstance(estimator, ConvexNetworkEstimator):
        raise TypeError(
            "estimator must be a regressor or classifier of convexnn, such as ConvexReLURegressor(), or None; got "
            f"{estimator!r}"
        )
    return estimator
