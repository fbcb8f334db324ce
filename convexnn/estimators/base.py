"""What the estimators share: fit after scikit-learn, explanation, export, files, and a summary in words.

An estimator is a task (`tasks`) of a network (`dense`, `convolutional`, `circular`): the task has the loss, encodes the
targets and predicts, the network has an `_architecture()`.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from ..geometry.arrangements import Arrangements
from ..model.architecture import Architecture
from ..model.certificate import Certificate
from ..model.summary import summary
from ..networks.conversion import trained_model
from ..networks.explanation import Explanation, explain
from ..networks.export import to_mlp, to_onnx, to_torch
from ..networks.persistence import save
from ..utils.deadline import despite_interrupt, plain_interrupts, within
from .inputs import check_inputs, check_weights
from .parameters import COUNT, POSITIVE, Declared, fitted, parameter
from .training import Training, prepare_training

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.neural_network import MLPClassifier, MLPRegressor

__all__ = ["ConvexNetworkEstimator", "TrainedModel"]


class TrainedModel:
    """What can be done with a fitted estimator, or with the one in a fitted search."""

    def explain(self, X: ArrayLike) -> Explanation:
        """Explain predictions for X: contributions of the neurons, local linear models, activation regions.

        Of classifiers it is about the network's outputs, before the sigmoid.
        """
        return explain(self, X)

    def summary(self) -> str:
        """Say in words what was trained: the optimum over which patterns, how exactly, proved or not, what to do."""
        model = trained_model(self)[0]
        facts = {"n_neurons": model.n_neurons_, "alpha": model.alpha_, "alpha_max": model.alpha_max_}
        seconds = model.history_[-1]["time"] if model.history_ else None
        return summary(model.certificate_, model.tol_, model.status_, time=seconds, **facts)

    def to_torch(self) -> Any:
        """Return the network as a module of PyTorch, in double precision; its outputs are those of `network_`."""
        return to_torch(self)

    def to_onnx(self, path: str | Path, **options: Any) -> None:
        """Write the network to a file in the ONNX format; options are those of `convexnn.to_onnx`."""
        to_onnx(self, path, **options)

    def to_mlp(self) -> MLPRegressor | MLPClassifier:
        """Return a fitted multilayer perceptron of scikit-learn that predicts the same, where it has such a network."""
        return to_mlp(self)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to an .npz file that `convexnn.load` reads: arrays and JSON, no pickle."""
        save(self, path)


class ConvexNetworkEstimator(TrainedModel, Declared, BaseEstimator):
    """What all estimators of one alpha share: parameters, training, and fitted attributes."""

    alpha: float | str = parameter(
        "auto",
        [POSITIVE, StrOptions({"auto"})],
        'float or "auto"',
        'Strength of the weight decay, above 0. "auto" is 0.01 alpha_max, where alpha_max is the smallest alpha at '
        "which no neuron is active.",
        kw_only=False,
    )
    tol: float = parameter(
        1e-4,
        [POSITIVE],
        "float",
        "Compared with the relative gap (objective - lower_bound) / objective of `certificate_`.",
    )
    max_iter: int | None = parameter(
        None, [COUNT, None], "int or None", "Limit of the solver's iterations; None uses the solver's default."
    )
    time_limit: float | None = parameter(
        None,
        [POSITIVE, None],
        "float or None",
        "Limit of the whole fit in seconds, from the validation of the data to the fitted attributes, the compilation "
        "of kernels included. The best network found by then is kept; `alpha_max_` is a lower bound where its search "
        "was cut short, fewer patterns may be sampled, and the network may have more neurons than it needs.",
    )
    random_state: int | np.random.RandomState | None = parameter(
        None,
        ["random_state"],
        "int, RandomState instance or None",
        'Source of the sampled patterns, and of the starts of the search for them where they are generated. With "all" '
        "or given gates nothing is random.",
    )
    verbose: int | bool = parameter(
        0,
        ["verbose"],
        "int or bool",
        "0 is silent, 1 shows one live line and a summary in words, 2 a line for each iteration; on stderr.",
    )

    certificate_: Certificate = fitted(
        "Certificate",
        'Objective (that of `network_` on the data at `alpha_`), lower bound, relative gap, and scope: "sampled" when '
        'the bound holds for the given patterns or gates, "local" when search over all patterns found nothing that '
        'violates it, "global" when it is proved for every network of the kind.',
    )
    alpha_: float = fitted(
        "float",
        'The alpha used. 1.0 for "auto" when the free part fits y exactly, and no alpha activates a neuron.',
    )
    alpha_max_: float = fitted(
        "float",
        "Smallest alpha at which no neuron is active, over the patterns used, or over all where they are generated, as "
        "far as search finds it (`convexnn.pricing.alpha_max` proves it).",
    )
    arrangements_: Arrangements = fitted(
        "Arrangements",
        "The patterns used, of the samples of positive weight, or of their patches; generated ones are those of the "
        "neurons.",
    )
    n_neurons_: int = fitted("int", "Number of neurons, or filters.")
    n_iter_: int = fitted("int", "Iterations of the solver.")
    history_: list = fitted(
        "list of dict",
        "Records of time (s), objective, lower_bound, gap, scope, provisional, n_blocks. Where patterns are generated, "
        "all but the last are local; a provisional bound is one that only a short search supports, or that a later "
        "network refuted.",
    )
    dual_: np.ndarray = fitted(
        "ndarray of shape (n_samples, n_outputs)",
        "Dual variables of the samples given to `fit`, that of the lower bound: zero where a sample does not matter.",
    )
    status_: str = fitted("str", '"solved", or what ended the run before.')
    tol_: float = fitted("float", "The `tol` of the fit.")
    n_features_in_: int = fitted("int", "Number of features.")
    feature_names_in_: np.ndarray = fitted(
        "ndarray of shape (n_features_in_,)", "Names of the features, when X has string names."
    )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the network on X (n_samples, n_features), or (n_samples, *input_shape), and y.

        `sample_weight` (n_samples,) has factors of the losses of samples, not negative: k is k copies of a sample.
        Raises TypeError or ValueError if a parameter or the data are not as described, or parameters do not go
        together; RuntimeError if the solver fails. Warns (ConvergenceWarning) if the relative gap stays above `tol`.
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

    def _prepare(self, X, y, sample_weight, classes=None) -> Training:
        """Return the problem on data, and set what these say: features, and classes (given ones, if y lacks some)."""
        X, y = check_inputs(self, X, y, **self._target_checks)
        X, y, kept, weights = check_weights(sample_weight, X, y)
        Y = self._targets(y, classes)
        return prepare_training(self, X, Y, kept, weights, self._architecture(), self._loss)

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
        return check_inputs(self, X, reset=False)

    def _architecture(self) -> Architecture:
        """Return the network that the parameters describe, for the features seen."""
        raise NotImplementedError
