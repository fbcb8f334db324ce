"""What network is trained: activation, biases, skip and penalties, as the user names them, and what its neurons see.

    f(x) = sum_j act(w_j.x + b_j) a_j + b_0 + x.w_0

Hidden biases are the weights of a constant column of the hidden rows; the output bias b_0 and the skip w_0 are free
(unpenalised) and are the coefficients of the free columns.

Free hidden biases. With the rows moved to x - m and R their largest norm, a bias |b| > R |w| makes a neuron linear or
dead on the data. So in the rows (x - m, R / t) the block (w, t b / R) of a neuron has a norm from |w| to
sqrt(1 + t^2) |w|, and, where 1'v = 0 (free biases include a free output bias),

    kappa_free(v) = max_{|w| <= 1, |b| <= R} |v'(Xw + b)_+| <= sqrt(1 + t^2) kappa(v)

for the kappa of these rows. The program on them has the free one between its optimum at alpha / sqrt(1 + t^2) and that
at alpha; its networks are charged |w| only. t = 1e-4 costs 5e-9 of alpha sum_j |w_j| |a_j|; solvers take a larger t,
which is easier, where their tolerance allows it.

Penalised hidden biases of small rows, max |x| = r <= 1e-4, cost as good as nothing: at |b| <= r |w| the norm of (w, b)
is from |w| to sqrt(1 + r^2) |w|. There the problem is that of free biases, whose lower bounds hold, to r^2 / 2, and is
solved as such: in the rows (x, 1) all cells that matter are within r of one another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ..geometry.patches import Patches
from ..utils.validation import check_choice, check_flag, shown

__all__ = [
    "ACTIVATIONS",
    "HIDDEN_BIASES",
    "HIDDEN_NORMS",
    "OUTPUT_PENALTIES",
    "Activation",
    "Architecture",
    "HiddenLayer",
    "check_hidden_norm",
    "check_slope",
    "slope_of",
]

HIDDEN_BIASES = ("none", "penalized", "free")
HIDDEN_NORMS = ("l2", "l1", "circular")
OUTPUT_PENALTIES = ("weight_decay", "l1")
# t of the module docstring.
BIAS_UNIT = 1e-4


def check_slope(name: str, slope: float) -> None:
    """Raise ValueError unless a slope is a finite number below 1."""
    if isinstance(slope, (bool, np.bool_)) or not isinstance(slope, Real) or not -np.inf < slope < 1:
        raise ValueError(f"{name} must be a finite number below 1; got {shown(slope)}")


@dataclass(frozen=True)
class Activation:
    """An activation of two linear pieces: t where a neuron is active, slope * t where it is not.

    All that trains, exports and explains networks knows an activation by this alone. So an entry in `ACTIVATIONS`, a
    dictionary of activations by name, is a new one.

    Parameters
    ----------
    slope : float or None, default=0.0
        Slope where a neuron is not active; None is the `negative_slope` of the architecture.
    constrained : bool, default=True
        Whether a neuron is active where its own t is positive, which makes the activation max(t, slope * t) for a slope
        below 1 and confines the blocks of the program to cones. If not, something else decides, such as a gate.

    Raises
    ------
    ValueError
        If the slope is not a finite number below 1, or 1 for a constrained activation, which would be linear.

    Examples
    --------
    >>> from convexnn.model import ACTIVATIONS, Activation
    >>> ACTIVATIONS["relu"] == Activation(slope=0.0), ACTIVATIONS["abs"] == Activation(slope=-1.0)
    (True, True)
    """

    slope: float | None = 0.0
    constrained: bool = True

    def __post_init__(self):
        if self.slope is not None and (self.constrained or self.slope != 1):
            check_slope("slope", self.slope)
        check_flag("constrained", self.constrained)


# What networks are made of: an entry added here is known to all of the package. "threshold" has steps for pieces.
ACTIVATIONS = {
    "relu": Activation(),
    "gated_relu": Activation(constrained=False),
    "leaky_relu": Activation(None),
    "abs": Activation(-1.0),
    "linear": Activation(1.0, constrained=False),
    "threshold": Activation(constrained=False),
}


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """What the hidden neurons see of inputs, rows (x - centre, unit) / share, and their weights in terms of it.

    Rows are those of all `patches`, if any, of which `share` are averaged. There is no constant where `unit` is 0.
    """

    patches: Patches | None
    centre: np.ndarray
    unit: float
    share: float = 1.0

    def rows(self, X: np.ndarray) -> np.ndarray:
        """Return the rows of inputs X, (n_samples * n_patches, n_hidden_features)."""
        X = np.asarray(X, dtype=np.float64)
        rows = X if self.patches is None else self.patches.stacked(X)
        if self.unit:
            rows = np.column_stack([rows - self.centre, np.full(len(rows), self.unit)])
        return rows / self.share

    def weights(self, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return W1 (n_features, n_neurons) and b1 of neurons whose pre-activations are rows @ U, but for the share."""
        if not self.unit:
            return U, np.zeros(U.shape[1])
        return U[:-1], U[-1] * self.unit - self.centre @ U[:-1]

    def blocks(self, W1: np.ndarray, b1: np.ndarray) -> np.ndarray:
        """Return the columns U of neurons, the inverse of `weights`."""
        return np.vstack([W1, (b1 + self.centre @ W1) / self.unit]) if self.unit else W1


@dataclass(frozen=True)
class Architecture:
    """The kind of a two-layer network.

    Parameters
    ----------
    activation : {"relu", "gated_relu", "leaky_relu", "abs", "linear", "threshold"}, default="relu"
        ReLU (t)_+; t 1[x.g >= 0] with a fixed gate g for each neuron; max(t, s t) for s = `negative_slope`; |t|; t;
        or 1[t >= 0]. Or another name in `convexnn.model.ACTIVATIONS`, to which yours can be added.
    hidden_bias : {"penalized", "none", "free"}, default="penalized"
        Whether neurons have a bias, penalised like their weights or free, as in scikit-learn's networks.
    fit_intercept : bool, default=True
        Whether there is a free output bias.
    skip : bool, default=False
        Whether there is a free linear skip connection x.w_0.
    negative_slope : float, default=0.01
        Slope of "leaky_relu" for t < 0, below 1.
    hidden_norm : {"l2", "l1", "circular"} or float, default="l2"
        Norm of the hidden weights in the weight decay, alpha/2 sum_j (|w_j|^2 + |a_j|^2). A number r strictly between 0
        and 1 is the elastic norm r |w|_1 + (1 - r) |w|_2, and "circular" stands for the circular convolutions of
        `convexnn.networks.CircularNetwork`.
    output_penalty : {"weight_decay", "l1"}, default="weight_decay"
        Norm of a neuron's output weights a_j, where there are several outputs: Euclidean, or l1.
    patches : Patches or None, default=None
        The patches of a convolutional network, and their pooling.
    circular_shape : tuple of int or None, default=None
        Shape of the inputs of "circular" networks.

    Raises
    ------
    ValueError
        If a value is not among those accepted, or values do not go together.

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
    negative_slope: float = 0.01
    hidden_norm: str | float = "l2"
    output_penalty: str = "weight_decay"
    patches: Patches | None = field(default=None)
    circular_shape: tuple | None = None

    def __post_init__(self):
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("hidden_bias", self.hidden_bias, HIDDEN_BIASES)
        object.__setattr__(self, "hidden_norm", check_hidden_norm(self.hidden_norm, HIDDEN_NORMS))
        check_choice("output_penalty", self.output_penalty, OUTPUT_PENALTIES)
        check_flag("fit_intercept", self.fit_intercept)
        check_flag("skip", self.skip)
        check_slope("negative_slope", self.negative_slope)
        free = self.hidden_bias == "free"
        if free and not self.fit_intercept:
            raise ValueError('fit_intercept must be True with hidden_bias="free", which includes a free output bias')
        if free and (self.hidden_norm != "l2" or self.activation == "threshold"):
            raise ValueError(
                'hidden_bias="free" is for hidden_norm="l2" and activations other than "threshold" (which has no '
                f'scale: use "penalized"); got hidden_norm={self.hidden_norm!r}, activation={self.activation!r}'
            )
        if self.hidden_norm == "circular" and self.hidden_bias != "none":
            raise ValueError(f'hidden_bias must be "none" for circular networks; got {self.hidden_bias!r}')
        if self.skip and (self.patches is not None or self.hidden_norm == "circular"):
            raise ValueError("skip must be False for convolutional and circular networks; got True")
        if self.activation == "threshold" and self.hidden_norm != "l2":
            raise ValueError(f'hidden_norm must be "l2" for activation "threshold"; got {self.hidden_norm!r}')
        if self.hidden_norm == "circular" and self.activation not in ("relu", "gated_relu", "linear"):
            raise ValueError(
                f'activation must be "relu", "gated_relu" or "linear" for circular networks; got {self.activation!r}'
            )
        if self.patches is not None and (self.activation == "threshold" or self.hidden_norm != "l2"):
            raise ValueError(
                'convolutional networks need hidden_norm="l2" and another activation than "threshold"; '
                f"got {self.hidden_norm!r} and {self.activation!r}"
            )

    @property
    def slope(self) -> float:
        """Slope of the activation where it is not active."""
        return slope_of(self.activation, self.negative_slope)

    @property
    def constrained(self) -> bool:
        """Whether blocks are confined to cones: the activation depends on the weights that it is applied to."""
        return ACTIVATIONS[self.activation].constrained

    @property
    def signs(self) -> tuple[float, ...]:
        """Output signs of the blocks of a pattern; without cones a block has both."""
        return (1.0, -1.0) if self.constrained else (1.0,)

    def solved_for(self, X: np.ndarray) -> Architecture:
        """Return the network that is solved for instead: of free hidden biases where data make penalised ones free.

        Its optimum is the same but for 5e-9 of the decay. Of linear networks it is one of none, which have no use.
        """
        if self.hidden_bias == "none" or not self.fit_intercept:
            return self
        if self.activation == "linear":
            return replace(self, hidden_bias="none")  # the output bias does what they do
        if self.hidden_bias == "free" or self.hidden_norm != "l2" or not self.constrained:
            return self
        rows = X if self.patches is None else self.patches.stacked(X)
        small = np.linalg.norm(rows, axis=1).max(initial=0.0) <= BIAS_UNIT
        return replace(self, hidden_bias="free") if small else self

    def hidden_layer(self, X: np.ndarray) -> HiddenLayer:
        """Return what the hidden neurons see, with the units of free biases set by the training inputs X."""
        X = np.asarray(X, dtype=np.float64)
        patches = self.patches
        share = patches.n_patches if patches is not None and patches.pooling == "mean" else 1.0
        rows = X if patches is None else patches.stacked(X)
        centre = np.zeros(rows.shape[1])
        if self.hidden_bias != "free":
            return HiddenLayer(patches, centre, float(self.hidden_bias == "penalized"), share)
        centre = rows.mean(axis=0)
        radius = np.linalg.norm(rows - centre, axis=1).max() or 1.0
        return HiddenLayer(patches, centre, float(radius) / BIAS_UNIT, share)

    def hidden_rows(self, X: ArrayLike) -> np.ndarray:
        """Return the rows of inputs that the hidden neurons see, with a last column for the bias if they have one."""
        return self.hidden_layer(X).rows(X)

    def free_columns(self, X: ArrayLike) -> np.ndarray:
        """Return the unpenalised columns (n_samples, n_free): ones for the intercept, then X for the skip."""
        X = np.asarray(X, dtype=np.float64)
        return np.column_stack([np.ones((len(X), int(self.fit_intercept))), X[:, : X.shape[1] * self.skip]])

    def split_free(self, beta: np.ndarray, n_features: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Split coefficients (n_free, n_outputs) of the free columns into the output bias and the skip (or None)."""
        first = int(self.fit_intercept)
        intercept = beta[0] if self.fit_intercept else np.zeros(beta.shape[1])
        return intercept.copy(), beta[first : first + n_features].copy() if self.skip else None


def slope_of(activation: str, negative_slope: float) -> float:
    """Return the slope of an activation where it is not active."""
    slope = ACTIVATIONS[activation].slope
    return float(negative_slope if slope is None else slope)


def check_hidden_norm(norm: str | float, names: tuple[str, ...] = ("l2", "l1")) -> str | float:
    """Return the norm of hidden weights, a name or a float strictly between 0 and 1; raise ValueError for others."""
    if isinstance(norm, str) and norm in names:
        return norm
    if isinstance(norm, Real) and not isinstance(norm, (bool, np.bool_)) and 0 < norm < 1:
        return float(norm)
    raise ValueError(
        f"hidden_norm must be one of {', '.join(map(repr, names))}, or a number strictly between 0 and 1; "
        f"got {shown(norm)}"
    )
