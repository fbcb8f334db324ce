"""What has to hold of a fit, whatever the data are: checked from outside, by what a user can see."""

import re
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from exact import exact_objective
from hostile import LABELS, TIME_LIMIT
from hypothesis import reject
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info

from convexnn import load, save

# Parameters and data that a refusal may name.
NAMED = re.compile(
    r"\b(X|y|sample_weight|alpha|alphas|loss|delta|quantile|activation|negative_slope|arrangements|hidden_bias|skip|rank"
    r"|fit_intercept|hidden_norm|output_penalty|solver|scope|tol|cv|input_shape|kernel_size|stride|padding|pooling)\b"
)
# How much longer than its limit a fit may take, and how much longer in seconds; the limits are 1.2 and 0.5.
LATE, LATE_SECONDS = 2.0, 2.0


def check_fit(case):
    """All that has to hold of a fit, and of the same fit once more; refusals do not count as examples."""
    before, world = _data(case), _world()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*distinct (patterns|selections) were found")  # there are no more
        warnings.filterwarnings("ignore", "some walls of the arrangement meet")  # which the data are to blame for
        for harmless in (ConvergenceWarning, DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", harmless)
        filters = list(warnings.filters)
        model, clock, processor = _timed(case.fit)
        if model is None:
            reject()
        again, clock_again, processor_again = _timed(case.fit)
        assert warnings.filters == filters, "the filters of warnings changed"
        check_predictions(case, model)
        check_certificate(case, model)
    assert _data(case) == before, "the data changed"
    after = _world()
    changed = [name for name, value in world.items() if after[name] != value]
    assert not changed, f"a fit changed {changed}"
    seconds = min(clock, processor, clock_again, processor_again)  # others may be busy, and a first fit compiles
    assert seconds <= LATE * _limit(case) + LATE_SECONDS, "the time limit was overrun"
    if max(clock, clock_again) < TIME_LIMIT / 2:  # no limit cut anything short
        check_equal(_fitted(model).network_, _fitted(again).network_)
        assert model.certificate_.objective == again.certificate_.objective


def check_predictions(case, model):
    """Finite predictions of the shape of y, equal after a way through a file."""
    values = model.predict(case.X) if case.parameters["loss"] not in LABELS else model.decision_function(case.X)
    assert np.isfinite(values).all(), "a prediction is not finite"
    assert len(values) == len(case.X)
    if case.parameters["loss"] in LABELS:
        shares = model.predict_proba(case.X)
        assert np.isfinite(shares).all()
        assert np.allclose(shares.sum(axis=1), 1.0)
        assert np.isin(model.predict(case.X), case.y).all()
    else:
        assert values.shape == np.shape(case.y)
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "model.npz")
        again = load(Path(folder) / "model.npz")
    assert again.certificate_ == model.certificate_
    check_equal(again.network_, model.network_)
    assert np.array_equal(again.predict(case.X), model.predict(case.X))


def check_certificate(case, model):
    """A bound below the objective, an objective that can be recomputed and is no worse than a constant's, a status."""
    certificate, estimator = model.certificate_, _fitted(model)
    objective, allowed = certificate.objective, max(certificate.rounding, 1e-12 * model.certificate_.objective)
    assert np.isfinite([objective, certificate.lower_bound, certificate.proved_bound, certificate.rounding]).all()
    assert certificate.lower_bound <= objective + allowed, f"a bound above its objective: {certificate}"
    assert certificate.proved_bound <= objective + allowed, f"a proved bound above its objective: {certificate}"
    solved = certificate.gap <= estimator.tol_ and not certificate.provisional
    assert (estimator.status_ == "solved") == solved, f"{estimator.status_}: {certificate}"
    assert np.isfinite(model.alpha_max_)
    assert model.alpha_max_ >= 0
    X, Y, weights = _numbers(case, estimator)
    constant = _constant_loss(case, estimator, Y, weights)
    assert objective <= constant * (1 + 1e-9) + certificate.rounding, f"{objective} is above a constant's {constant}"
    if hasattr(estimator.network_, "U") or _on_a_wall(estimator.network_, X):
        return
    network, patches = estimator.network_, getattr(estimator.network_, "patches", None)
    options = {name: case.parameters[name] for name in ("delta", "quantile") if name in case.parameters}
    loss = "softmax" if Y.shape[1] > 1 and case.parameters["loss"] == "log_loss" else case.parameters["loss"]
    seen = X if patches is None else patches.extract(X)
    exact = float(exact_objective(network, seen, Y, estimator.alpha_, loss, weights, **options))
    assert abs(objective - exact) <= certificate.rounding, f"the objective is {exact!r}, not {objective!r}"


def check_equal(network, other):
    """Two networks of the same bits."""
    for name in ("W1", "b1", "W2", "b2", "U", "skip", "gates"):
        ours, theirs = getattr(network, name, None), getattr(other, name, None)
        assert (ours is None) == (theirs is None)
        assert ours is None or np.array_equal(ours, theirs), f"{name} differs"


def _timed(fit):
    """The model, None if the fit is refused by what a user understands, and the seconds of the clock and processor."""
    start, refusal = (time.perf_counter(), time.process_time()), None
    try:
        model = fit()
    except (TypeError, ValueError) as error:
        model, refusal = None, error
    if refusal is not None and (type(refusal) not in (TypeError, ValueError) or not NAMED.search(str(refusal))):
        raise AssertionError("a refusal that names no parameter") from refusal
    return model, time.perf_counter() - start[0], time.process_time() - start[1]


def _limit(case):
    """The seconds that a fit may take; a search has the limit for each alpha of each fold."""
    fits = case.parameters["cv"] * case.parameters["n_alphas"] + 1 if "cv" in case.parameters else 1
    return TIME_LIMIT * fits


def _fitted(model):
    return getattr(model, "estimator_", model)


def _data(case):
    """The bytes of the data, and how they lie in memory."""
    return [repr(case.parameters)] + [
        (np.asarray(values).tobytes(), getattr(values, "flags", None) and str(values.flags), str(type(values)))
        for values in (case.X, case.y, case.sample_weight)
        if values is not None
    ]


def _world():
    """What a fit must leave as it is, by name; a pool of threads that is loaded later has no value before."""
    random = [part.tobytes() if isinstance(part, np.ndarray) else part for part in np.random.get_state()]  # noqa: NPY002
    threads = {f"threads of {pool['filepath']}": pool["num_threads"] for pool in threadpool_info()}
    return {"numpy.random": random, "numpy.geterr": np.geterr(), "numpy.seterrcall": np.geterrcall(), **threads}


def _numbers(case, estimator):
    """X, Y and the weights as the objective has them."""
    X = np.asarray(case.X, dtype=float)
    weights = np.ones(len(X)) if case.sample_weight is None else np.asarray(case.sample_weight, float)
    if case.parameters["loss"] not in LABELS:
        return X, np.asarray(case.y, float).reshape(len(X), -1), weights
    index = np.searchsorted(estimator.classes_, case.y)
    if case.parameters["loss"] == "softmax" or len(estimator.classes_) > 2:
        return X, np.eye(len(estimator.classes_))[index], weights
    return X, np.where(index == 1, 1.0, -1.0)[:, None], weights


def _constant_loss(case, estimator, Y, weights):
    """The least loss of some constants that may be best, of zero only without an intercept."""
    name, Y, weights = case.parameters["loss"], Y[weights > 0], weights[weights > 0, None]
    constants = [np.zeros(Y.shape[1])]
    if estimator.fit_intercept:
        mean = (weights * Y).sum(axis=0) / weights.sum()
        odds = np.log(np.maximum(np.abs(mean), 1e-15))
        if Y.shape[1] == 1:
            odds = 2 * np.arctanh(np.clip(mean, -1 + 1e-15, 1 - 1e-15))
        constants += [mean, odds] if name in LABELS else [mean, *Y]
    return min(float(np.sum(weights * _losses(name, Y, z, estimator))) for z in constants)


def _losses(name, Y, z, estimator):
    if name in ("log_loss", "softmax"):
        return np.logaddexp.reduce(z) - Y @ z[:, None] if Y.shape[1] > 1 else np.logaddexp(0.0, -Y * z)
    if name in ("hinge", "squared_hinge"):
        short = np.maximum(1 - Y * z, 0.0)
        return short if name == "hinge" else 0.5 * short**2
    R = Y - z
    if name == "huber":
        clipped = np.clip(R, -estimator.delta, estimator.delta)
        return clipped * R - 0.5 * clipped**2
    if name == "quantile":
        return np.maximum(estimator.quantile * R, (estimator.quantile - 1) * R)
    return np.abs(R) if name == "absolute_error" else 0.5 * R**2


def _on_a_wall(network, X):
    """Whether an input lies on the wall of a gate: which side that is is left to rounding."""
    if getattr(network, "gates", None) is None:
        return False
    patches = getattr(network, "patches", None)
    rows = X if patches is None else patches.extract(X).reshape(-1, patches.patch_size)
    values = rows @ network.gates[:-1] + network.gates[-1]
    sizes = np.abs(rows) @ np.abs(network.gates[:-1]) + np.abs(network.gates[-1])
    return bool((np.abs(values) <= 1e-10 * sizes).any())
