"""What is known of an optimum from another one, over random problems."""

import numpy as np
import pytest
from counts import scaled
from hostile import for_all
from invariances import LOWER, SAME, SCALED, check_at_most, check_equal, problems

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]
COUNT = scaled(40)


@pytest.mark.parametrize("name", SAME)
def test_the_optimum_stays(name):
    rng = np.random.default_rng(0)
    for_all(problems(), COUNT, lambda problem: check_equal(problem, SAME[name](problem, rng)))


@pytest.mark.parametrize("name", SCALED)
def test_the_optimum_has_the_unit(name):
    fixed, change = SCALED[name]
    losses = {"losses": (fixed["loss"],)} if "loss" in fixed else {}
    for_all(problems(**losses, **fixed), COUNT, lambda problem: check_equal(problem, *change(problem)))


@pytest.mark.parametrize("name", LOWER)
def test_the_optimum_is_not_raised(name):
    rng = np.random.default_rng(0)
    fixed = {"arrangements": 5} if name == "more patterns" else {}
    for_all(problems(**fixed), COUNT, lambda problem: check_at_most(problem, LOWER[name](problem, rng)))


def test_twice_is_a_weight_of_two():
    def check(problem):
        twice = problem.change(np.repeat(problem.X, 2, axis=0), np.repeat(problem.y, 2)).fit()
        weighted = problem.change(sample_weight=np.full(len(problem.X), 2.0)).fit()
        assert twice.certificate_.objective == weighted.certificate_.objective
        assert np.array_equal(twice.network_.W1, weighted.network_.W1)

    for_all(problems(), COUNT, check)


def test_the_optimum_is_concave_in_alpha():
    def check(problem):
        alpha = problem.parameters["alpha"]
        low, middle, high = (problem.fit(alpha=t * alpha).certificate_ for t in (0.5, 1.0, 1.5))
        chord = 0.5 * (low.lower_bound + high.lower_bound)
        assert middle.objective + middle.rounding >= chord * (1 - 1e-9)

    for_all(problems(), COUNT, check)


def test_alpha_max_is_where_the_neurons_end():
    def check(problem):
        largest = problem.fit().alpha_max_
        if largest > 0:
            assert problem.fit(alpha=1.001 * largest).n_neurons_ == 0
            assert problem.fit(alpha=0.9 * largest, tol=1e-7).n_neurons_ > 0

    for_all(problems(), COUNT, check)


@pytest.mark.parametrize("penalty", ["l1", "weight_decay"])
def test_several_outputs(penalty):
    """With l1 the optimum is the sum of those of the outputs; with weight decay at most that, and at least each."""

    def check(problem):
        rng = np.random.default_rng(len(problem.X))
        Y = np.column_stack([problem.y, rng.standard_normal(len(problem.y))])
        both = problem.change(y=Y, output_penalty=penalty).fit().certificate_
        parts = [problem.change(y=y).fit().certificate_ for y in Y.T]
        slack = both.rounding + 1e-9 * both.objective
        assert both.lower_bound <= sum(part.objective + part.rounding for part in parts) + slack
        least = [part.lower_bound for part in parts]
        assert both.objective + slack >= (sum(least) if penalty == "l1" else max(least))

    for_all(problems(("squared_error", "huber", "absolute_error")), COUNT, check)
