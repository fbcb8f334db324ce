"""Watching a solver: the best point so far and its bound, the history, the limits, the progress shown."""

import time

import numpy as np

from ..program import Certificate

__all__ = ["Monitor"]

HEADER = "iteration      time        objective      lower bound      gap  blocks  working set"


class Monitor:
    """The best feasible point of a program, the best lower bound, and whether to stop.

    Parameters
    ----------
    program : Program
        The program solved.
    max_iter : int or None
        Limit of the number of records.
    time_limit : float or None
        Limit in seconds, from now.
    callback : callable or None
        Called with every record; a true value stops the solver.
    verbose : bool
        Whether to print every record.
    """

    def __init__(self, program, max_iter, time_limit, callback, verbose):
        self.program = program
        self.max_iter, self.time_limit = max_iter, time_limit
        self.callback, self.verbose = callback, verbose
        self.start = time.perf_counter()
        self.history, self.status = [], ""
        zero, self.beta = program.zero()
        self.blocks, self.W = np.zeros(0, np.int64), zero[:0]
        self.objective = program.loss.value(program.Y, program.free @ self.beta)
        self.lower_bound = 0.0  # losses and penalties are not negative

    @property
    def certificate(self):
        """The certificate of the best point."""
        return Certificate(self.objective, self.lower_bound, self.program.scope, self.program.rounding)

    def offer(self, W, blocks, beta):
        """Take a feasible point, the rows W of `blocks`, if it is the best so far."""
        program = self.program
        fit = program.design.matvec(W, blocks) + program.free @ beta
        objective = program.loss.value(program.Y, fit) + program.alpha * program.penalty.value(W)
        if objective < self.objective:
            self.W, self.blocks, self.beta, self.objective = W, blocks, beta, objective

    def bound(self, value):
        """Take a lower bound of the optimum if it is the best so far."""
        self.lower_bound = max(self.lower_bound, value)

    def best(self):
        """Return the best W, all blocks, and beta."""
        W = np.zeros(self.program.block_shape)
        W[self.blocks] = self.W
        return W, self.beta

    def record(self, n_working):
        """Write a record of the history; return whether the solver has to stop."""
        record = {"time": time.perf_counter() - self.start}
        record |= {name: getattr(self.certificate, name) for name in ("objective", "lower_bound", "gap")}
        record |= {"n_blocks": int(np.count_nonzero(self.W.any(axis=1))), "n_working": n_working}
        self.history.append(record)
        if self.verbose:
            self._show(record)
        if self.callback is not None and self.callback(record):
            self.status = "stopped by the callback"
        elif self.max_iter is not None and len(self.history) >= self.max_iter:
            self.status = f"stopped at max_iter={self.max_iter}"
        return self.over()

    def over(self):
        """Return whether the solver has to stop; `status` says why."""
        if not self.status and self.time_limit is not None and time.perf_counter() - self.start > self.time_limit:
            self.status = f"stopped at time_limit={self.time_limit:g} s"
        return bool(self.status)

    def _show(self, record):
        if len(self.history) == 1:
            print(HEADER)
        print(
            f"{len(self.history):9d} {record['time']:8.2f}s {record['objective']:16.10g} "
            f"{record['lower_bound']:16.10g} {record['gap']:8.1e} {record['n_blocks']:7d} {record['n_working']:12d}",
            flush=True,
        )
