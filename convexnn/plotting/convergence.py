"""Convergence: objective, lower bound and gap against time, beside runs of other methods."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..utils.validation import check_choice
from .neurons import fitted_model
from .style import (
    CYCLE,
    DARK,
    GREY,
    LEAST_GAP,
    NEGATIVE,
    POSITIVE,
    PROVISIONAL_WORDS,
    SCOPE_MARKERS,
    SCOPE_WORDS,
    frame,
    inside_legend,
    log_scale,
    panel_axes,
    plain,
)

__all__ = ["ConvergenceDisplay"]

PANELS = ("objective", "gap")
# Colours of runs; the objective and the bound have the first two of the cycle.
RUN_COLORS = (CYCLE[4], CYCLE[3], CYCLE[2], CYCLE[5])


class ConvergenceDisplay:
    """Objective and lower bound of a convex program against time, and the relative gap between them.

    Runs of other methods may be drawn beside. They have no bound of their own: their gap is the part of their objective
    that is above the last lower bound of the convex program. Build it with `from_estimator` or `from_history`.

    Parameters
    ----------
    times : array-like of shape (n_records,)
        Time since the start, in seconds.
    objectives, lower_bounds, gaps : array-like of shape (n_records,)
        Objective, lower bound and relative gap at each time.
    scopes : sequence of str, length n_records
        Scope of every bound: "sampled", "local" or "global".
    provisional : sequence of bool, length n_records, or None, default=None
        Whether every bound is provisional: of a short search that no thorough one confirmed, drawn as hollow markers.
        None: none is.
    runs : dict of str to list of (ndarray, ndarray), or None, default=None
        Times (s) and objectives of every run of a method, by the name of the method.
    tol : float or None, default=None
        The relative gap asked for.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_panels,)
        The panels, in the order asked for.
    figure_ : Figure
        The figure.
    lines_ : dict of str to Line2D
        "objective" and "lower_bound", "gap", and "provisional" where bounds are: the last one drawn.
    run_lines_ : dict of str to list of Line2D
        For every method a line for each run, in the first panel and then in the second.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexReLURegressor
    >>> from convexnn.baselines import train_adam
    >>> from convexnn.plotting import ConvergenceDisplay
    >>> x = np.linspace(-1, 1, 10)[:, None]
    >>> model = ConvexReLURegressor(0.1, arrangements="all").fit(x, np.abs(x[:, 0]))
    >>> adam = [train_adam(x, np.abs(x[:, 0]), 0.1, n_epochs=20, random_state=seed) for seed in range(2)]
    >>> display = ConvergenceDisplay.from_estimator(model, runs={"Adam": adam})
    >>> len(display.run_lines_["Adam"])
    4
    """

    def __init__(
        self,
        *,
        times: Sequence,
        objectives: Sequence,
        lower_bounds: Sequence,
        gaps: Sequence,
        scopes: Sequence,
        provisional: Sequence | None = None,
        runs: Mapping | None = None,
        tol: float | None = None,
    ):
        self.times = np.asarray(times, dtype=float)
        self.objectives = np.asarray(objectives, dtype=float)
        self.lower_bounds = np.asarray(lower_bounds, dtype=float)
        self.gaps = np.asarray(gaps, dtype=float)
        self.scopes = list(scopes)
        self.provisional = np.zeros(len(self.scopes), bool) if provisional is None else np.asarray(provisional, bool)
        self.runs = {} if runs is None else dict(runs)
        self.tol = tol

    @classmethod
    def from_estimator(cls, estimator: Any, *, runs: Mapping | None = None, ax: Any = None, **options: Any) -> Self:
        """Draw how the training of an estimator converged.

        Parameters
        ----------
        estimator : estimator of convexnn
            A fitted estimator.
        runs, ax, **options
            As in `from_history`; `tol` is that of the estimator.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.
        """
        estimator, _ = fitted_model(estimator)
        return cls.from_history(estimator.history_, runs=runs, tol=estimator.tol, ax=ax, **options)

    @classmethod
    def from_history(
        cls,
        history: Sequence,
        *,
        runs: Mapping | None = None,
        tol: float | None = None,
        panels: Sequence = PANELS,
        time_scale: str = "log",
        ax: Any = None,
    ) -> Self:
        """Draw a history.

        Parameters
        ----------
        history : list of dict
            Records of time (s), objective, lower_bound, gap, scope and maybe provisional: `history_` of an estimator,
            or `history` of a `Solution`.
        runs : dict of str to list of Training, or None, default=None
            Runs of methods of `convexnn.baselines`, say {"Adam": [train_adam(...), ...]}, on the same objective. Their
            times do not count the choice of a learning rate.
        tol : float or None, default=None
            The relative gap asked for.
        panels, time_scale, ax
            As in `plot`.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the history is empty, or a method has no runs.
        """
        if not len(history):
            raise ValueError("history must have at least one record; got none")
        columns = {f"{name}s": [record[name] for record in history] for name in ("time", "objective", "gap", "scope")}
        columns["lower_bounds"] = [record["lower_bound"] for record in history]
        columns["provisional"] = [record.get("provisional", False) for record in history]
        curves = {name: [_curve(name, run) for run in group] for name, group in (runs or {}).items()}
        if not all(curves.values()):
            raise ValueError(f"runs must have at least one run for each method; got none for one of {list(curves)}")
        return cls(**columns, runs=curves, tol=tol).plot(panels=panels, time_scale=time_scale, ax=ax)

    def plot(self, ax: Any = None, *, panels: Sequence = PANELS, time_scale: str = "log") -> Self:
        """Draw the convergence.

        Parameters
        ----------
        ax : Axes, array-like of Axes, or None, default=None
            Where: None is a new figure. One Axes of a grid is split up where there are two panels; an array has one
            Axes for each.
        panels : sequence of str, default=("objective", "gap")
            Which, and in which order.
        time_scale : {"log", "linear"}, default="log"
            Scale of time; a logarithmic one leaves out what happens at time 0.

        Returns
        -------
        ConvergenceDisplay
            This display.

        Raises
        ------
        ValueError
            If a panel or scale is unknown, or ax does not fit the panels.
        """
        check_choice("time_scale", time_scale, ("log", "linear"))
        if isinstance(panels, str) or not len(panels):
            raise ValueError(f"panels must be a sequence of names of {PANELS}; got {panels!r}")
        for panel in panels:
            check_choice("panels", panel, PANELS)
        self.axes_ = panel_axes(ax, len(panels), len(panels), (5.2, 3.6))
        self.figure_ = self.axes_[0].figure
        self.lines_, self.run_lines_ = {}, {name: [] for name in self.runs}
        for one, panel in zip(self.axes_, panels, strict=True):
            frame(one)
            self._plot_objective(one) if panel == "objective" else self._plot_gap(one)
            one.set_xlabel("training time [s]")
            self._limit_time(one, time_scale)
            inside_legend(one, loc="upper right" if self.runs and panel == "objective" else "best")
        return self

    def _limit_time(self, ax, scale):
        times = np.concatenate([self.times, *(times for group in self.runs.values() for times, _ in group)])
        if scale == "linear":
            ax.set_xlim(0, 1.04 * times.max())
            return
        times = times[times > 0]
        log_scale(ax, "x", times)
        if len(times):
            margin = max(1.5, np.sqrt(10 * times.min() / times.max()))
            ax.set_xlim(times.min() / margin, times.max() * margin)

    def _plot_runs(self, ax, values_of, words=""):
        colors = (RUN_COLORS[k % len(RUN_COLORS)] for k in range(len(self.runs)))
        for (name, group), color in zip(self.runs.items(), colors, strict=False):
            for k, (times, objectives) in enumerate(group):
                label = plain(f"{name}, {len(group)} runs" if len(group) > 1 else name) + words
                style = {"color": color, "linewidth": 1.1, "label": None if k else label}
                self.run_lines_[name] += ax.plot(times, values_of(objectives), **style)

    def _plot_objective(self, ax):
        self._plot_runs(ax, lambda objectives: objectives)
        solid = {"marker": "o", "markersize": 5, "linewidth": 1.8, "color": POSITIVE}
        self.lines_["objective"] = ax.plot(self.times, self.objectives, label="convex: objective", **solid)[0]
        label = f"convex: lower bound, {SCOPE_WORDS[self.scopes[-1]]}"
        dashed = {"marker": SCOPE_MARKERS[self.scopes[-1]], "markersize": 3, "linestyle": "--", "linewidth": 1.2}
        dashed |= {"color": NEGATIVE, "markevery": np.flatnonzero(~self.provisional).tolist()}
        self.lines_["lower_bound"] = ax.plot(self.times, self.lower_bounds, label=label, **dashed)[0]
        self._plot_provisional(ax, self.lower_bounds, NEGATIVE)
        ax.axhline(self.lower_bounds[-1], color=NEGATIVE, linewidth=0.8, linestyle=":", zorder=0)
        ax.set_ylim(self._objective_limits())
        ax.set_title("Objective and lower bound", loc="left")
        ax.set_ylabel("training objective")

    def _plot_provisional(self, ax, values, color):
        """Mark values of bounds that no thorough search confirmed."""
        if self.provisional.any():
            label, chosen = f"convex: {PROVISIONAL_WORDS}", self.provisional
            style = {"markersize": 3, "color": color, "markerfacecolor": "white", "label": label}
            self.lines_["provisional"] = ax.plot(self.times[chosen], values[chosen], "o", **style)[0]

    def _objective_limits(self):
        """Return limits that show where runs end, but for runs that are far above the others, not where they start."""
        low, ends = self.lower_bounds[-1], [[run[1][-1] for run in group] for group in self.runs.values()]
        span = self.objectives.max() - low
        if ends:
            usual, worst = max(np.median(group) for group in ends), max(max(group) for group in ends)
            span = max(span, min(worst - low, 3 * (usual - low)))
        if span <= 1e-6 * abs(low):
            span = 0.05 * abs(low) or 1.0
        top = low + (1.5 if ends else 1.1) * span
        return max(self.lower_bounds.min(), low - (1.0 if ends else 6.0) * span) - 0.1 * span, top

    def _plot_gap(self, ax):
        low, scopes, gaps = self.lower_bounds[-1], np.array(self.scopes), np.maximum(self.gaps, LEAST_GAP)
        self._plot_runs(ax, lambda objectives: _part_above(objectives, low), ", to the last bound")
        if self.runs:
            above = _part_above(self.objectives, low)
            ax.plot(self.times, above, color=POSITIVE, linewidth=1.4, label="convex, to the last bound")
        self.lines_["gap"] = ax.plot(self.times, gaps, color=DARK, linewidth=1.4)[0]
        for scope in (scope for scope in SCOPE_WORDS if scope in scopes[~self.provisional]):
            chosen = (scopes == scope) & ~self.provisional
            style = {"markersize": 3, "color": DARK, "label": f"convex: {SCOPE_WORDS[scope]}"}
            ax.plot(self.times[chosen], gaps[chosen], SCOPE_MARKERS[scope], **style)
        self._plot_provisional(ax, gaps, DARK)
        if self.tol is not None:
            ax.axhline(self.tol, color=GREY, linewidth=1, linestyle="--", label=f"tol = {self.tol:g}")
        if (self.gaps < LEAST_GAP).any():
            ax.text(0.01, LEAST_GAP * 1.3, "0 to rounding", fontsize="small", transform=ax.get_yaxis_transform())
        log_scale(ax, "y", np.append(gaps, gaps.min() / 100))
        ax.set_title("Relative gap", loc="left")
        ax.set_ylabel("(objective - bound) / objective")


def _part_above(objectives, bound):
    return np.maximum((objectives - bound) / objectives, LEAST_GAP)


def _curve(name, run):
    """Return the times and objectives of a run."""
    if not len(getattr(run, "history", ())):
        raise ValueError(
            f"runs must be runs of convexnn.baselines with records in their history; got {run!r} for {name!r}"
        )
    return tuple(np.array([record[key] for record in run.history]) for key in ("time", "objective"))
