"""Sampled, local and global gaps where they differ: each is labelled, and what is proved is below the true optimum."""

import warnings
from functools import cache

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from textbook import PLAIN, textbook_optimum

from convexnn import Certificate
from convexnn.geometry import enumerate_arrangements
from convexnn.model import build_program
from convexnn.model.certificate import SCOPES
from convexnn.pricing import search
from convexnn.pricing.alpha_max import kappa_at_zero
from convexnn.pricing.ascent import climb
from convexnn.pricing.search import CellSearch, Maxima
from convexnn.solvers import solve_generation, solve_working_set

SEEDS = (1, 2, 3)


@cache
def few_of_many(seed):
    """Program over 9 of some 58 cells of an 8x3 problem, its solution, and the optimum over all cells, by cvxpy."""
    rng = np.random.default_rng([seed, 21])
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    cells = enumerate_arrangements(X)
    assert len(cells) >= 50
    gates = cells.gates[rng.permutation(len(cells))[:9]]
    alpha = 0.05 * kappa_at_zero(build_program(X, y, 1.0, cells, PLAIN))
    program = build_program(X, y, alpha, gates, PLAIN)
    return program, solve_working_set(program, tol=1e-9), textbook_optimum(X, y, alpha, PLAIN)


@pytest.fixture
def crippled(monkeypatch):
    """The search finds nothing but the cells it is given."""

    def stay(self, V, signs, patterns, n_cells=None):
        U = climb(self.columns, V[:, 0] * self.lengths, np.zeros(self.X.shape[1]), signs, patterns.copy(), 0.0, 1)
        values = np.linalg.norm(U, axis=1)
        return Maxima(values, U / np.where(values > 0, values, 1.0)[:, None], signs, np.packbits(patterns, axis=1))

    def nothing(self, V, *args, **options):
        return stay(self, V, np.zeros(0), np.zeros((0, len(V)), bool))

    monkeypatch.setattr(CellSearch, "climb", stay)
    monkeypatch.setattr(CellSearch, "maxima", nothing)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sampled_gap_says_nothing_about_other_patterns(seed):
    _, solution, optimum = few_of_many(seed)
    certificate = solution.certificate
    assert certificate.scope == "sampled"
    assert certificate.gap <= 1e-9
    assert certificate.objective > 1.01 * optimum
    assert certificate.lower_bound > 1.01 * optimum
    assert certificate.proved_gap == 1.0
    assert SCOPES["sampled"] in str(certificate)


@pytest.mark.parametrize("seed", SEEDS)
def test_generation_goes_on_from_there_to_the_optimum(seed):
    program, start, optimum = few_of_many(seed)
    for scope in ("local", "auto", "global"):
        solution = solve_generation(program, W_init=start.W, scope=scope, random_state=seed)
        assert solution.certificate.objective == pytest.approx(optimum, rel=1.1e-6)
        assert solution.certificate.scope == ("local" if scope == "local" else "global")
        assert solution.certificate.proved_bound <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_that_finds_nothing_is_wrong_and_says_that_it_proves_nothing(seed, crippled):
    program, start, optimum = few_of_many(seed)
    solution = solve_generation(program, W_init=start.W, scope="local", random_state=seed)
    certificate = solution.certificate
    assert solution.converged
    assert certificate.gap <= 1e-6
    assert certificate.lower_bound > 1.01 * optimum
    assert certificate.scope == "local"
    assert "which proves nothing" in str(certificate)
    assert "no network of any width" not in str(certificate)
    assert certificate.proved_bound == 0.0
    assert certificate.proved_gap == 1.0


@pytest.mark.parametrize("scope", ["auto", "global"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("few_cells", [0, 2000])
def test_proofs_save_a_search_that_finds_nothing(seed, scope, few_cells, crippled, monkeypatch):
    """By branch and bound, and by enumeration: what was to be proved is refuted, until it is true."""
    monkeypatch.setattr("convexnn.pricing.proof.FEW_CELLS", few_cells)
    program, start, optimum = few_of_many(seed)
    solution = solve_generation(program, W_init=start.W, scope=scope, random_state=seed)
    certificate = solution.certificate
    assert solution.converged
    assert certificate.scope == "global"
    assert certificate.objective == pytest.approx(optimum, rel=1.1e-6)
    assert certificate.lower_bound <= optimum * (1 + 1e-9)
    assert certificate.proved_gap == certificate.gap <= 1e-6
    assert SCOPES["global"] in str(certificate)


@pytest.mark.parametrize("limits", [{"time_limit": 0.01}, {"time_limit": 0.1}, {"max_iter": 1}, {"max_iter": 2}])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_crippled_search_that_is_stopped_has_no_false_bound(seed, limits, crippled):
    program, start, optimum = few_of_many(seed)
    for scope in ("local", "auto", "global"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            options = {"scope": scope, "tol": 1e-9, "random_state": seed}
            solution = solve_generation(program, W_init=start.W, **options, **limits)
        check_proved(solution.certificate, optimum)


def check_proved(certificate, optimum):
    """What is proved is true: the bound, and the gap to it."""
    assert certificate.objective >= optimum * (1 - 1e-9)
    assert certificate.proved_bound <= optimum * (1 + 1e-9)
    assert certificate.proved_gap * certificate.objective >= certificate.objective - optimum * (1 + 1e-9)
    if certificate.scope == "global":
        assert certificate.lower_bound <= optimum * (1 + 1e-9)
        assert certificate.proved_gap == certificate.gap


@pytest.mark.parametrize("seed", range(8))
def test_what_is_proved_is_below_the_optimum_whatever_ends_the_run(seed):
    """1000 to 4000 cells: proofs by branch and bound, complete and stopped."""
    rng = np.random.default_rng([seed, 22])
    X, y = rng.standard_normal((25 + 5 * (seed % 3), 3)), rng.standard_normal(25 + 5 * (seed % 3))
    whole = build_program(X, y, 1.0, "all", PLAIN)
    whole = whole.at(10.0 ** rng.uniform(-3, -0.5) * kappa_at_zero(whole))
    optimum = solve_working_set(whole, tol=1e-10).certificate.objective
    program = build_program(X, y, whole.alpha, "adaptive", PLAIN)
    for scope in ("auto", "global"):
        for limits in ({"time_limit": 0.01}, {"time_limit": 0.05}, {"time_limit": 0.3}, {"max_iter": 1}, {}):
            if scope == "global" and not limits:
                limits = {"time_limit": 5.0}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                solution = solve_generation(program, scope=scope, random_state=seed, **limits)
            certificate = solution.certificate
            check_proved(certificate, optimum)
            assert scope != "global" or certificate.scope == "global"
            assert solution.converged == (certificate.gap <= 1e-6 and not certificate.provisional)


@pytest.mark.parametrize("seed", range(4))
def test_a_lowered_number_of_starts_is_made_good_by_the_proof(seed, monkeypatch):
    """One start a search instead of hundreds: the local bound may be wrong, the proved one never is."""
    start_few = CellSearch.starts

    def few(self, neurons, signs, n_starts):
        return start_few(self, neurons[:0], signs[:0], 1)

    rng = np.random.default_rng([seed, 23])
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    whole = build_program(X, y, 1.0, "all", PLAIN)
    whole = whole.at(0.02 * kappa_at_zero(whole))
    optimum = solve_working_set(whole, tol=1e-10).certificate.objective
    monkeypatch.setattr(CellSearch, "starts", few)
    monkeypatch.setattr(search, "START_CELLS", 1)
    program = build_program(X, y, whole.alpha, "adaptive", PLAIN)
    local = solve_generation(program, scope="local", random_state=seed).certificate
    assert local.scope == "local"
    assert local.objective >= optimum * (1 - 1e-9)
    proved = solve_generation(program, scope="global", random_state=seed, time_limit=20.0).certificate
    assert proved.gap <= 1e-6
    assert proved.objective == pytest.approx(optimum, rel=1.1e-6)
    check_proved(proved, optimum)


def test_every_scope_has_words_of_its_own():
    texts = [str(Certificate(2.0, 1.5, scope)) for scope in SCOPES]
    texts.append(str(Certificate(2.0, 1.9, "local", proved_bound=1.0)))
    assert len(set(texts)) == 4
    for scope, text in zip(SCOPES, texts, strict=False):
        assert f'scope "{scope}": {SCOPES[scope]}' in text
        assert text.count("scope") == 1
        assert ("proves nothing" in text) == (scope == "local")
        assert ("no network of any width" in text) == (scope == "global")
    assert "no network of any width is below 1, a gap of 5.0e-01" in texts[3]
    assert "which proves nothing" in texts[3]


def test_gaps_are_of_what_they_are_named_after():
    for scope, gap in (("sampled", 1.0), ("local", 1.0), ("global", 0.25)):
        certificate = Certificate(2.0, 1.5, scope)
        assert certificate.gap == 0.25
        assert certificate.proved_gap == gap
        assert Certificate(2.0, 1.5, scope, proved_bound=1.0).proved_gap == (0.5 if scope != "global" else 0.25)
    better = Certificate(3.0, 2.5, "local", proved_bound=1.9).of(2.0)  # which refutes the estimate, not the proof
    assert better.lower_bound == better.proved_bound == 1.9
    assert better.gap == better.proved_gap == pytest.approx(0.05)
    assert Certificate(1e-40, 0.0, "local", negligible=1e-30).gap == 0.0
    assert Certificate(0.0, 0.0, "global").gap == 0.0
