"""Windows, splits and planted problems, against explicit loops and closed forms."""

import statistics

import numpy as np
import pytest

from convexnn.datasets import Signal, ecg_windows, make_windows, planted_network, split_signal

# make_windows


@pytest.mark.parametrize(
    ("window", "horizon"), [(1, 1), (1, 4), (3, 1), (3, 2), (15, 5), (19, 1), (np.int64(1), np.int32(19))]
)
def test_windows_follow_the_formula(window, horizon):
    x = np.random.default_rng(0).standard_normal(20)
    X, y = make_windows(Signal(x), window, horizon)
    expected_X, expected_y, t = [], [], 0
    while t + window - 1 + horizon <= 19:
        expected_X.append([x[t + j] for j in range(window)])
        expected_y.append(x[t + window - 1 + horizon])
        t += 1
    assert X.tolist() == expected_X
    assert y.tolist() == expected_y
    assert X.shape == (20 - window - horizon + 1, window)
    for got, same in zip((X, y), make_windows(list(x), window=window, horizon=horizon), strict=True):
        assert got.tolist() == same.tolist()


@pytest.mark.parametrize("window", [1, 3])
def test_windows_are_contiguous_copies(window):
    x = np.arange(10.0)
    X, y = make_windows(x, window)
    assert X.flags.c_contiguous
    assert X.flags.writeable
    assert y.flags.writeable
    assert y.flags.c_contiguous
    assert not np.shares_memory(X, x)
    assert not np.shares_memory(y, x)
    X[0, 0] = y[0] = 99.0
    assert x.tolist() == list(range(10))
    assert (X == 99.0).sum() == 1


@pytest.mark.parametrize("name", ["window", "horizon"])
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "2", None])
def test_window_and_horizon_are_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        make_windows(np.arange(10.0), **{name: value})


def test_signal_has_to_hold_one_window():
    assert make_windows(np.arange(6.0), 4, 2)[1].tolist() == [5.0]
    with pytest.raises(ValueError, match=r"signal.*6 samples; got 5"):
        make_windows(np.arange(5.0), 4, 2)


# split_signal


@pytest.mark.parametrize(("train", "n_train"), [(7, 7), (np.int64(3), 3), (0.7, 7), (0.29, 3), (np.float32(0.5), 5)])
def test_split_is_chronological(train, n_train):
    x = np.arange(10.0)
    first, last = split_signal(x, train)
    assert first.tolist() == list(range(n_train))
    assert last.tolist() == list(range(n_train, 10))
    assert not np.shares_memory(first, x)
    assert not np.shares_memory(last, x)
    assert len(split_signal(np.arange(100.0), 0.29)[0]) == 29  # 0.29 * 100 = 28.999999999999996


def test_split_keeps_what_is_known_of_the_signal():
    signal = Signal(np.arange(10.0), "mV", 360.0, "ramp")
    parts = split_signal(signal)
    assert [part.values.tolist() for part in parts] == [list(range(7)), list(range(7, 10))]
    assert all((part.unit, part.sampling_rate, part.description) == ("mV", 360.0, "ramp") for part in parts)


@pytest.mark.parametrize("train", [0, 10, 11, -3, 0.0, 1.0, 1.5, -0.2, 0.01, 0.99, np.nan, True, False, "0.7", None])
def test_split_needs_samples_in_both_parts(train):
    with pytest.raises(ValueError, match=f"train must be an int from 1 to 9 .*{train}"):
        split_signal(np.arange(10.0), train)


# ecg_windows


@pytest.mark.parametrize(("window", "horizon", "train"), [(15, 1, 0.7), (4, 3, 120), (1, 1, 0.5)])
def test_ecg_windows_follow_the_definition(window, horizon, train):
    x = 3.0 + 2.0 * np.random.default_rng(1).standard_normal(200)
    n_train = train if isinstance(train, int) else int(200 * train)
    split = ecg_windows(Signal(x, "mV", 360.0), window=window, horizon=horizon, train=train)
    mean, scale = statistics.fmean(x[:n_train]), statistics.pstdev(x[:n_train])
    assert (split.mean, split.scale) == (pytest.approx(mean), pytest.approx(scale))
    assert (split.unit, split.sampling_rate) == ("mV", 360.0)
    past = n_train - window - horizon + 1
    for X, y, part in ((split.X_train, split.y_train, x[:n_train]), (split.X_test, split.y_test, x[past:])):
        starts = range(len(part) - window - horizon + 1)
        np.testing.assert_allclose(X * scale + mean, [part[t : t + window] for t in starts])
        np.testing.assert_allclose(y * scale + mean, [part[t + window - 1 + horizon] for t in starts])


def test_nothing_leaks_between_the_parts():
    x = np.random.default_rng(2).standard_normal(100)
    split = ecg_windows(x, window=5, train=60)
    other = x.copy()
    other[60:] = 1000.0 * np.arange(40)
    changed = ecg_windows(other, window=5, train=60)
    assert (split.mean, split.scale) == (changed.mean, changed.scale)
    assert split.X_train.tolist() == changed.X_train.tolist()
    assert split.y_train.tolist() == changed.y_train.tolist()
    # the indices of the samples, sent through as their values: each test sample is one target, no training window sees
    # it
    index = ecg_windows(np.arange(100), window=5, train=60, scale=False)
    assert max(index.X_train.max(), index.y_train.max()) == 59
    assert index.y_test.tolist() == list(range(60, 100))
    assert (index.X_test.max(axis=1) == index.y_test - 1).all()


def test_ecg_windows_without_scaling():
    split = ecg_windows(np.arange(20.0), window=3, train=10, scale=False)
    assert (split.mean, split.scale, split.unit, split.sampling_rate) == (0.0, 1.0, None, None)
    with pytest.raises(AttributeError, match="scale"):
        split.scale = 2.0
    assert split.X_test[0].tolist() == [7.0, 8.0, 9.0]
    assert split.y_test[0] == 10.0
    assert ecg_windows([1.0] * 20, window=3, scale=False).y_test.tolist() == [1.0] * 6


def test_errors_return_to_the_unit():
    x = np.random.default_rng(3).normal(-2.0, 5.0, 80)
    split = ecg_windows(Signal(x, "mV"), window=4, train=40)
    predictions = split.X_test[:, -1]
    mse = np.mean((predictions - split.y_test) ** 2)
    in_unit = np.mean((x[39:79] - x[40:80]) ** 2)
    assert split.mse_in_unit(mse) == pytest.approx(in_unit)
    np.testing.assert_allclose(split.to_unit(split.y_test), x[40:])
    np.testing.assert_allclose(split.to_unit(split.X_train)[0], x[:4])


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1e300])
def test_constant_training_part_is_refused(constant):
    x = np.r_[np.full(1000, constant), np.arange(50.0)]
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="signal must vary in its training part"):
        ecg_windows(x, train=1000)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="standard deviation of inf"):
        ecg_windows(np.tile([1e300, -1e300], 50))


def test_the_training_part_has_to_hold_one_window():
    with pytest.raises(ValueError, match=r"16 samples; got 15"):
        ecg_windows(np.arange(100.0), train=15)
    assert ecg_windows(np.arange(100.0), train=99).y_test.shape == (1,)


@pytest.mark.parametrize("bad", [{"window": 0}, {"horizon": True}, {"train": 1.0}, {"scale": 1}, {"scale": None}])
def test_ecg_windows_checks_its_parameters(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ecg_windows(np.arange(100.0), **bad)


# planted_network


@pytest.mark.parametrize("make", [int, np.random.default_rng, np.random.RandomState])
def test_planted_network_is_reproducible(make):
    X, y = planted_network(30, 4, random_state=make(5))
    again_X, again_y = planted_network(30, 4, random_state=make(5))
    other_X, _ = planted_network(30, 4, random_state=make(6))
    assert X.shape == (30, 4)
    assert y.shape == (30,)
    assert X.tolist() == again_X.tolist()
    assert y.tolist() == again_y.tolist()
    assert X.tolist() != other_X.tolist()
    assert planted_network(5, 2)[0].tolist() != planted_network(5, 2)[0].tolist()


def test_planted_inputs_are_standard_normal():
    X, _ = planted_network(20_000, 5, random_state=0)
    np.testing.assert_allclose(X.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(X.T @ X / 20_000, np.eye(5), atol=0.05)


def test_planted_target_of_one_neuron_is_one_relu():
    X, y = planted_network(300, 4, n_neurons=1, noise=0.0, random_state=2)
    active = y != 0.0
    assert 50 < active.sum() < 250
    assert np.all(y >= 0) or np.all(y <= 0)
    weights, residual, _, _ = np.linalg.lstsq(X[active], y[active], rcond=None)
    assert residual[0] < 1e-20
    assert np.all(np.sign(y[active][0]) * (X[~active] @ weights) <= 0)


def test_planted_weights_have_variance_one_over_d():
    # with one neuron, E y^2 = E a^2 E|w|^2 / 2 = 1 / 2 in any dimension
    rng = np.random.default_rng(3)
    squares = [np.mean(planted_network(20, 50, n_neurons=1, noise=0.0, random_state=rng)[1] ** 2) for _ in range(2000)]
    assert np.mean(squares) == pytest.approx(0.5, rel=0.15)


def test_planted_noise_is_relative_to_the_target():
    X, clean = planted_network(20_000, 6, noise=0.0, random_state=4)
    same_X, noisy = planted_network(20_000, 6, noise=0.5, random_state=4)
    assert X.tolist() == same_X.tolist()
    assert np.std(noisy - clean) / np.std(clean) == pytest.approx(0.5, rel=0.03)
    assert abs(np.corrcoef(noisy - clean, clean)[0, 1]) < 0.03


@pytest.mark.parametrize("name", ["n_samples", "n_features", "n_neurons"])
@pytest.mark.parametrize("value", [0, -2, 2.0, True, None])
def test_planted_sizes_are_counts(name, value):
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        planted_network(**{"n_samples": 5, "n_features": 2, name: value})


@pytest.mark.parametrize("noise", [-0.1, np.nan, np.inf, "0.1", None, True])
def test_planted_noise_is_at_least_zero(noise):
    with pytest.raises(ValueError, match="noise must be"):
        planted_network(5, 2, noise=noise)


def test_planted_random_state_is_checked():
    with pytest.raises(ValueError, match="seed"):
        planted_network(5, 2, random_state="seed")
