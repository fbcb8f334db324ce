"""The progress of a run on the screen.

A run makes records, mappings of names to values; `Progress` draws them, and knows nothing else of the run. With
verbose=1 that is one live line of tqdm. Where the stream is no terminal and no notebook (a log, a pipe) it writes plain
lines, one every few seconds at most, and the last one. All goes to stderr: stdout is left to the user's program.
"""

import shutil
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import TextIO

from .quiet import ignoring
from .validation import check_count, check_verbose

__all__ = ["Progress"]

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


class Progress:
    """Shows the records of a run: not at all (0), as one live line (1), or as a line each (2). Closed as a context.

    `total` is the number of records to come, None where it is not known; `description` is what they are, such as
    "alpha"; `stream` is `sys.stderr` for None.

    >>> import sys
    >>> with Progress(total=2, description="alpha", stream=sys.stdout) as progress:
    ...     progress.update({"objective": 3.5, "gap": 1e-5})
    ...     progress.update({"objective": 2.5, "gap": 2e-5})
    alpha 2 of 2: objective 2.5, gap 2.0e-05
    """

    def __init__(
        self, verbose: int | bool = 1, *, total: int | None = None, description: str = "", stream: TextIO | None = None
    ):
        self.verbose = check_verbose(verbose)
        self.total = None if total is None else check_count("total", total)
        self.description = description
        self.n_records = 0
        self._stream = sys.stderr if stream is None else stream
        self._live = self.verbose == 1 and (self._stream.isatty() or _in_notebook())
        self._last, self._shown, self._bar = None, None, None
        self._next = perf_counter() + (0.0 if self._live else LOG_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def update(self, record: Mapping) -> None:
        """Take the next record, whose `FIELDS` are shown, and show it if it is time to."""
        self._last, self.n_records = record, self.n_records + 1
        if self.verbose == 2:
            self._write_row(record)
        elif self.verbose and perf_counter() >= self._next:
            self._draw()

    def say(self, text: str) -> None:
        """Write a line of text, such as a note on what takes long, unless silent."""
        if self.verbose:
            self._stream.write(text + "\n")
            self._stream.flush()

    def close(self, text: str = "") -> None:
        """Show the last record, end the live line, and write a text below it; closing twice is closing once."""
        if self.verbose == 1 and self._last is not None:
            self._draw()  # the record may have been completed since it was given
            if self._bar is not None:
                self._bar.close()
        self._last = self._shown = self._bar = None
        if text:
            self.say(text)

    def _draw(self):
        """Show the last record in the live line, or as a line of a log."""
        self._next = perf_counter() + (LIVE_SECONDS if self._live else LOG_SECONDS)
        fields = ", ".join(form.format(value) for value, form, *_ in _shown(self._last) if form).replace(", (", " (")
        if self._live:
            if self._bar is None:
                self._bar = _make_bar(self.total, self.description, self._stream)
            self._bar.n = self.n_records
            if self.total is None:
                line = f"{self.description}: {fields}" if self.description else fields
                self._bar.set_description_str(line[: shutil.get_terminal_size().columns - 1], refresh=False)
            else:
                self._bar.set_postfix_str(fields, refresh=False)
            self._bar.refresh()
            return
        count = f"{self.n_records} of {self.total}" if self.total is not None else ""
        name = f"{self.description} {count}".strip()
        line = f"{name}: {fields}" if name else fields
        if line != self._shown:
            self.say(line)
        self._shown = line

    def _write_row(self, record):
        if self.n_records == 1:
            header = "".join(f" {title:>{width}}" for name, (_, title, width, _) in FIELDS.items() if name in record)
            self.say(f"{self.description or 'iteration':>9}{header}")
        count = str(self.n_records) if self.total is None else f"{self.n_records}/{self.total}"
        self.say(f"{count:>9}" + "".join(f" {value:>{width}{form}}" for value, _, _, width, form in _shown(record)))


def _shown(record):
    """Return the values of a record that are shown, each with its `FIELDS`; its scope says where it is provisional."""
    record = {**record, "scope": "provisional"} if record.get("provisional") else record
    return [(record[name], *FIELDS[name]) for name in FIELDS if name in record]


def _in_notebook():
    """Return whether IPython runs as a kernel: its streams are no terminals, and still take a live line."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _make_bar(total, description, stream):
    """Return the bar of tqdm, a widget in notebooks."""
    with ignoring(Warning):  # it warns in notebooks without widgets, where it writes text
        from tqdm.auto import tqdm
    name = description.replace("{", "{{").replace("}", "}}")
    form = f"{name} {{n_fmt}} of {{total_fmt}} |{{bar:10}}| {{elapsed}}<{{remaining}}{{postfix}}".strip()
    columns = None if _in_notebook() else shutil.get_terminal_size().columns
    return tqdm(total=total, file=stream, bar_format="{desc}" if total is None else form, ncols=columns)
