"""One prediction as a sum: what the output bias, the skip and each neuron add to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..networks.explanation import explain
from ..networks.network import ConvNetwork, Network
from ..utils.validation import check_count, check_numeric
from .display import DARK, GREY, NEGATIVE, POSITIVE, Display, blend, counted, frame, plain, short
from .neurons import check_output, fitted_model

__all__ = ["ContributionsDisplay"]

MINUS = "\N{MINUS SIGN}"


@dataclass(eq=False, repr=False, kw_only=True)
class ContributionsDisplay(Display):
    """Contributions of the neurons to one prediction, added up from the output bias to the prediction.

    A bar begins where the one above ends. Neurons come in the order of their size, the smaller ones together, and those
    that are off add nothing. Build it with `from_estimator`.

    Parameters
    ----------
    start : float
        The output bias.
    labels : list of str
        What each bar is.
    contributions : array-like of shape (n_bars,)
        What each adds.
    name : str, default="network output"
        What the sum is.
    title : str, default=""
        Above the figure, such as how many neurons are active.
    grouped : bool, default=False
        Whether the last bar is for several neurons.

    Attributes
    ----------
    prediction_ : float
        `start` and all contributions together.
    ax_, figure_ : Axes, Figure
        Where it is drawn.
    bars_ : BarContainer
        The bars, from the top.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.plotting import ContributionsDisplay
    >>> x = np.linspace(-1, 1, 11)[:, None]
    >>> model = ConvexReLURegressor(0.01, hidden_bias="free").fit(x, np.abs(x[:, 0]))
    >>> display = ContributionsDisplay.from_estimator(model, [0.5])
    >>> bool(np.isclose(display.prediction_, model.predict([[0.5]])[0]))
    True
    """

    start: float
    labels: list
    contributions: Sequence
    name: str = "network output"
    title: str = ""
    grouped: bool = False

    def __post_init__(self):
        self.start, self.labels = float(self.start), list(self.labels)
        self.contributions = np.asarray(self.contributions, dtype=float)

    @classmethod
    def from_estimator(
        cls, estimator: Any, x: Any, *, output: int | None = None, max_neurons: int = 10, ax: Any = None, **options: Any
    ) -> Self:
        """Draw what adds up to the prediction of one input, by `plot`; return the display.

        `x` has shape (n_features,), (1, n_features) or `input_shape`: a row of an array, or of a DataFrame. `output` is
        the output of a regressor, or the class (its place in `classes_`) of more than two; None is the only output, or
        the class that is predicted. Of two classes the decision function is explained, above 0 for the second. At most
        `max_neurons` have a bar of their own; the others are one bar.
        """
        estimator, network = fitted_model(estimator)
        max_neurons = check_count("max_neurons", max_neurons, 0)
        sample = _one_input(x, getattr(estimator, "input_shape", None))
        X = estimator._checked(sample)
        if len(X) != 1:
            raise ValueError(f"x must be one input; got {len(X)}")
        explanation = explain(estimator, sample)
        weights, name = _output_weights(estimator, explanation.predictions[0], output)
        neurons = explanation.contributions[0] @ weights
        active = np.flatnonzero(neurons)
        order = active[np.argsort(-np.abs(neurons[active]), kind="stable")]
        shown, others = order[:max_neurons], order[max_neurons:]
        labels, values = [], []
        if explanation.skip is not None:
            labels.append("linear skip")
            values.append(explanation.skip[0] @ weights)
        unit = "filter" if isinstance(network, ConvNetwork) else "neuron"
        labels += [f"{unit} {j}{_features(estimator, network, X[0], j)}" for j in shown]
        values += neurons[shown].tolist()
        if len(others):
            labels.append(counted(len(others), f"other {unit}" if len(shown) else unit))
            values.append(neurons[others].sum())
        off = len(neurons) - len(active)
        title = f"{counted(len(active), unit)} active" + (f", {off} off" if off else "")
        words = {"labels": labels, "name": name, "title": title, "grouped": len(others) > 0}
        return cls(start=explanation.intercept @ weights, contributions=values, **words).plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, decimals: int | None = None) -> Self:
        """Draw the sum into `ax` (None is a new figure); return the display.

        Numbers have so many `decimals`; None gives three digits to the largest contribution.
        """
        n = len(self.contributions)
        self.prediction_ = self.start + float(self.contributions.sum())
        ax = self._open(ax, (6.6, 1.9 + 0.3 * n))  # inches
        frame(ax, "x")
        ends = self.start + np.append(0.0, np.cumsum(self.contributions))
        rows = np.arange(1, n + 1)
        colors = [POSITIVE if value >= 0 else NEGATIVE for value in self.contributions]
        if self.grouped:
            colors[-1] = blend(colors[-1], 0.5)
        self.bars_ = ax.barh(rows, self.contributions, left=ends[:-1], color=colors, height=0.7, zorder=2)
        for k, end in enumerate(ends):
            ax.plot([end, end], [k - 0.35 * (k > 0), k + 1 + 0.35 * (k < n)], color=GREY, linewidth=0.8, zorder=3)
        ax.plot(ends[[0, -1]], [0, n + 1], "D", color=DARK, markersize=6, zorder=4)
        self._write(ends, decimals)
        ax.set_yticks(np.arange(n + 2), ["output bias", *map(plain, self.labels), "sum"])
        ax.set_ylim(n + 1.6, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(plain(self.name))
        ax.set_title(self.title, loc="left")
        return self

    def _write(self, ends, decimals):
        """Write each number to the right or left of its bar, and make room for it."""
        low, high = ends.min(), ends.max()
        span = high - low if high > low else max(abs(high), 1.0)
        if decimals is None:
            largest = np.abs(self.contributions).max(initial=0.0) or abs(self.start)
            decimals = int(np.clip(2 - np.floor(np.log10(largest)), 0, 12)) if largest > 0 else 2
        self.ax_.set_xlim(low - 0.18 * span, high + 0.18 * span)
        words = [f"{value:+.{decimals}f}".replace("-", MINUS) for value in self.contributions]
        self.ax_.bar_label(self.bars_, words, padding=7, fontsize="small")
        for row, end in ((0, ends[0]), (len(ends), ends[-1])):
            text, style = f"{end:.{decimals}f}".replace("-", MINUS), {"fontsize": "small", "va": "center"}
            self.ax_.annotate(text, (end, row), xytext=(7, 0), textcoords="offset points", **style)


def _one_input(x, input_shape):
    """Return one input as an array of one sample; what may be one already as it is."""
    if hasattr(x, "to_frame") and getattr(x, "ndim", 1) == 1:
        return x.to_frame().T  # a row of a DataFrame keeps the names of its features
    if hasattr(x, "columns"):
        return x
    check_numeric("x", x)
    array = np.asarray(x)
    alone = array.ndim == 1 or (input_shape is not None and array.shape == tuple(input_shape))
    return array[None] if alone else array


def _output_weights(estimator, predictions, output):
    """Return what to multiply outputs with to get the number that is explained, and its name."""
    n_outputs, classes = len(predictions), getattr(estimator, "classes_", None)
    check_output(output, n_outputs)
    if classes is not None and len(classes) == 2:
        if output is not None:
            raise ValueError(f"output must be None for two classes; got {output!r}")
        return np.array([-1.0, 1.0])[-n_outputs:], f"decision function (above 0: {short(classes[1])})"
    if output is None and classes is not None:
        output = int(predictions.argmax())
    if output is None and n_outputs > 1:
        raise ValueError(f"output must be one of 0 to {n_outputs - 1} for several outputs; got None")
    weights = np.eye(n_outputs)[output or 0]
    if classes is not None:
        return weights, f"output of class {short(classes[output])}"
    return weights, "network output" if n_outputs == 1 else f"output {output}"


def _features(estimator, network, x, j):
    """Return the names of the two features that matter most to a neuron, where features have names."""
    if not hasattr(estimator, "feature_names_in_") or not isinstance(network, Network) or len(x) < 2:
        return ""
    first, second = np.argsort(-np.abs(network.W1[:, j] * x))[:2]
    names = estimator.feature_names_in_
    return f": {short(names[first])}, {short(names[second])}"
