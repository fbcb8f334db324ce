"""Watching a solver: the best point so far and its bound, the history, the limits, the progress shown."""

import logging
import time

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..model.certificate import Certificate, contradicts, uncontradicted
from ..model.program import Program, Solution
from ..model.summary import Status, summary
from ..pricing.kappa import kappa_bound
from ..utils.deadline import (
    TimeIsUp,
    breakable,
    check,
    despite_interrupt,
    end_now,
    interrupted,
    is_up,
    plain_interrupts,
    remaining,
    within,
)
from ..utils.progress import Progress
from ..utils.quiet import warn
from ..utils.threads import one_blas_thread
from ..utils.validation import check_count, check_positive

__all__ = ["Monitor", "check_blocks", "check_generated", "run_watched", "stalled"]

logger = logging.getLogger(__name__)


def run_watched(iterate, program, *, tol, max_iter, time_limit, callback, verbose, scope=None, finish=None):
    """Call `iterate(monitor)`; return finish(the best point as a Solution), whatever ended the run."""
    check_positive("tol", tol)
    max_iter = None if max_iter is None else check_count("max_iter", max_iter)
    time_limit = None if time_limit is None else check_positive("time_limit", time_limit)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None; got {callback!r}")

    def run(progress):
        monitor = Monitor(program, max_iter, callback, progress, scope)
        try:
            if program.fits_freely or program.separated:  # the zero network, at a bound of 0
                monitor.scope = "global" if scope == "local" else monitor.scope
                monitor.status = Status.NO_MINIMUM if program.separated else None
                monitor.record(0)
            elif monitor.zero_is_optimal(tol):
                monitor.scope = "global" if scope == "local" else monitor.scope
                monitor.record(0)
            else:
                with breakable(), plain_interrupts(), one_blas_thread():
                    check()
                    iterate(monitor)
        except TimeIsUp:
            monitor.over()
        except KeyboardInterrupt:
            end_now()
            monitor.status = Status.INTERRUPTED

        def result():
            if program.scope == "global" and scope is None:
                monitor.charge_rounding()
            solution = monitor.solution(tol)
            return solution if finish is None else finish(solution)

        return despite_interrupt(result)

    with Progress(verbose) as progress:
        return within(time_limit, run, progress)


def check_blocks(program, W_init):
    """Return a copy of W_init, zeros for None; raise ValueError where it is not real, finite, of `block_shape`."""
    if W_init is None:
        return np.zeros(program.block_shape)
    message = f"W_init must be real, finite and of shape {program.block_shape}"
    try:
        W = np.array(W_init)
        real = W.dtype.kind in "biuf"
    except ValueError as error:
        raise ValueError(f"{message}; got {W_init!r}") from error
    if not real or W.shape != program.block_shape or not np.isfinite(W).all():
        raise ValueError(f"{message}; got shape {W.shape} of {W.dtype}")
    return W.astype(np.float64)


def check_generated(program: Program) -> None:
    """Raise ValueError where the patterns of a program have to be given and cannot be generated."""
    program.require_blocks()
    architecture, activation = program.architecture, program.architecture.activation
    if not architecture.constrained:
        raise ValueError(
            f"solve_generation is for activations whose patterns are those of the weights (relu, leaky_relu, abs); the "
            f"patterns of {activation!r} networks are given"
        )
    if not program.penalty.rotation_invariant:
        raise ValueError(
            f'solve_generation needs hidden_norm="l2"; for {architecture.hidden_norm!r} give patterns: a number, '
            'or "all"'
        )
    if not np.isfinite(program.loss.value(program.Y, program.Y + 1.0)):
        raise ValueError("solve_generation needs a loss that is finite everywhere; interpolation needs given patterns")


def stalled(gaps, patience):
    """Return whether the last gap is more than half of that of `patience` iterations ago."""
    return len(gaps) > patience and gaps[-1] > 0.5 * gaps[-1 - patience]


class Monitor:
    """The best feasible point of a program, the best lower bound, and whether to stop.

    `max_iter` limits the records; the deadline of the call limits the time.
    """

    def __init__(self, program, max_iter, callback, progress, scope=None):
        self.program, self.scope = program, scope or program.scope
        self.max_iter, self.callback, self.progress = max_iter, callback, progress
        self.start, self.seconds = time.perf_counter(), remaining()
        self.history, self.status, self.reserve = [], None, 0.0
        zero, self.beta = program.zero()
        self.blocks, self.W = np.zeros(0, np.int64), zero[:0]
        fit = program.free @ self.beta
        self.objective, self.rounding = program.loss.value(program.Y, fit), program.rounding(self.beta, fit)
        self.lower_bound = self.estimate = 0.0  # losses and penalties are not negative
        self.dual = np.zeros_like(program.Y)
        self.provisional, self.confirmed, self.n_refuted = False, (0.0, self.dual), 0

    @property
    def certificate(self):
        """The certificate of the best point, without bounds that it refutes."""
        objective, allowed = self.objective, self.rounding + self.program.negligible
        known = {"negligible": self.program.negligible, "rounding": self.rounding}
        proved = uncontradicted(objective, self.lower_bound, allowed)
        if self.scope != "local":
            return Certificate(objective, proved, self.scope, **known)
        local = uncontradicted(objective, self.estimate, allowed)
        known |= {"proved_bound": proved, "provisional": bool(self.provisional and local > proved)}
        return Certificate(objective, max(local, proved), "local", **known)

    def zero_is_optimal(self, tol):
        """Return whether a bound that takes no search proves that no network is better than none, and take it."""
        V = self.program.any_dual_at_zero()
        norm = self.program.free_kappa(V)
        if self.program.dual_value(V, norm) < (1 - tol) * self.objective:
            return False
        self.bound(self.program.proved_bound(V, norm), self.program.dual_point(V, norm))
        return self.certificate.reaches(tol)

    def charge_rounding(self):
        """Prove the lower bound over all patterns anew, in the units of the data, every rounding charged."""
        try:
            norm = kappa_bound(self.program, self.dual)
            self.lower_bound = min(self.lower_bound, self.program.proved_bound(self.dual, norm))
        except TimeIsUp:  # then it is a bound over the patterns given, up to rounding, and no more is said
            self.scope = "sampled"
        for record in self.history:  # whose bounds are no better
            bound = min(record["lower_bound"], self.lower_bound)
            known = Certificate(record["objective"], bound, self.scope, self.program.negligible)
            record |= {"lower_bound": bound, "gap": known.gap, "scope": self.scope}

    @property
    def elapsed(self):
        """Seconds since the start."""
        return time.perf_counter() - self.start

    @property
    def remaining(self):
        """Seconds until the time limit, at least a hundredth; None where there is none."""
        return None if self.seconds == np.inf else max(remaining(), 0.01)

    @property
    def late(self):
        """Whether the time for all but a proof is over."""
        return is_up() or self.elapsed > (1 - self.reserve) * self.seconds

    def offer(self, W, blocks, beta, program=None, slack=0.0):
        """Take rows W of `blocks` of a program if best so far, or fewer and worse by a fraction `slack` at most."""
        program = self.program if program is None else program
        fit = program.design.matvec(W, blocks) + program.free @ beta
        objective = program.loss.value(program.Y, fit) + program.alpha * program.decay(W)
        fewer = np.count_nonzero(W.any(axis=(1, 2))) < np.count_nonzero(self.W.any(axis=(1, 2)))
        if objective < (1 + slack * fewer) * self.objective:
            rounding = program.rounding(beta, fit)
            found = {"W": W, "blocks": blocks, "beta": beta, "objective": objective, "program": program}
            vars(self).update(found, rounding=rounding)  # at once, whatever interrupts it
            if self.refutes(self.confirmed[0]):
                self.confirmed, self.n_refuted = (0.0, self.confirmed[1]), self.n_refuted + 1

    def resume(self):
        """Return the program and the blocks of the best point, to go on from; a lack of progress is forgotten."""
        if self.status is Status.NO_PROGRESS:
            self.status = None
        W = np.zeros(self.program.block_shape)
        W[self.blocks] = self.W
        return self.program, W

    def bound(self, value, dual=None):
        """Take a proved lower bound of the optimum, and its dual vector, if it is the best so far."""
        if value > self.lower_bound:
            self.lower_bound, self.dual = value, self.dual if dual is None else dual

    def solution(self, tol):
        """Return the best point as a Solution; warn where its gap is above `tol`."""
        interrupted = self.status is Status.INTERRUPTED
        self._settle()
        certificate = self.certificate
        if not self.history:  # the run ended before the first record
            self.history.append({"n_working": 0})
        n_iter = len(self.history)
        self.history[-1] |= self._state()  # with what came after the last record, such as a proof
        converged = certificate.reaches(tol)
        status = Status.SOLVED if converged else self.status or Status.ROUNDED
        facts = {"alpha": self.program.alpha, "time": self.elapsed, "n_neurons": None if self.W.any() else 0}
        self.progress.close(summary(certificate, tol, status, **facts))
        if not converged:
            above = f", above tol={tol:.2e}" if certificate.gap > tol else ""
            above += ", by a provisional bound" if certificate.provisional else ""
            warn(
                f"the solver was {status} at a relative gap of {certificate.gap:.2e}{above} (scope "
                f'"{certificate.scope}"); the best feasible network found is kept',
                ConvergenceWarning,
            )
        logger.info("%s after %d iterations; %s", status, n_iter, certificate)
        W = np.zeros(self.program.block_shape)
        W[self.blocks] = self.W
        Z = self.program.predict(W, self.beta)
        known = certificate, n_iter, converged, status, self.history, self.dual, interrupted
        return Solution(self.program, W, self.beta, Z, *known)

    def record(self, n_working):
        """Write a record of the history; return whether the solver has to stop."""
        record = self._state() | {"n_working": n_working}
        self.history.append(record)
        self.progress.update(record)
        if self.callback is not None and self.callback(record):
            self.status = Status.CALLBACK
        elif self.max_iter is not None and len(self.history) >= self.max_iter:
            self.status = Status.MAX_ITER
        return self.over()

    def _state(self):
        """Return the time, the certificate and the number of blocks as a record."""
        certificate, n_blocks = self.certificate, int(np.count_nonzero(self.W.any(axis=(1, 2))))
        names = ("objective", "lower_bound", "gap", "scope", "provisional")
        return {"time": self.elapsed} | {name: getattr(certificate, name) for name in names} | {"n_blocks": n_blocks}

    def over(self):
        """Return whether the solver has to stop; `status` says why."""
        if not self.status and self.late:
            self.status = Status.INTERRUPTED if interrupted() else Status.TIME_LIMIT
        return self.status is not None

    def refutes(self, bound):
        """Return whether the objective of the best point is below a bound, by more than rounding."""
        return contradicts(self.objective, bound, self.rounding + self.program.negligible)

    def gap_to(self, bound):
        """Return the relative gap of the best point to a bound."""
        known = {"negligible": self.program.negligible, "rounding": self.rounding}
        return Certificate(
            self.objective, uncontradicted(self.objective, bound, sum(known.values())), "local", **known
        ).gap

    def suggest(self, estimate, dual, thorough):
        """Take an estimate of the bound and its dual vector: provisional, unless a thorough search confirms it."""
        if self.history and self.late and self.estimate > 0.0:  # a search cut short says too little
            return
        self.estimate, self.dual, self.provisional = estimate, dual, not thorough or self.late
        if self.refutes(estimate):
            self.n_refuted += 1
        elif not self.provisional and estimate > self.confirmed[0]:
            self.confirmed = estimate, dual

    def _settle(self):
        """Choose the bound that is reported: the best that was confirmed; one that is refuted is never reported."""
        refuted, provisional = self.refutes(self.estimate), self.provisional
        better = self.confirmed[0] > (0.0 if self.provisional else self.estimate)
        if better or refuted:
            (self.estimate, self.dual), self.provisional = self.confirmed, False
        if refuted and not provisional:
            logger.warning("a local bound was above the objective: search missed patterns")
            self.status = self.status if self.status is Status.INTERRUPTED else Status.MISSED
        for record in self.history:  # bounds that were refuted later
            late = record["scope"] == "local" and self.refutes(record["lower_bound"])
            record["provisional"] = bool(record["provisional"] or late)
