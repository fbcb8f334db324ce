"""Limits of solvers and what is said of them."""


def interrupt(record):
    raise KeyboardInterrupt


def interrupt_a_kernel(record):
    """As numba does, two calls deep."""
    try:
        raise SystemError("<function> returned a result with an exception set") from KeyboardInterrupt()
    except SystemError as error:
        raise SystemError("CPUDispatcher returned a result with an exception set") from error


LIMITS = {
    "max_iter=1": ({"max_iter": 1}, "stopped at max_iter"),
    "max_iter=2": ({"max_iter": 2}, "stopped at max_iter"),
    "max_iter=3": ({"max_iter": 3}, "stopped at max_iter"),
    "time_limit": ({"time_limit": 1e-9}, "stopped at time_limit"),
    "callback": ({"callback": lambda record: True}, "stopped by the callback"),
    "later callback": ({"callback": lambda record: record["n_working"] > 0}, "stopped by the callback"),
    "Ctrl-C": ({"callback": interrupt}, "interrupted"),
    "Ctrl-C in a kernel": ({"callback": interrupt_a_kernel}, "interrupted"),
}
