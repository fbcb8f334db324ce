"""How a run ended, in words: the optimum over which patterns, proved or not, and what to do."""

from enum import StrEnum
from math import ceil, floor, log10

from .certificate import Certificate

__all__ = ["Status", "summary"]

# Below this fraction of alpha_max problems are slow, and near interpolation.
SMALL_ALPHA = 1e-4


class Status(StrEnum):
    """How a run ended, in the words that are shown: the solver was ..."""

    SOLVED = "solved"
    COMPLETE = "complete"  # of a path
    TIME_LIMIT = "stopped at time_limit"
    MAX_ITER = "stopped at max_iter"
    CALLBACK = "stopped by the callback"
    INTERRUPTED = "interrupted"
    NO_PROGRESS = "stopped for lack of progress (rounding, or the limits of the inner solver or of the search)"
    ROUNDED = "stopped where rounding, which the bound is charged for, is all that is left"
    CANCELLED = "stopped by rounding: weights so large cancel that the objective is not known to the tolerance"
    MISSED = "stopped: its search missed patterns, as the bound that it found is above the objective and was dropped"
    NO_MINIMUM = "stopped at a loss without a minimum (bias and skip separate the classes, so that it tends to 0)"
    LOW_RANK = "done at the rank given, whose certificate allows for the directions left out"
    UNCERTIFIED = "not certified"
    UNPROVED = "stopped before the proof was complete"
    UNRESOLVED = (
        "stopped before a proof: columns of X, which the skip may use at no cost, agree up to rounding, but not "
        "exactly: huge weights may lower the objective"
    )
    # of a search for a bound of kappa
    PROVED = "proved"
    REFUTED = "refuted"
    MAX_NODES = "stopped at max_nodes"
    MEMORY = "stopped by the limit of memory"
    PRECISION = "stopped by the limit of precision"
    HIGH_RANK = "stopped at the first bound: the rank of X is too high for more"

    def __repr__(self):
        return str.__repr__(self)  # as the words that it is


KEPT = "The best network so far is kept; fit again to go further."
# What to do, where tol was not reached.
REMEDIES = {
    Status.MISSED: "Fit again with another random_state.",
    Status.UNPROVED: ('The proof needs more time: raise time_limit or tol. scope="auto" is content with an estimate.'),
    Status.TIME_LIMIT: "Raise time_limit or tol.",
    "user_limit": "Raise max_iter or time_limit, or tol.",  # of solvers of cvxpy
    Status.MAX_ITER: "Raise max_iter (None is the solver's own limit) or tol.",
    Status.NO_PROGRESS: "Raise tol; or standardise the features, or raise alpha, if the data are badly scaled.",
    Status.LOW_RANK: "Raise rank, or leave it at None.",
    Status.CALLBACK: KEPT,
    Status.INTERRUPTED: KEPT,
}


def summary(
    certificate: Certificate,
    tol: float,
    status: str,
    *,
    n_neurons: int | None = None,
    alpha: float | None = None,
    alpha_max: float | None = None,
    time: float | None = None,
) -> str:
    """Say in words how a run ended: the optimum over which patterns, proved or not, and what to do.

    `status` is a Status, or what a solver of cvxpy said, and `time` is in seconds; what is None is not said.
    """
    solved = (status == Status.SOLVED or certificate.gap <= tol) and not certificate.provisional
    small = None not in (alpha, alpha_max) and alpha < SMALL_ALPHA * alpha_max
    lines = [_outcome(certificate, tol, status, solved), _meaning(certificate)]
    lines.append(_facts(n_neurons, alpha, alpha_max, time))
    if n_neurons == 0:
        lines.append(_why_zero(alpha, alpha_max))
    if not solved:
        lines.append(_remedy(certificate, status))
    if small and not solved:
        lines.append(
            f"alpha is only {alpha / alpha_max:.1g} of alpha_max, where training is slow: try a larger alpha, or "
            "minimum_norm_interpolation for its limit at 0."
        )
    if certificate.scope == "local":
        lines.append(
            'For a proof: scope="global" (seconds up to about six features; give a time_limit beyond that; not for '
            "several outputs that share neurons)."
        )
    elif certificate.scope == "sampled":
        lines.append(
            'For the optimum over all patterns: arrangements="adaptive" (activation "relu", "leaky_relu" or "abs" with '
            'hidden_norm="l2"); elsewhere more patterns may lower the objective.'
        )
    return "\n".join(line for line in lines if line)


def _outcome(certificate, tol, status, solved):
    if solved:
        gap = f"{certificate.gap:.1e}" if certificate.gap else "0"
        return f"Solved to a relative gap of {gap} (tol={tol:g})."
    usual = status in set(Status)
    reason = f"the solver was {status}" if usual else f"the solver ended with status {status!r}"
    provisional = ", by a provisional bound" if certificate.provisional else ""
    return f"Not solved to tol={tol:g}: {reason}. The relative gap is {certificate.gap:.1e}{provisional}."


def _meaning(certificate):
    """Say what the bound is worth: a local or a sampled one is no proof over all networks."""
    digits = 6 if certificate.gap <= 0 else min(max(6, 2 - floor(log10(certificate.gap))), 10)  # that tell them apart
    objective, bound = f"The objective is {certificate.objective:.{digits}g}.", f"{certificate.lower_bound:.{digits}g}"
    if certificate.scope == "global" and (certificate.lower_bound > 0 or certificate.objective <= 0):
        proved = f"no network of this kind, of any width, is below {bound}."
        return f"{objective} Proved over all activation patterns: {proved}"
    if certificate.lower_bound <= 0 < certificate.objective:
        text = f"{objective} No lower bound of it above 0 is known."
    elif certificate.provisional:
        text = (
            f"{objective} A short search found no network below {bound}, which is provisional: the run ended before a "
            "thorough search confirmed it."
        )
    elif certificate.scope == "local":
        text = (
            f"{objective} As far as search over all activation patterns could find, no network is below {bound}: an "
            "estimate, not a proof."
        )
    else:
        text = (
            f"{objective} Over the given activation patterns no network is below {bound}; networks with other patterns "
            "may be."
        )
    if certificate.proved_bound > 0:
        text += (
            f" Proved over all patterns: no network of any width is below {certificate.proved_bound:.6g}, a gap of "
            f"{certificate.proved_gap:.1e}."
        )
    return text


def _facts(n_neurons, alpha, alpha_max, time):
    facts = []
    if n_neurons is not None:
        facts.append(f"{n_neurons} neuron{'s' * (n_neurons != 1)}")
    if alpha is not None:
        share = f", {alpha / alpha_max:.2g} times alpha_max={alpha_max:.4g}" if alpha_max else ""
        facts.append(f"alpha={alpha:.4g}{share}")
    if time is not None:
        facts.append(f"{time:.1f} s" if time >= 1 else f"{time:.2g} s")
    return "; ".join(facts) + "." if facts else ""


def _why_zero(alpha, alpha_max):
    """Say why the network has no neurons."""
    text = "No neuron is active: the network is its output bias and its skip alone."
    if alpha is None or alpha_max is None:
        return f"{text} A smaller alpha makes neurons active."
    if alpha_max == 0:
        return (
            f"{text} At no alpha would a neuron lower the objective. That is up to rounding: standardise features that "
            "vary, but hardly beside their mean or the hidden bias."
        )
    if alpha >= alpha_max:
        return f"{text} alpha is not below alpha_max: choose a smaller one, such as {0.01 * alpha_max:.2g}."
    return f"{text} What neurons could gain at this alpha is within the gap: choose a smaller alpha, or a smaller tol."


def _remedy(certificate, status):
    """Say what to do where tol was not reached."""
    remedy = REMEDIES.get(status, "Raise tol, or try another solver.")
    if certificate.gap < 1e-2 and "tol" in remedy and not certificate.provisional:
        remedy += f" The gap is within tol={10.0 ** ceil(log10(certificate.gap)):.0e} now."
    return remedy
