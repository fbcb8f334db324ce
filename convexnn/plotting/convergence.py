"""Convergence: objective, lower bound and gap against time, beside runs of other methods."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from ..utils.validation import check_choice
from .display import (
    CYCLE,
    DARK,
    GREY,
    LEAST_GAP,
    NEGATIVE,
    POSITIVE,
    SCOPE_MARKERS,
    SCOPE_WORDS,
    Display,
    add_legend,
    check_panels,
    gap_scale,
    log_scale,
    mark_scopes,
    plain,
)
from .neurons import fitted_model

__all__ = ["ConvergenceDisplay"]

PANELS = ("objective", "gap")
# Colours of runs; the objective and the bound have the first two of the cycle.
RUN_COLORS = (CYCLE[4], CYCLE[3], CYCLE[2], CYCLE[5])


class ConvergenceDisplay(Display):
    """Objective and lower bound of a convex program against time, and the relative gap between them.

    Runs of other methods may be drawn beside. They have no bound of their own: their gap is the fraction of their
    objective that is above the last lower bound of the convex program. Bounds of a short search that no thorough one
    confirmed are hollow markers. Build it with `from_estimator` or `from_history`.

    Parameters
    ----------
    history : list of dict
        Records of time (s), objective, lower_bound, gap, scope and maybe provisional, at least one: `history_` of an
        estimator, or `history` of a `Solution`.
    runs : dict of str to list of Training, or None, default=None
        Runs of methods of `convexnn.baselines`, say {"Adam": [train_adam(...), ...]}, on the same objective. Their
        times do not count the choice of a learning rate.
    tol : float or None, default=None
        The relative gap asked for.

    Attributes
    ----------
    axes_, figure_ : ndarray of Axes of shape (n_panels,), Figure
        The panels, in the order asked for, and their figure.
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

    def __init__(self, history: Sequence, *, runs: Mapping | None = None, tol: float | None = None):
        if not len(history):
            raise ValueError("history must have at least one record; got none")
        self.history, self.tol = history, tol
        self.runs = {name: [_curve(name, run) for run in group] for name, group in (runs or {}).items()}
        if not all(self.runs.values()):
            raise ValueError(f"runs must have at least one run for each method; got none for one of {list(self.runs)}")

    @classmethod
    def from_estimator(cls, estimator: Any, *, runs: Mapping | None = None, ax: Any = None, **options: Any) -> Self:
        """Draw `history_` and `tol` of a fitted estimator, and runs of other methods, by `plot`; return the display."""
        estimator, _ = fitted_model(estimator)
        return cls(estimator.history_, runs=runs, tol=estimator.tol).plot(ax=ax, **options)

    @classmethod
    def from_history(
        cls, history: Sequence, *, runs: Mapping | None = None, tol: float | None = None, ax: Any = None, **options: Any
    ) -> Self:
        """Draw a history, and runs of other methods, by `plot`; return the display."""
        return cls(history, runs=runs, tol=tol).plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, panels: Sequence = PANELS, time_scale: str = "log") -> Self:
        """Draw the convergence into `ax`; return the display.

        `ax` is an Axes, which is split up for two panels if it is one of a grid, an array of one Axes for each panel,
        or None for a new figure. `panels` are "objective" and "gap", in the order to draw them. A `time_scale` of "log"
        leaves out what happens at time 0; the other is "linear".
        """
        check_choice("time_scale", time_scale, ("log", "linear"))
        panels = check_panels("panels", panels, PANELS)
        self.lines_, self.run_lines_ = {}, {name: [] for name in self.runs}
        for one, panel in zip(self._draw_panels(ax, panels, len(panels), (5.2, 3.6)), panels, strict=True):
            one.set_xlabel("training time [s]")
            self._limit_time(one, time_scale)
            add_legend(one, loc="upper right" if self.runs and panel == "objective" else "best")
        return self

    def _column(self, name):
        return np.array([record[name] for record in self.history])

    def _provisional(self):
        return np.array([record.get("provisional", False) for record in self.history])

    def _limit_time(self, ax, scale):
        times = np.concatenate([self._column("time"), *(times for group in self.runs.values() for times, _ in group)])
        if scale == "linear":
            ax.set_xlim(0, 1.04 * times.max())
            return
        times = times[times > 0]
        log_scale(ax, "x", times)
        if len(times):
            margin = max(1.5, np.sqrt(10 * times.min() / times.max()))
            ax.set_xlim(times.min() / margin, times.max() * margin)

    def _plot_runs(self, ax, values_of, words=""):
        for place, (name, group) in enumerate(self.runs.items()):
            style = {"color": RUN_COLORS[place % len(RUN_COLORS)], "linewidth": 1.1}
            label = plain(f"{name}, {len(group)} runs" if len(group) > 1 else name) + words
            for k, (times, objectives) in enumerate(group):
                self.run_lines_[name] += ax.plot(times, values_of(objectives), label=None if k else label, **style)

    def _plot_objective(self, ax):
        times, bounds, provisional = self._column("time"), self._column("lower_bound"), self._provisional()
        self._plot_runs(ax, lambda objectives: objectives)
        solid = {"marker": "o", "markersize": 5, "linewidth": 1.8, "color": POSITIVE, "label": "convex: objective"}
        self.lines_["objective"] = ax.plot(times, self._column("objective"), **solid)[0]
        scope = self.history[-1]["scope"]
        dashed = {"marker": SCOPE_MARKERS[scope], "markersize": 3, "linestyle": "--", "linewidth": 1.2}
        dashed |= {"color": NEGATIVE, "markevery": np.flatnonzero(~provisional).tolist()}
        dashed["label"] = f"convex: lower bound, {SCOPE_WORDS[scope]}"
        self.lines_["lower_bound"] = ax.plot(times, bounds, **dashed)[0]
        self._plot_provisional(ax, bounds, NEGATIVE)
        ax.axhline(bounds[-1], color=NEGATIVE, linewidth=0.8, linestyle=":", zorder=0)
        ax.set_ylim(self._objective_limits())
        ax.set_title("Objective and lower bound", loc="left")
        ax.set_ylabel("training objective")

    def _plot_provisional(self, ax, values, color):
        """Mark values of bounds that no thorough search confirmed."""
        chosen = self._provisional()
        if chosen.any():
            style = {"markersize": 3, "color": color, "markerfacecolor": "white"}
            label, times = "convex: provisional, by a short search", self._column("time")
            self.lines_["provisional"] = ax.plot(times[chosen], values[chosen], "o", label=label, **style)[0]

    def _objective_limits(self):
        """Return limits that show where runs end, but for runs that are far above the others, not where they start."""
        bounds, ends = self._column("lower_bound"), [[run[1][-1] for run in group] for group in self.runs.values()]
        low = bounds[-1]
        span = self._column("objective").max() - low
        if ends:
            usual, worst = max(np.median(group) for group in ends), max(max(group) for group in ends)
            span = max(span, min(worst - low, 3 * (usual - low)))
        if span <= 1e-6 * abs(low):
            span = 0.05 * abs(low) or 1.0
        top = low + (1.5 if ends else 1.1) * span
        return max(bounds.min(), low - (1.0 if ends else 6.0) * span) - 0.1 * span, top

    def _plot_gap(self, ax):
        times, low, confirmed = self._column("time"), self.history[-1]["lower_bound"], ~self._provisional()

        def above(objectives):
            return np.maximum((objectives - low) / objectives, LEAST_GAP)

        self._plot_runs(ax, above, ", to the last bound")
        if self.runs:
            style = {"color": POSITIVE, "linewidth": 1.4, "label": "convex, to the last bound"}
            ax.plot(times, above(self._column("objective")), **style)
        gaps = np.maximum(self._column("gap"), LEAST_GAP)
        self.lines_["gap"] = ax.plot(times, gaps, color=DARK, linewidth=1.4)[0]
        scopes = self._column("scope")[confirmed]
        mark_scopes(ax, times[confirmed], gaps[confirmed], scopes, "convex: ", markersize=3, color=DARK)
        self._plot_provisional(ax, gaps, DARK)
        if self.tol is not None:
            ax.axhline(self.tol, color=GREY, linewidth=1, linestyle="--", label=f"tol = {self.tol:g}")
        gap_scale(ax, self._column("gap"), 100)
        ax.set_title("Relative gap", loc="left")
        ax.set_ylabel("(objective - bound) / objective")


def _curve(name, run):
    """Return the times and objectives of a run."""
    if not len(getattr(run, "history", ())):
        raise ValueError(f"runs must be runs of convexnn.baselines with a history of records; got {run!r} for {name!r}")
    return tuple(np.array([record[key] for record in run.history]) for key in ("time", "objective"))
