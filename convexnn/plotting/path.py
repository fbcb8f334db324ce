"""The regularization path: how networks, errors and bounds change with alpha.

Neurons are not the same ones from one alpha to the next: each network is trained as a whole. A line continues from a
neuron to the one of the next alpha that is nearest in direction, where each is the other's nearest and the cosine is at
least 0.9. Otherwise it ends, and another begins: a neuron that no line goes through is a dot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .display import (
    CYCLE,
    DARK,
    GREY,
    LEAST_GAP,
    NEGATIVE,
    POSITIVE,
    Display,
    add_legend,
    blend,
    check_panels,
    gap_scale,
    log_scale,
    mark_scopes,
    percent,
    plain,
)
from .neurons import neuron_directions, neuron_groups, neuron_sizes, output_names

__all__ = ["RegularizationPathDisplay"]

PANELS = ("norms", "n_neurons", "regularizer", "scores", "objective", "gap")
# Least cosine between neurons of neighbouring alphas that are one line.
MATCHED_COSINE = 0.9


@dataclass(eq=False, repr=False)
class RegularizationPathDisplay(Display):
    """Regularization path against alpha, in up to six panels.

    "norms": the sizes |w_j| |a_j| of the neurons, a line for each. "n_neurons": how many there are. "regularizer":
    their sum R(alpha), which never grows with alpha. "scores": training and validation scores, or errors where the
    score is the negative of one. "objective": the optimal value and its lower bounds, with what they are worth. "gap":
    the relative gap between the two. Build it with `from_path`.

    Parameters
    ----------
    path : PathResult
        What `convexnn.regularization_path` returns.

    Attributes
    ----------
    axes_, figure_ : ndarray of Axes of shape (n_panels,), Figure
        The panels, in the order asked for, and their figure.
    norm_lines_ : list of Line2D
        An artist for each group that has neurons, with the panel "norms": its lines one after another.
    lines_ : dict of str to Line2D
        The other lines: "n_neurons", "regularizer", "train", "validation", "objective", "lower_bound", "gap".

    See Also
    --------
    convexnn.regularization_path : Computes the path.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import regularization_path
    >>> from convexnn.plotting import RegularizationPathDisplay
    >>> x = np.linspace(-1, 1, 12)[:, None]
    >>> path = regularization_path(x, np.abs(x[:, 0]), n_alphas=4)
    >>> RegularizationPathDisplay.from_path(path, panels=("norms", "objective")).axes_.shape
    (2,)
    """

    path: Any

    @classmethod
    def from_path(cls, path: Any, *, ax: Any = None, **options: Any) -> Self:
        """Draw a path, into `ax` and with other options of `plot`; return the display."""
        return cls(path).plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, panels: Sequence | None = None, n_columns: int = 2) -> Self:
        """Draw the path into `ax`; return the display.

        `ax` is an Axes, which is split up for several panels if it is one of a grid, an array of one Axes for each
        panel, or None for a new figure. `panels` are some of "norms", "n_neurons", "regularizer", "scores",
        "objective" and "gap", in their order, or None for all that have data; `n_columns` stand beside one another.
        """
        available = [name for name in PANELS if name != "scores" or self._scores()]
        panels = available if panels is None else check_panels("panels", panels, PANELS)
        if not set(panels) <= set(available):
            raise ValueError('panels must not have "scores": the path has no scores')
        self.norm_lines_, self.lines_ = [], {}
        alphas = self.path.alphas
        for one in self._draw_panels(ax, panels, n_columns, (5.0, 3.1)):
            log_scale(one, "x", alphas)
            one.set_xlim(alphas.min() / 1.2, alphas.max() * 1.2)
            one.set_xlabel("alpha   (complex $\\leftarrow$  $\\rightarrow$ simple)")
            self._mark_alpha_max(one)
        return self

    def _mark_alpha_max(self, ax):
        (low, high), alpha_max = ax.get_xlim(), self.path.alpha_max
        if low <= alpha_max <= high:
            ax.axvline(alpha_max, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
            style = {"ha": "right", "va": "bottom", "fontsize": "small", "color": GREY}
            ax.text(alpha_max, 1.01, "alpha_max", transform=ax.get_xaxis_transform(), **style)

    def _scores(self):
        scores = {"train": self.path.train_scores, "validation": self.path.validation_scores}
        return {name: values for name, values in scores.items() if values is not None}

    def _plot_norms(self, ax):
        networks = self.path.networks
        norms, group, styles = match_neurons(networks, output_names(self.path.estimators[0], len(networks[0].b2)))
        norms[norms == 0] = np.nan
        many = len(norms) > 60
        style = {"marker": ".", "markersize": 3 if many else 5, "linewidth": 0.7 if many else 1.4, "alpha": 0.7}
        for k, (label, color, direction) in enumerate(styles):
            chosen = direction * norms[group == k]
            if len(chosen):
                # one artist for a group: a column of NaN ends each line
                heights = np.pad(chosen, [(0, 0), (0, 1)], constant_values=np.nan).ravel()
                places = np.tile(np.append(self.path.alphas, np.nan), len(chosen))
                self.norm_lines_ += ax.plot(places, heights, color=color, label=plain(label), **style)
        both = any(direction < 0 for _, _, direction in styles)
        if both:
            ax.axhline(0, color=DARK, linewidth=0.8, zorder=1)
        else:
            ax.set_ylim(bottom=0)
        ax.set_title("Neurons", loc="left")
        ax.set_ylabel("$|w_j|\\,a_j$" if both else "$|w_j|\\,|a_j|$")
        add_legend(ax, loc="best" if len(norms) < 30 else "upper right")

    def _plot_n_neurons(self, ax):
        from matplotlib.ticker import MaxNLocator

        self._line(ax, "n_neurons", self.path.n_neurons, DARK)
        ax.set_title("Number of neurons", loc="left")
        ax.set_ylabel("neurons")
        ax.set_ylim(bottom=0, top=None if np.any(self.path.n_neurons) else 1)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))

    def _plot_regularizer(self, ax):
        self._line(ax, "regularizer", self.path.regularizers, CYCLE[2])
        ax.set_title("Weight decay", loc="left")
        ax.set_ylabel("$R$(alpha), sum of all $|w_j|\\,|a_j|$")
        ax.set_ylim(bottom=0)

    def _plot_scores(self, ax):
        scoring, alphas = self.path.scoring, self.path.alphas
        name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
        error = name.startswith("neg_")
        name, sign = name.removeprefix("neg_").replace("_", " "), -1 if error else 1
        for kind, scores in self._scores().items():
            self._line(ax, kind, sign * scores, GREY if kind == "train" else POSITIVE, label=kind)
            if kind == "validation" and np.isfinite(scores).any():
                best = np.nanargmax(scores)
                label = f"best validation, alpha = {alphas[best]:.3g}"
                ax.plot(alphas[best], sign * scores[best], "*", color=NEGATIVE, markersize=12, label=label)
        ax.set_title("Error" if error else "Score", loc="left")
        ax.set_ylabel(f"{plain(name)} ({'lower' if error else 'higher'} is better)")
        add_legend(ax)

    def _line(self, ax, name, values, color, **style):
        self.lines_[name] = ax.plot(self.path.alphas, values, "o-", color=color, markersize=3, **style)[0]

    def _plot_objective(self, ax):
        alphas, bounds, objectives = self.path.alphas, self.path.lower_bounds, self.path.objectives
        ax.fill_between(alphas, bounds, objectives, color=blend(NEGATIVE, 0.3), linewidth=0)
        self.lines_["objective"] = ax.plot(alphas, objectives, color=POSITIVE, label="objective", lw=2.2)[0]
        self.lines_["lower_bound"] = ax.plot(alphas, bounds, color=NEGATIVE, ls=(0, (4, 3)), lw=1.2)[0]
        mark_scopes(ax, alphas, bounds, self.path.scopes, "bound: ", markersize=4, color=NEGATIVE)
        ax.set_title("Objective and bound", loc="left")
        ax.set_ylabel("training objective")
        add_legend(ax, loc="upper left")

    def _plot_gap(self, ax):
        alphas, gaps = self.path.alphas, np.maximum(self.path.gaps, LEAST_GAP)
        self.lines_["gap"] = ax.plot(alphas, gaps, color=GREY, linewidth=0.8)[0]
        mark_scopes(ax, alphas, gaps, self.path.scopes, markersize=4, color=DARK)
        gap_scale(ax, self.path.gaps, 10)
        ax.set_title(f"Gap, at most {percent(self.path.gaps.max())}", loc="left")
        ax.set_ylabel("relative gap")
        add_legend(ax)


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
