"""The progress of a run on the screen, and in words how it ended.

A run makes records, mappings of names to values; `Progress` draws them, and knows nothing else of the run. With
verbose=1 it draws one live line: by tqdm where that is installed, else by carriage returns. Where the stream is no
terminal and no notebook (a log, a pipe) it writes plain lines, one every few seconds at most, and the last one.

Everything goes to stderr, the summary too: stdout is left to the results of the user's program.
"""

import shutil
import sys
from collections.abc import Mapping
from math import ceil, floor, log10
from time import perf_counter
from typing import TextIO

from .certificate import Certificate
from .quiet import ignoring
from .validation import check_count, check_verbose

__all__ = ["Progress", "summary"]

# Seconds between two live lines at least, and between two lines of a log.
LIVE_SECONDS, LOG_SECONDS = 0.1, 5.0
# The fields of records that are shown, in this order: in a live line, and as a column (name, width, format).
FIELDS = {
    "time": ("{:.1f} s", "time [s]", 9, ".2f"),
    "alpha": ("alpha {:.3g}", "alpha", 10, ".3e"),
    "mu": ("mu {:.1e}", "mu", 8, ".1e"),
    "residual": ("residual {:.1e}", "residual", 9, ".1e"),
    "objective": ("objective {:.6g}", "objective", 17, ".10g"),
    "lower_bound": ("lower bound {:.6g}", "lower bound", 17, ".10g"),
    "gap": ("gap {:.1e}", "gap", 9, ".1e"),
    "scope": ("({})", "scope", 11, "s"),
    "n_blocks": ("neurons {}", "blocks", 7, "d"),
    "n_neurons": ("neurons {}", "neurons", 8, "d"),
    "n_working": ("", "working set", 12, "d"),
    "train_score": ("train score {:.4g}", "train score", 12, ".4g"),
    "validation_score": ("validation score {:.4g}", "validation score", 17, ".4g"),
    "score": ("score {:.4g}", "score", 10, ".4g"),
}
# Below this part of alpha_max problems are slow, and near interpolation.
SMALL_ALPHA = 1e-4
# What to do, for the words in which a solver says why it stopped.
REMEDIES = {
    "missed patterns": "Fit again with another random_state.",
    "before the proof": 'The proof needs more time: raise time_limit or tol. scope="auto" is content with an estimate.',
    "time_limit": "Raise time_limit or tol.",
    "user_limit": "Raise max_iter or time_limit, or tol.",
    "max_iter": "Raise max_iter (None is the solver's own limit) or tol.",
    "lack of progress": "Raise tol; or standardise the features, or raise alpha, if the data are badly scaled.",
    "rank": "Raise rank, or leave it at None.",
    "callback": "The best network so far is kept; fit again to go further.",
    "interrupted": "The best network so far is kept; fit again to go further.",
}


class Progress:
    """Show the records of a run: not at all, as one live line, or as a line each.

    Everything is written to stderr, or to `stream`. It is a context manager, which closes it.

    Parameters
    ----------
    verbose : int or bool, default=1
        0 is silent; 1 is one live line, of tqdm where it is installed (a widget in notebooks), and in logs a plain line
        every few seconds at most; 2 is a line for each record.
    total : int or None, default=None
        Number of records that are to come, such as the alphas of a path; None where it is not known.
    description : str, default=""
        What the records are, such as "alpha".
    stream : text stream or None, default=None
        Where to write; None is `sys.stderr`.

    Raises
    ------
    ValueError
        If `verbose` or `total` is not as described.

    Examples
    --------
    >>> import sys
    >>> from convexnn.progress import Progress
    >>> with Progress(total=2, description="alpha", stream=sys.stdout) as progress:
    ...     progress.update({"objective": 3.5, "gap": 1e-5})
    ...     progress.update({"objective": 2.5, "gap": 2e-5})
    alpha 2 of 2: objective 2.5, gap 2.0e-05
    """

    def __init__(
        self,
        verbose: int | bool = 1,
        *,
        total: int | None = None,
        description: str = "",
        stream: TextIO | None = None,
    ):
        self.verbose = check_verbose(verbose)
        self.total = None if total is None else check_count("total", total)
        self.description = description
        self.n_records = 0
        self._stream = sys.stderr if stream is None else stream
        self._live = self.verbose == 1 and (self._stream.isatty() or _in_notebook())
        self._last, self._shown, self._width, self._bar = None, None, 0, None
        self._next = perf_counter() + (0.0 if self._live else LOG_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def update(self, record: Mapping) -> None:
        """Take the next record, and show it if it is time to.

        Parameters
        ----------
        record : mapping of str to value
            May have time (s), alpha, objective, lower_bound, gap, scope, n_blocks or n_neurons, scores, and what else
            `FIELDS` of the module names; other fields are not shown.
        """
        self._last, self.n_records = record, self.n_records + 1
        if self.verbose == 2:
            self._write_row(record)
        elif self.verbose and perf_counter() >= self._next:
            self._draw()

    def say(self, text: str) -> None:
        """Write a line of text, unless silent.

        Parameters
        ----------
        text : str
            Such as a note on what takes long.
        """
        if self.verbose:
            self._stream.write(text + "\n")
            self._stream.flush()

    def close(self, text: str = "") -> None:
        """Show the last record, end the live line, and write a text below it; closing twice is closing once.

        Parameters
        ----------
        text : str, default=""
            Such as a `summary`.
        """
        if self.verbose == 1 and self._last is not None:
            self._draw()  # the record may have been completed since it was given
            if self._bar is not None:
                self._bar.close()
            elif self._live:
                self._stream.write("\n")
        self._last = self._shown = self._bar = None
        if text:
            self.say(text)

    def _draw(self):
        """Show the last record as the live line, or as a line of a log."""
        self._next = perf_counter() + (LIVE_SECONDS if self._live else LOG_SECONDS)
        fields = _fields(self._last)
        if self._bar is None and self._live:
            self._bar = _make_bar(self.total, self.description, self._stream)
        if self._bar is not None:
            self._advance_bar(fields)
            return
        count = f"{self.n_records} of {self.total}" if self.total is not None else ""
        name = f"{self.description} {count}".strip()
        line = f"{name}: {fields}" if name else fields
        if self._live:
            line = line[: shutil.get_terminal_size().columns - 1]
            self._stream.write(f"\r{line:<{self._width}}")  # spaces over what is left of the line before
            self._width = len(line)
        elif line != self._shown:
            self._stream.write(line + "\n")
        self._shown = line
        self._stream.flush()

    def _advance_bar(self, fields):
        self._bar.n = self.n_records
        if self.total is None:
            line = f"{self.description}: {fields}" if self.description else fields
            self._bar.set_description_str(line[: shutil.get_terminal_size().columns - 1], refresh=False)
        else:
            self._bar.set_postfix_str(fields, refresh=False)
        self._bar.refresh()

    def _write_row(self, record):
        shown = [(name, *FIELDS[name][1:]) for name in FIELDS if name in record]
        if self.n_records == 1:
            header = "".join(f" {title:>{width}}" for _, title, width, _ in shown)
            self._stream.write(f"{self.description or 'iteration':>9}{header}\n")
        count = str(self.n_records) if self.total is None else f"{self.n_records}/{self.total}"
        record = _in_words(record)
        cells = "".join(f" {record[name]:>{width}{form}}" for name, _, width, form in shown)
        self._stream.write(f"{count:>9}{cells}\n")
        self._stream.flush()


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

    Parameters
    ----------
    certificate : Certificate
        Of the result.
    tol : float
        The relative gap that was asked for.
    status : str
        What the solver said, such as "solved" or "stopped at time_limit=1 s".
    n_neurons : int or None, default=None
        Number of neurons; None: not said.
    alpha, alpha_max : float or None, default=None
        Strength of the weight decay, and the smallest one at which no neuron is active; None: not said.
    time : float or None, default=None
        Seconds that it took; None: not said.

    Returns
    -------
    str
        Lines of plain sentences.

    Examples
    --------
    >>> from convexnn import Certificate
    >>> from convexnn.progress import summary
    >>> print(summary(Certificate(2.0, 1.9999, "global"), 1e-4, "solved", n_neurons=3, alpha=0.1, alpha_max=2.0))
    Solved to a relative gap of 5.0e-05 (tol=0.0001).
    The objective is 2. Proved over all activation patterns: no network of this kind, of any width, is below 1.9999.
    3 neurons; alpha=0.1, 0.05 times alpha_max=2.
    """
    solved = (status == "solved" or certificate.gap <= tol) and not certificate.provisional
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
    usual = status.startswith(("stopped", "interrupted", "done"))
    reason = f"the solver was {status.rstrip(',')}" if usual else f"the solver ended with status {status!r}"
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
    remedy = next((text for word, text in REMEDIES.items() if word in status), "Raise tol, or try another solver.")
    if certificate.gap < 1e-2 and "tol" in remedy and not certificate.provisional:
        remedy += f" The gap is within tol={10.0 ** ceil(log10(certificate.gap)):.0e} now."
    return remedy


def _in_words(record):
    """Return a record whose scope says where its bound is provisional."""
    return {**record, "scope": "provisional"} if record.get("provisional") else record


def _fields(record):
    """Return the fields of a record in one line."""
    record = _in_words(record)
    shown = (FIELDS[name][0].format(record[name]) for name in FIELDS if name in record and FIELDS[name][0])
    return ", ".join(shown).replace(", (", " (")


def _in_notebook():
    """Return whether IPython runs as a kernel: its streams are no terminals, and still take a live line."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _make_bar(total, description, stream):
    """Return the bar of tqdm; None where that is not installed."""
    try:
        with ignoring(Warning):  # it warns in notebooks without widgets, where it writes text
            from tqdm.auto import tqdm
    except ImportError:
        return None
    name = description.replace("{", "{{").replace("}", "}}")
    form = f"{name} {{n_fmt}} of {{total_fmt}} |{{bar:10}}| {{elapsed}}<{{remaining}}{{postfix}}".strip()
    columns = None if _in_notebook() else shutil.get_terminal_size().columns
    return tqdm(total=total, file=stream, bar_format="{desc}" if total is None else form, ncols=columns)
