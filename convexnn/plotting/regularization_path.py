"""The regularization path: how networks, errors and bounds change with alpha.

Neurons are not the same ones from one alpha to the next: each network is trained as a whole. A line continues from a
neuron to the one of the next alpha that is nearest in direction, where each is the other's nearest and the cosine is at
least 0.9. Otherwise it ends, and another begins: a neuron that no line goes through is a dot.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from ..utils.validation import check_choice
from .neurons import neuron_directions, neuron_groups, neuron_sizes, output_names
from .style import (
    CYCLE,
    DARK,
    GREY,
    LEAST_GAP,
    NEGATIVE,
    POSITIVE,
    SCOPE_MARKERS,
    SCOPE_WORDS,
    blend,
    frame,
    inside_legend,
    log_scale,
    panel_axes,
    percent,
    plain,
)

__all__ = ["RegularizationPathDisplay", "match_neurons"]

PANELS = ("norms", "n_neurons", "regularizer", "scores", "objective", "gap")
# Least cosine between neurons of neighbouring alphas that are one line.
MATCHED_COSINE = 0.9


class RegularizationPathDisplay:
    """Regularization path against alpha, in up to six panels.

    "norms": the sizes |w_j| |a_j| of the neurons, a line for each. "n_neurons": how many there are. "regularizer":
    their sum R(alpha), which never grows with alpha. "scores": training and validation scores, or errors where the
    score is the negative of one. "objective": the optimal value and its lower bounds, with what they are worth. "gap":
    the relative gap between the two. Build it with `from_path`.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,)
        Strengths of the weight decay.
    neuron_norms : array-like of shape (n_lines, n_alphas)
        Sizes of neurons, zero where a line has no neuron.
    neuron_groups : array-like of int, shape (n_lines,)
        The group of each line.
    groups : list of (str, str, int)
        Legend and colour of each group, and whether it is drawn upwards (1) or downwards (-1).
    n_neurons : array-like of shape (n_alphas,)
        Number of neurons.
    regularizers : array-like of shape (n_alphas,)
        R(alpha) = sum_j |w_j| |a_j|.
    objectives, lower_bounds, gaps : array-like of shape (n_alphas,)
        Values, their bounds, and the relative gaps.
    scopes : sequence of str
        Scope of every bound: "sampled", "local" or "global".
    train_scores, validation_scores : array-like of shape (n_alphas,) or None, default=None
        Scores.
    scoring : str, callable or None, default=None
        The score; a name with "neg_" in front is the negative of an error, which is drawn instead.
    alpha_max : float or None, default=None
        Smallest alpha at which no neuron is active.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_panels,)
        The panels, in the order asked for.
    figure_ : Figure
        The figure.
    norm_lines_ : list of Line2D
        An artist for each group that has neurons, with the panel "norms": its lines one after another.
    lines_ : dict of str to Line2D
        The other lines: "n_neurons", "regularizer", "train", "validation", "objective", "lower_bound", "gap".

    See Also
    --------
    convexnn.regularization_path : Computes the path.

    Examples
    --------
    >>> from convexnn.plotting import RegularizationPathDisplay
    >>> display = RegularizationPathDisplay(
    ...     alphas=[1.0, 0.1], neuron_norms=[[0.0, 0.8]], neuron_groups=[0], groups=[("neurons", "black", 1)],
    ...     n_neurons=[0, 1], regularizers=[0.0, 0.8], objectives=[0.5, 0.1], lower_bounds=[0.5, 0.1],
    ...     gaps=[0.0, 1e-9], scopes=["global", "global"],
    ... )
    >>> display.plot(panels=("norms", "objective")).axes_.shape
    (2,)
    """

    def __init__(
        self,
        *,
        alphas: Sequence,
        neuron_norms: Sequence,
        neuron_groups: Sequence,
        groups: list,
        n_neurons: Sequence,
        regularizers: Sequence,
        objectives: Sequence,
        lower_bounds: Sequence,
        gaps: Sequence,
        scopes: Sequence,
        train_scores: Sequence | None = None,
        validation_scores: Sequence | None = None,
        scoring: str | Callable | None = None,
        alpha_max: float | None = None,
    ):
        self.alphas = np.asarray(alphas, dtype=float)
        self.neuron_norms = np.asarray(neuron_norms, dtype=float).reshape(-1, len(self.alphas))
        self.neuron_groups = np.asarray(neuron_groups, dtype=int)
        self.groups = groups
        self.n_neurons = np.asarray(n_neurons)
        self.regularizers = np.asarray(regularizers, dtype=float)
        self.objectives = np.asarray(objectives, dtype=float)
        self.lower_bounds = np.asarray(lower_bounds, dtype=float)
        self.gaps = np.asarray(gaps, dtype=float)
        self.scopes = list(scopes)
        self.train_scores = None if train_scores is None else np.asarray(train_scores, dtype=float)
        self.validation_scores = None if validation_scores is None else np.asarray(validation_scores, dtype=float)
        self.scoring = scoring
        self.alpha_max = alpha_max

    @classmethod
    def from_path(cls, path: Any, *, panels: Sequence | None = None, n_columns: int = 2, ax: Any = None) -> Self:
        """Draw a path.

        Parameters
        ----------
        path : PathResult
            What `regularization_path` returns.
        panels, n_columns, ax
            As in `plot`.

        Returns
        -------
        RegularizationPathDisplay
            The display, drawn.
        """
        networks = [model.network_ for model in path.estimators]
        names = output_names(path.estimators[0], len(networks[0].b2))
        norms, groups, styles = match_neurons(networks, names)
        display = cls(
            alphas=path.alphas,
            neuron_norms=norms,
            neuron_groups=groups,
            groups=styles,
            n_neurons=path.n_neurons,
            regularizers=path.regularizers,
            objectives=path.objectives,
            lower_bounds=path.lower_bounds,
            gaps=path.gaps,
            scopes=path.scopes,
            train_scores=path.train_scores,
            validation_scores=path.validation_scores,
            scoring=path.scoring,
            alpha_max=path.alpha_max,
        )
        return display.plot(panels=panels, n_columns=n_columns, ax=ax)

    def plot(self, ax: Any = None, *, panels: Sequence | None = None, n_columns: int = 2) -> Self:
        """Draw the path.

        Parameters
        ----------
        ax : Axes, array-like of Axes, or None, default=None
            Where: None is a new figure. One Axes of a grid is split up where there are several panels; an array has one
            Axes for each.
        panels : sequence of str or None, default=None
            Which, and in which order: "norms", "n_neurons", "regularizer", "scores", "objective", "gap". None is all
            for which there are data.
        n_columns : int, default=2
            Panels beside one another.

        Returns
        -------
        RegularizationPathDisplay
            This display.

        Raises
        ------
        ValueError
            If a panel is unknown or has no data, or ax does not fit the panels.
        """
        panels = self._check_panels(panels)
        self.axes_ = panel_axes(ax, len(panels), n_columns, (5.0, 3.1))
        self.figure_ = self.axes_[0].figure
        self.norm_lines_, self.lines_ = [], {}
        for one, panel in zip(self.axes_, panels, strict=True):
            frame(one)
            getattr(self, f"_plot_{panel}")(one)
            log_scale(one, "x", self.alphas)
            one.set_xlim(self.alphas.min() / 1.2, self.alphas.max() * 1.2)
            one.set_xlabel("alpha   (complex $\\leftarrow$  $\\rightarrow$ simple)")
            self._mark_alpha_max(one)
        return self

    def _check_panels(self, panels):
        available = [name for name in PANELS if name != "scores" or self._scores()]
        if panels is None:
            return available
        if isinstance(panels, str) or not len(panels):
            raise ValueError(f"panels must be a sequence of names of {PANELS}; got {panels!r}")
        for name in panels:
            if check_choice("panels", name, PANELS) not in available:
                raise ValueError('panels must not have "scores" where the path has no scores')
        return list(panels)

    def _mark_alpha_max(self, ax):
        low, high = ax.get_xlim()
        if self.alpha_max is not None and low <= self.alpha_max <= high:
            ax.axvline(self.alpha_max, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
            place = {
                "x": self.alpha_max,
                "y": 1.01,
                "ha": "right",
                "va": "bottom",
                "transform": ax.get_xaxis_transform(),
            }
            ax.text(s="alpha_max", fontsize="small", color=GREY, **place)

    def _scores(self):
        scores = {"train": self.train_scores, "validation": self.validation_scores}
        return {name: values for name, values in scores.items() if values is not None}

    def _plot_norms(self, ax):
        drawn = np.where(self.neuron_norms > 0, self.neuron_norms, np.nan)
        many = len(drawn) > 60
        style = {"marker": ".", "markersize": 3 if many else 5, "linewidth": 0.7 if many else 1.4}
        for k, (label, color, direction) in enumerate(self.groups):
            chosen = direction * drawn[self.neuron_groups == k]
            if len(chosen):
                # one artist for a group: a column of NaN ends each line
                heights = np.pad(chosen, [(0, 0), (0, 1)], constant_values=np.nan).ravel()
                places = np.tile(np.append(self.alphas, np.nan), len(chosen))
                self.norm_lines_ += ax.plot(places, heights, color=color, label=plain(label), alpha=0.7, **style)
        both = any(direction < 0 for _, _, direction in self.groups)
        if both:
            ax.axhline(0, color=DARK, linewidth=0.8, zorder=1)
        else:
            ax.set_ylim(bottom=0)
        ax.set_title("Neurons", loc="left")
        ax.set_ylabel("$|w_j|\\,a_j$" if both else "$|w_j|\\,|a_j|$")
        inside_legend(ax, loc="best" if len(drawn) < 30 else "upper right")

    def _plot_n_neurons(self, ax):
        from matplotlib.ticker import MaxNLocator

        self.lines_["n_neurons"] = ax.plot(self.alphas, self.n_neurons, "o-", color=DARK, markersize=3)[0]
        ax.set_title("Number of neurons", loc="left")
        ax.set_ylabel("neurons")
        ax.set_ylim(bottom=0, top=None if np.any(self.n_neurons) else 1)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))

    def _plot_regularizer(self, ax):
        self.lines_["regularizer"] = ax.plot(self.alphas, self.regularizers, "o-", color=CYCLE[2], markersize=3)[0]
        ax.set_title("Weight decay", loc="left")
        ax.set_ylabel("$R$(alpha), sum of all $|w_j|\\,|a_j|$")
        ax.set_ylim(bottom=0)

    def _plot_scores(self, ax):
        name = self.scoring if isinstance(self.scoring, str) else getattr(self.scoring, "__name__", "score")
        error = name.startswith("neg_")
        name, sign = name.removeprefix("neg_").replace("_", " "), -1 if error else 1
        for part, color in (("train", GREY), ("validation", POSITIVE)):
            scores = self._scores().get(part)
            if scores is None:
                continue
            self.lines_[part] = ax.plot(self.alphas, sign * scores, "o-", color=color, markersize=3, label=part)[0]
            if part == "validation" and np.isfinite(scores).any():
                best = np.nanargmax(scores)
                label = f"best validation, alpha = {self.alphas[best]:.3g}"
                ax.plot(self.alphas[best], sign * scores[best], "*", color=NEGATIVE, markersize=12, label=label)
        better = "lower is better" if error else "higher is better"
        ax.set_title("Error" if error else "Score", loc="left")
        ax.set_ylabel(f"{plain(name)} ({better})")
        inside_legend(ax)

    def _plot_objective(self, ax):
        ax.fill_between(self.alphas, self.lower_bounds, self.objectives, color=blend(NEGATIVE, 0.3), linewidth=0)
        self.lines_["objective"] = ax.plot(self.alphas, self.objectives, color=POSITIVE, label="objective", lw=2.2)[0]
        self.lines_["lower_bound"] = ax.plot(self.alphas, self.lower_bounds, color=NEGATIVE, ls=(0, (4, 3)), lw=1.2)[0]
        for scope, chosen in self._by_scope():
            label = f"bound: {SCOPE_WORDS[scope]}"
            marker = {"marker": SCOPE_MARKERS[scope], "markersize": 4, "linestyle": "--", "color": NEGATIVE}
            ax.plot(self.alphas[chosen], self.lower_bounds[chosen], label=label, **(marker | {"linestyle": ""}))
        ax.set_title("Objective and bound", loc="left")
        ax.set_ylabel("training objective")
        inside_legend(ax, loc="upper left")

    def _plot_gap(self, ax):
        gaps = np.maximum(self.gaps, LEAST_GAP)
        self.lines_["gap"] = ax.plot(self.alphas, gaps, color=GREY, linewidth=0.8)[0]
        for scope, chosen in self._by_scope():
            ax.plot(self.alphas[chosen], gaps[chosen], SCOPE_MARKERS[scope], color=DARK, ms=4, label=SCOPE_WORDS[scope])
        log_scale(ax, "y", np.append(gaps, gaps.min() / 10))
        if (self.gaps < LEAST_GAP).any():
            ax.text(0.01, LEAST_GAP * 1.3, "0 to rounding", fontsize="small", transform=ax.get_yaxis_transform())
        ax.set_title(f"Gap, at most {percent(self.gaps.max())}", loc="left")
        ax.set_ylabel("relative gap")
        inside_legend(ax)

    def _by_scope(self):
        scopes = np.array(self.scopes)
        return [(scope, scopes == scope) for scope in SCOPE_WORDS if (scopes == scope).any()]


def match_neurons(networks: Sequence, names: list) -> tuple:
    """Follow neurons through the networks of a path, one for each alpha in order, by their directions.

    Returns norms (n_lines, n_networks), the sizes |w_j| |a_j|, zero where a line has no neuron; the group of each line;
    and the styles of the groups, as in `neuron_groups`.
    """
    norms, groups, lines, before = [], [], np.zeros(0, dtype=int), None
    for k, network in enumerate(networks):
        directions = neuron_directions(network)
        group, styles = neuron_groups(network, names)
        sizes, current = neuron_sizes(network), np.full(network.n_neurons, -1)
        if before is not None and len(lines) and len(sizes):
            cosines = np.prod([old.T @ new for old, new in zip(before, directions, strict=True)], axis=0)
            nearest = cosines.argmax(axis=0)
            mutual = cosines.argmax(axis=1)[nearest] == np.arange(len(sizes))
            matched = mutual & (cosines.max(axis=0) >= MATCHED_COSINE)
            current[matched] = lines[nearest[matched]]
        for j in range(len(sizes)):
            if current[j] < 0:
                current[j] = len(norms)
                norms.append(np.zeros(len(networks)))
                groups.append(group[j])
            norms[current[j]][k] = sizes[j]
        lines, before = current, directions
    norms = np.array(norms).reshape(len(norms), len(networks))
    return norms, np.array(groups, dtype=int), styles
