"""What is proved about a result: its objective, a lower bound, and over which networks the bound holds."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

__all__ = ["SCOPES", "Certificate", "contradicts", "uncontradicted"]

# Part of an objective by which a bound may be above it for no other reason than that both are rounded.
ROUNDING = 1e-12
# Part of an objective from which its rounding is worth a word.
VISIBLE = 1e-8

SCOPES = {
    "sampled": "the bound holds over the given activation patterns only; other patterns may do better",
    "local": "no pattern among all that violates the bound was found by local search, which proves nothing: "
    "networks below the bound may exist",
    "global": "proved over all activation patterns: no network of any width has a lower objective than the bound",
}
PROVISIONAL = (
    "the bound is provisional: the run ended before a thorough search confirmed it, and short ones often miss patterns "
    "that violate it"
)


@dataclass(frozen=True)
class Certificate:
    """What is proved about a result.

    Parameters
    ----------
    objective : float
        Value of the objective at the result: an upper bound of the optimum.
    lower_bound : float
        Value of the dual function at a dual vector that is feasible over what `scope` says.
    scope : {"sampled", "local", "global"}
        "sampled": the bound is proved for networks whose neurons have the given activation patterns (gated ReLU: the
        given gates). "local": the dual vector is feasible as far as local search over all patterns could find; the
        bound is an estimate. "global": the bound is proved for every ReLU network of the architecture, of any width.
    negligible : float, default=0
        Objectives up to this are zero but for rounding: the data are fitted exactly.
    proved_bound : float, default=0
        A lower bound that is proved over all networks, whatever the scope of `lower_bound`; 0 where none is known.
    provisional : bool, default=False
        Whether the run ended before a thorough search confirmed `lower_bound`, of scope "local": it is an estimate by a
        short search, mostly too high.
    rounding : float, default=0
        How far `objective`, computed in double precision, may be from its exact value. Large weights that cancel make
        it large; it is part of the gap where it is above 1e-12 of the objective.

    Raises
    ------
    ValueError
        If a bound is above the objective by more than the rounding of both (1e-12 of it, `rounding` and `negligible`):
        the network refutes it.

    Examples
    --------
    >>> from convexnn import Certificate
    >>> certificate = Certificate(2.0, 1.99, "local", proved_bound=1.5)
    >>> round(certificate.gap, 9), round(certificate.proved_gap, 9)
    (0.005, 0.25)
    """

    objective: float
    lower_bound: float
    scope: str
    negligible: float = 0.0
    proved_bound: float = 0.0
    provisional: bool = False
    rounding: float = 0.0

    def __post_init__(self):
        for name in ("objective", "lower_bound", "negligible", "proved_bound", "rounding"):
            object.__setattr__(self, name, float(getattr(self, name)))  # scalars of numpy
        for name in ("lower_bound", "proved_bound"):
            if contradicts(self.objective, getattr(self, name), self.rounding + self.negligible):
                raise ValueError(
                    f"{name} must be at most the objective, {self.objective!r}, which refutes it; "
                    f"got {getattr(self, name)!r}"
                )

    def of(self, objective: float, rounding: float = 0.0) -> Self:
        """Return the certificate of another objective, known to `rounding`; bounds that it refutes are 0."""
        lower, proved = (
            uncontradicted(objective, bound, rounding + self.negligible)
            for bound in (self.lower_bound, self.proved_bound)
        )
        lower, provisional = max(lower, proved), self.provisional and lower > proved
        bounds = {"lower_bound": lower, "proved_bound": proved, "provisional": provisional}
        return replace(self, objective=objective, rounding=rounding, **bounds)

    @property
    def gap(self) -> float:
        """Relative gap (objective - lower_bound) / objective, of the kind that `scope` says.

        0 where the objective is `negligible`; `rounding` is added to the objective where it is not small.
        """
        return self._gap(self.lower_bound)

    @property
    def proved_gap(self) -> float:
        """Relative gap to what is proved over all networks: the result is at most this far from the global optimum."""
        return self._gap(self.lower_bound if self.scope == "global" else self.proved_bound)

    def _gap(self, bound):
        rounding = self.rounding if self.rounding > ROUNDING * self.objective else 0.0
        difference = float(max(self.objective - bound, 0.0) + rounding)
        if difference <= self.negligible:
            return 0.0
        return difference / max(float(self.objective), float(np.finfo(float).tiny))

    def reaches(self, tol: float) -> bool:
        """Return whether the gap is at most `tol`, by a bound that is not provisional."""
        return self.gap <= tol and not self.provisional

    def __str__(self):
        meaning = PROVISIONAL if self.provisional else SCOPES[self.scope]
        text = (
            f"objective {self.objective:.10g}, lower bound {self.lower_bound:.10g}, gap {self.gap:.1e} "
            f'(scope "{self.scope}": {meaning})'
        )
        if self.rounding > VISIBLE * self.objective > 0:
            text += f". Large weights cancel: the objective is known to {self.rounding:.1e} only"
        if self.scope != "global" and self.proved_bound > 0:
            text += (
                f". Proved over all activation patterns: no network of any width is below {self.proved_bound:.10g}, "
                f"a gap of {self.proved_gap:.1e}"
            )
        return text


def contradicts(objective: float, bound: float, rounding: float = 0.0) -> bool:
    """Return whether an objective refutes a bound: is below it by more than the rounding of both."""
    return bool(bound - objective > ROUNDING * abs(objective) + rounding)


def uncontradicted(objective: float, bound: float, rounding: float = 0.0) -> float:
    """Return a bound that is above an objective by rounding as far below it, and 0 where that refutes it."""
    return 0.0 if contradicts(objective, bound, rounding) else min(bound, max(2.0 * objective - bound, 0.0))
