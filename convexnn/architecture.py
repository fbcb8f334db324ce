"""What network is trained: the activation, the biases and the linear skip, as the user names them.

    f(x) = sum_j act(w_j.x + b_j) a_j + b_0 + x.w_0

Hidden biases are the weights of a constant column of the hidden rows; the output bias b_0 and the skip w_0 are free
(unpenalised) and are the coefficients of the free columns.
"""

from dataclasses import dataclass

import numpy as np

from .validation import check_choice, check_flag

__all__ = ["ACTIVATIONS", "HIDDEN_BIASES", "Architecture"]

ACTIVATIONS = ("relu", "gated_relu")
HIDDEN_BIASES = ("none", "penalized")


@dataclass(frozen=True)
class Architecture:
    """The kind of a two-layer network.

    Parameters
    ----------
    activation : {"relu", "gated_relu"}, default="relu"
        ReLU (t)_+, or t 1[x.g >= 0] with a fixed gate g for each neuron.
    hidden_bias : {"penalized", "none"}, default="penalized"
        Whether neurons have a bias, penalised like their weights.
    fit_intercept : bool, default=True
        Whether there is a free output bias.
    skip : bool, default=False
        Whether there is a free linear skip connection x.w_0.

    Raises
    ------
    ValueError
        If a value is not among those accepted.

    Examples
    --------
    >>> from convexnn import Architecture
    >>> Architecture(skip=True).hidden_rows([[2.0, 3.0]])
    array([[2., 3., 1.]])
    """

    activation: str = "relu"
    hidden_bias: str = "penalized"
    fit_intercept: bool = True
    skip: bool = False

    def __post_init__(self):
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("hidden_bias", self.hidden_bias, HIDDEN_BIASES)
        check_flag("fit_intercept", self.fit_intercept)
        check_flag("skip", self.skip)

    def hidden_rows(self, X):
        """Return what the hidden neurons see: X, with a column of ones for the bias if they have one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_features + 1)
            The rows of the arrangement.
        """
        X = np.asarray(X, dtype=np.float64)
        if self.hidden_bias == "none":
            return X
        return np.column_stack([X, np.ones(len(X))])

    def free_columns(self, X):
        """Return the columns whose coefficients are not penalised: ones for the intercept, then X for the skip.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_free)
            The free columns; n_free may be 0.
        """
        X = np.asarray(X, dtype=np.float64)
        return np.column_stack([np.ones((len(X), int(self.fit_intercept))), X[:, : X.shape[1] * self.skip]])

    def split_free(self, beta, n_features):
        """Split the coefficients of the free columns into the output bias and the skip.

        Parameters
        ----------
        beta : ndarray of shape (n_free, n_outputs)
            Coefficients of `free_columns`.
        n_features : int
            Number of input features.

        Returns
        -------
        intercept : ndarray of shape (n_outputs,)
            Zeros without an intercept.
        skip : ndarray of shape (n_features, n_outputs) or None
            None without a skip.
        """
        first = int(self.fit_intercept)
        intercept = beta[0] if self.fit_intercept else np.zeros(beta.shape[1])
        return intercept.copy(), beta[first : first + n_features].copy() if self.skip else None
