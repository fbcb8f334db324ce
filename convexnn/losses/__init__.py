"""Losses with their duals: values, gradients, conjugates, free fits. A loss sees targets and predictions, never X."""

import numpy as np
from numpy.typing import ArrayLike

from ..utils.validation import check_choice, check_numeric, check_size, check_sizes, shown
from .base import Loss
from .classification import Hinge, Logistic, Softmax, SquaredHinge
from .regression import Absolute, Huber, Quantile, Squared

__all__ = [
    "LOSSES",
    "Absolute",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Quantile",
    "Softmax",
    "Squared",
    "SquaredHinge",
    "make_loss",
]

# by the names of scikit-learn
LOSSES = {
    "squared_error": Squared,
    "huber": Huber,
    "quantile": Quantile,
    "absolute_error": Absolute,
    "log_loss": Logistic,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "softmax": Softmax,
}


def make_loss(name: str, sample_weight: ArrayLike | None = None, *, delta: float = 1.0, quantile: float = 0.5) -> Loss:
    """Return the loss of a name.

    Parameters
    ----------
    name : str
        A key of `LOSSES`, such as "squared_error" or "squared_hinge".
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Positive weights of the samples.
    delta : float, default=1.0
        Of `Huber`, above 0; the other losses ignore it.
    quantile : float, default=0.5
        Of `Quantile`, in (0, 1); the other losses ignore it.

    Returns
    -------
    Loss
        The loss.

    Raises
    ------
    ValueError
        If a parameter is not of the values above.
    TypeError
        If `delta` or `quantile` is not a number.

    Examples
    --------
    >>> from convexnn.losses import make_loss
    >>> make_loss("huber", delta=2.0).delta
    2.0
    """
    if name == "interpolation":
        raise ValueError('"interpolation" is not a loss: networks that fit exactly are for minimum_norm_interpolation')
    check_choice("name", name, LOSSES)
    if sample_weight is not None:
        check_numeric("sample_weight", sample_weight)
        sample_weight = np.asarray(sample_weight, dtype=float)
        if sample_weight.ndim != 1 or not (np.isfinite(sample_weight) & (sample_weight > 0)).all():
            raise ValueError(f"sample_weight must be a vector of finite numbers above 0; got {sample_weight!r}")
        check_sizes("sample_weight", sample_weight)
    options = {}
    if name == "huber":
        options["delta"] = check_size("delta", delta)
    if name == "quantile":
        options["quantile"] = check_size("quantile", quantile)
        if options["quantile"] >= 1:
            raise ValueError(f"quantile must be a number above 0 and below 1; got {shown(quantile)}")
    return LOSSES[name](sample_weight=sample_weight, **options)
