"""What is proved about a result: its objective, a lower bound, and over which networks the bound holds."""

from dataclasses import dataclass

import numpy as np

__all__ = ["SCOPES", "Certificate"]

SCOPES = {
    "sampled": "the bound holds over the given activation patterns only; other patterns may do better",
    "local": "no pattern among all that violates the bound was found by local search, which proves nothing: "
    "networks below the bound may exist",
    "global": "proved over all activation patterns: no network of any width has a lower objective than the bound",
}


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
    rounding : float, default=0
        Difference of the two values that rounding explains, where the data are fitted exactly and both should be zero.
    proved_bound : float, default=0
        A lower bound that is proved over all networks, whatever the scope of `lower_bound`; 0 where none is known.

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
    rounding: float = 0.0
    proved_bound: float = 0.0

    def __post_init__(self):
        for name in ("objective", "lower_bound", "rounding", "proved_bound"):
            object.__setattr__(self, name, float(getattr(self, name)))  # scalars of numpy

    @property
    def gap(self) -> float:
        """Relative gap |objective - lower_bound| / objective, of the kind that `scope` says.

        A bound above the objective can only be an error of rounding; it counts as a gap of its size, never as none.
        """
        return self._gap(self.lower_bound)

    @property
    def proved_gap(self) -> float:
        """Relative gap to what is proved over all networks: the result is at most this far from the global optimum."""
        return self._gap(self.lower_bound if self.scope == "global" else self.proved_bound)

    def _gap(self, bound):
        difference = abs(self.objective - bound)
        return 0.0 if difference <= self.rounding else difference / max(self.objective, np.finfo(float).tiny)

    def __str__(self):
        text = (
            f"objective {self.objective:.10g}, lower bound {self.lower_bound:.10g}, gap {self.gap:.1e} "
            f'(scope "{self.scope}": {SCOPES[self.scope]})'
        )
        if self.scope != "global" and self.proved_bound > 0:
            text += (
                f". Proved over all activation patterns: no network of any width is below {self.proved_bound:.10g}, "
                f"a gap of {self.proved_gap:.1e}"
            )
        return text
