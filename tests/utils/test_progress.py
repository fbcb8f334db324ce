"""The progress shown: what is written where, how often, and what the summary says of each kind of end."""

import io
from contextlib import suppress
from itertools import groupby

import numpy as np
import pytest

from convexnn import Certificate
from convexnn.model import build_program
from convexnn.model.summary import Status, summary
from convexnn.solvers import solve_generation
from convexnn.utils import progress as module
from convexnn.utils.progress import Progress

RECORDS = [
    {"time": 0.5, "objective": 3.25, "lower_bound": 1.5, "gap": 0.5, "scope": "local", "n_blocks": 7, "other": "?"},
    {"time": 1.5, "objective": 2.25, "lower_bound": 2.0, "gap": 0.125, "scope": "local", "n_blocks": 9, "other": "?"},
]
LINE = "1.5 s, objective 2.25, lower bound 2, gap 1.2e-01 (local), neurons 9"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    times = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: times[0])
    return times


def lines_of(stream):
    """What is read on the screen, one after another."""
    lines = [line.strip() for line in stream.getvalue().replace("\r", "\n").splitlines()]
    return [line for line, _ in groupby(line for line in lines if line)]


def shown(stream, verbose=1, records=RECORDS, text="", **options):
    progress = Progress(verbose, stream=stream, **options)
    for record in records:
        progress.update(record)
    progress.close(text)
    progress.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"verbose": 0, "text": "the end"}, ""),
        ({"text": "the end"}, f"{LINE}\nthe end\n"),
        ({"records": [], "text": "the end"}, "the end\n"),
        ({"records": []}, ""),
        ({"total": 50, "description": "alpha"}, f"alpha 2 of 50: {LINE}\n"),
        ({"total": 50}, f"2 of 50: {LINE}\n"),
        ({"description": "fold 1"}, f"fold 1: {LINE}\n"),
    ],
)
def test_a_log_has_the_last_record_and_the_text(options, expected):
    assert shown(io.StringIO(), **options) == expected


def test_a_terminal_may_be_silent():
    assert shown(Terminal(), False, text="the end") == ""


@pytest.mark.parametrize(("times", "expected"), [(range(1, 13), [5, 10, 12]), ([6], [6])])
def test_a_log_has_a_line_every_few_seconds_and_none_twice(clock, times, expected):
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        for clock[0] in times:
            progress.update({"time": clock[0]})
    assert stream.getvalue().splitlines() == [f"{time:.1f} s" for time in expected]


def test_a_terminal_has_one_line(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    with Progress(stream=stream) as progress:
        for record in RECORDS:
            clock[0] += 1.0
            progress.update(record)
            progress.update(record)  # too soon after the last one to be drawn
        progress.close("the end")
    first = "0.5 s, objective 3.25, lower bound 1.5, gap 5.0e-01 (local), neurons 7"
    assert lines_of(stream) == [first, LINE, "the end"]
    assert stream.getvalue().count("\n") == 2


def test_a_line_is_no_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    shown(stream)
    assert lines_of(stream) == ["0.5 s, objective 3.", LINE[:19]]


def test_a_known_number_of_records_has_a_bar(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    last = shown(Terminal(), total=4, description="{alpha}").split("\r")[-1]
    assert last.startswith("{alpha} 2 of 4 |")
    assert last.rstrip().endswith(LINE)


def test_a_line_for_each_record():
    lines = shown(Terminal(), 2, text="the end").splitlines()
    titles = ["iteration", "time", "[s]", "objective", "lower", "bound", "gap", "scope", "blocks"]
    assert lines[0].split() == titles
    assert lines[1].split() == ["1", "0.50", "3.25", "1.5", "5.0e-01", "local", "7"]
    assert lines[2].split() == ["2", "1.50", "2.25", "2", "1.2e-01", "local", "9"]
    assert len({len(line) for line in lines[:3]}) == 1  # columns are in line
    assert lines[3:] == ["the end"]
    assert shown(io.StringIO(), 2, total=2, description="alpha").splitlines()[2].startswith("      2/2 ")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_an_error_ends_the_line_with_the_record_as_it_was_completed(stream):
    record = {"gap": 0.5}
    with suppress(ArithmeticError), Progress(stream=stream) as progress:
        progress.update(record)
        record["gap"] = 0.25
        raise ArithmeticError
    assert lines_of(stream)[-1] == "gap 2.5e-01"
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize("bad", [3, -1, 0.5, "loud", None])
def test_verbose_is_checked(bad):
    with pytest.raises(ValueError, match="verbose must be 0, 1, 2, True or False; got"):
        Progress(bad)
    with pytest.raises(ValueError, match="total must be an integer of at least 1"):
        Progress(total=0)


def test_solvers_write_to_stderr_alone(capsys):
    X = np.random.default_rng(0).standard_normal((12, 2))
    program = build_program(X, np.abs(X[:, 0]), 0.1, "adaptive")
    solution = solve_generation(program, scope="global", random_state=0, verbose=1)
    out, err = capsys.readouterr()
    line, outcome, meaning, facts = err.splitlines()[-4:]  # the first run on a machine compiles
    assert out == ""
    assert f"objective {solution.certificate.objective:.6g}" in line
    assert "(global)" in line
    assert outcome.startswith("Solved to a relative gap of")
    assert "Proved over all activation patterns" in meaning
    assert facts.startswith("alpha=0.1; ")


def test_a_proof_says_so():
    text = summary(Certificate(2.0, 2.0, "global"), 1e-4, "solved", n_neurons=1, time=12.34)
    assert text == (
        "Solved to a relative gap of 0 (tol=0.0001).\nThe objective is 2. Proved over all activation patterns: "
        "no network of this kind, of any width, is below 2.\n1 neuron; 12.3 s."
    )


@pytest.mark.parametrize("status", ["solved", Status.TIME_LIMIT, Status.INTERRUPTED, "user_limit", ""])
@pytest.mark.parametrize("scope", ["local", "sampled"])
@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_an_estimate_is_never_a_proof(scope, status, bound):
    text = summary(Certificate(2.0, bound, scope), 1e-4, status)
    assert "roved" not in text
    assert ("an estimate, not a proof" in text) == (scope == "local")
    assert ("networks with other patterns may be" in text) == (scope == "sampled")
    assert ('scope="global"' in text) == (scope == "local")
    assert ('arrangements="adaptive"' in text) == (scope == "sampled")


def test_what_is_proved_beside_an_estimate():
    text = summary(Certificate(2.0, 1.9999, "local", proved_bound=1.5), 1e-4, "solved")
    assert "Proved over all patterns: no network of any width is below 1.5, a gap of 2.5e-01." in text
    assert "an estimate, not a proof" in text


@pytest.mark.parametrize(
    ("status", "reason", "remedy", "by_tol"),
    [
        (Status.TIME_LIMIT, "the solver was stopped at time_limit.", "Raise time_limit or tol.", True),
        ("stopped at time_limit", "the solver was stopped at time_limit.", "Raise time_limit or tol.", True),
        (Status.MAX_ITER, "the solver was stopped at max_iter.", "Raise max_iter", True),
        (Status.NO_PROGRESS, "the solver was stopped for lack of progress", "standardise", True),
        (Status.UNPROVED, "the solver was stopped before the proof", "proof needs more time", True),
        (Status.MISSED, "its search missed patterns", "random_state", False),
        (Status.INTERRUPTED, "the solver was interrupted.", "fit again", False),
        (Status.CALLBACK, "the solver was stopped by the callback.", "fit again", False),
        (Status.LOW_RANK, "left out. The", "Raise rank", False),
        ("user_limit", "the solver ended with status 'user_limit'.", "Raise max_iter or time_limit, or tol.", True),
        ("optimal_inaccurate", "status 'optimal_inaccurate'.", "Raise tol, or try another solver.", True),
    ],
)
def test_why_it_is_not_solved_and_what_to_do(status, reason, remedy, by_tol):
    text = summary(Certificate(2.0, 1.99, "global"), 1e-4, status)
    assert text.startswith("Not solved to tol=0.0001: ")
    assert reason in text
    assert "The relative gap is 5.0e-03." in text
    assert remedy in text
    assert ("The gap is within tol=1e-02 now." in text) == by_tol


def test_a_large_gap_makes_no_tolerance():
    text = summary(Certificate(2.0, 1.0, "global"), 1e-4, Status.TIME_LIMIT)
    assert "within tol" not in text


@pytest.mark.parametrize(
    ("alphas", "words"),
    [
        ({"alpha": 3.0, "alpha_max": 2.0}, "alpha is not below alpha_max: choose a smaller one, such as 0.02."),
        ({"alpha": 3.0}, "A smaller alpha makes neurons active."),
        ({"alpha": 1.0, "alpha_max": 0.0}, "At no alpha would a neuron lower the objective."),
        ({"alpha": 1.99, "alpha_max": 2.0}, "within the gap"),
    ],
)
def test_why_there_are_no_neurons(alphas, words):
    text = summary(Certificate(2.0, 2.0, "global"), 1e-4, "solved", n_neurons=0, **alphas)
    assert "No neuron is active" in text
    assert words in text
    assert "No neuron" not in summary(Certificate(2.0, 2.0, "global"), 1e-4, "solved", n_neurons=1, **alphas)


def test_a_tiny_alpha_is_named_where_it_is_not_solved():
    alphas, certificate = {"alpha": 1e-6, "alpha_max": 2.0}, Certificate(2.0, 1.0, "global")
    assert "alpha is only 5e-07 of alpha_max" in summary(certificate, 1e-4, Status.MAX_ITER, **alphas)
    assert "alpha is only" not in summary(certificate, 0.5, "solved", **alphas)


@pytest.mark.parametrize("scope", ["local", "global", "sampled"])
def test_no_bound_is_no_estimate_and_no_proof(scope):
    text = summary(Certificate(2.0, 0.0, scope), 1e-4, "interrupted")
    assert "The objective is 2. No lower bound of it above 0 is known." in text
    assert "roved" not in text
    assert "estimate" not in text


def test_values_that_differ_are_shown_different():
    text = summary(Certificate(1.23456789, 1.23456778, "global"), 1e-6, "solved")
    assert "1.23456789" in text
    assert "1.23456778" in text
