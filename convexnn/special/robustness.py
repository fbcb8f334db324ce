"""How much of their margins networks keep within a radius of the data: an ascent from below, a bound from above.

References
----------
H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh and L. Daniel (2018), Efficient neural network robustness certification
with general activation functions, NeurIPS (the bound of margins).
"""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from ..networks.network import Network
from ..utils.validation import check_array, check_choice, check_count, check_numeric, check_positive

__all__ = ["MARGIN_LOSSES", "check_radius", "margin_loss", "robust_loss", "robust_margin_bound"]

MARGIN_LOSSES = ("hinge", "log_loss")


def robust_loss(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    radius: float,
    loss: str = "hinge",
    *,
    n_steps: int = 40,
    n_restarts: int = 4,
    random_state: int | np.random.RandomState | None = None,
) -> float:
    """Estimate the largest loss within a radius from below, by projected gradient ascent.

    Every input found is within the radius, so the true robust loss is at least what is returned.

    Parameters
    ----------
    network : Network
        A network of activation "relu" and one output.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels -1 and 1.
    radius : float
        The radius of the perturbations in the l_inf norm, in units of X, at least 0.
    loss : {"hinge", "log_loss"}, default="hinge"
        The loss of the margins.
    n_steps : int, default=40
        Steps of an ascent, along the signs of the gradient.
    n_restarts : int, default=4
        Ascents from random points, besides the one from X.
    random_state : int, RandomState instance or None, default=None
        Source of the random points.

    Returns
    -------
    float
        The sum of losses at the worst inputs found.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.special.adversarial import robust_loss
    >>> net = Network(np.array([[1.0]]), np.zeros(1), np.array([[1.0]]), np.zeros(1))
    >>> round(robust_loss(net, [[1.0]], [1.0], 0.25, random_state=0), 9)  # 1 - f(x) at x = 0.75
    0.25
    """
    X, y, radius = _check_data(network, X, y, radius)
    check_choice("loss", loss, MARGIN_LOSSES)
    n_steps, n_restarts = check_count("n_steps", n_steps), check_count("n_restarts", n_restarts, least=0)
    rng = check_random_state(random_state)
    worst = y * network.predict(X)
    for restart in range(n_restarts + 1):
        point = X + (rng.uniform(-radius, radius, X.shape) if restart else 0.0)
        for step in range(n_steps):
            active = (point @ network.W1 + network.b1 > 0) * network.W2[:, 0]
            gradient = active @ network.W1.T + (0.0 if network.skip is None else network.skip[:, 0])
            # full steps reach the corners, where a linear margin is least; shorter ones settle between
            length = 2.0 * radius * (1.0 - step / n_steps)
            point = np.clip(point - length * y[:, None] * np.sign(gradient), X - radius, X + radius)
            worst = np.minimum(worst, y * network.predict(point))
    return float(margin_loss(loss, worst).sum())


def robust_margin_bound(network: Network, X: ArrayLike, y: ArrayLike, radius: float) -> np.ndarray:
    """Bound the margins y_k f(x) from below over |x - x_k|_inf <= radius.

    Each neuron is replaced by a line that is below its part in the margin: a neuron that does not change its pattern is
    one itself, so the bound is exact where none does, as at solutions of `solve_adversarial`.

    Parameters
    ----------
    network : Network
        A network of activation "relu" and one output.
    X : array-like of shape (n_samples, n_features)
        Inputs.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels -1 and 1.
    radius : float
        The radius of the perturbations in the l_inf norm, in units of X, at least 0.

    Returns
    -------
    ndarray of shape (n_samples,)
        Lower bounds of the least margins.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import Network
    >>> from convexnn.special.adversarial import robust_margin_bound
    >>> net = Network(np.array([[1.0]]), np.zeros(1), np.array([[1.0]]), np.zeros(1))
    >>> robust_margin_bound(net, [[1.0]], [1.0], 0.25)
    array([0.75])
    """
    X, y, radius = _check_data(network, X, y, radius)
    T = X @ network.W1 + network.b1
    reach = radius * np.abs(network.W1).sum(axis=0)
    low, high = T - reach, T + reach
    effect = y[:, None] * network.W2[:, 0]
    across = (low < 0) & (high > 0)
    width = np.where(across, high - low, 1.0)
    # above: the chord from (low, 0) to (high, high); below: t or 0, whichever is closer
    above = np.where(across, high / width, low >= 0)
    slope = np.where(effect < 0, above, T > 0)
    offset = np.where(across & (effect < 0), -above * low, 0.0)
    gradient = (effect * slope) @ network.W1.T
    constant = np.sum(effect * (slope * T + offset), axis=1) + y * network.b2[0]
    if network.skip is not None:
        gradient = gradient + y[:, None] * network.skip[:, 0]
        constant = constant + y * (X @ network.skip[:, 0])
    return constant - radius * np.abs(gradient).sum(axis=1)


def margin_loss(loss: str, margins: np.ndarray) -> np.ndarray:
    """Return the loss of each margin m = y f(x): (1 - m)_+ for "hinge", log(1 + exp(-m)) for "log_loss"."""
    return np.maximum(1.0 - margins, 0.0) if loss == "hinge" else np.logaddexp(0.0, -margins)


def check_radius(radius: float) -> float:
    """Return a radius as a float; raise TypeError or ValueError where it is not a number of at least 0."""
    zero = isinstance(radius, Real) and not isinstance(radius, (bool, np.bool_)) and radius == 0
    return 0.0 if zero else check_positive("radius", radius)


def _check_data(network, X, y, radius):
    if network.activation != "relu" or network.W2.shape[1] != 1:
        raise ValueError(
            f'network must have activation "relu" and one output; got {network.activation!r}, {network.W2.shape[1]}'
        )
    check_numeric("y", y)
    X, y = check_array(X, input_name="X"), np.ravel(y)
    if len(y) != len(X) or not np.isin(y, (-1.0, 1.0)).all():
        raise ValueError(f"y must have labels -1 and 1, one for each of the {len(X)} rows of X")
    return X, y.astype(np.float64), check_radius(radius)
