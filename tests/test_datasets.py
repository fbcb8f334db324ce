"""Loaders, windows, splits and planted problems, against explicit loops and closed forms."""

import dataclasses
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.datasets

from convexnn.datasets import Signal, ecg_windows, load_ecg, make_windows, planted_network, split_signal

# wfdb calls pandas in a way that pandas 3 warns of
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def refuse(error):
    def electrocardiogram():
        raise error

    return electrocardiogram


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# Signal


def test_signal_keeps_a_frozen_float64_copy():
    samples = np.array([1, 2, 3])
    signal = Signal(samples, unit="mV", sampling_rate=360, description="three")
    samples[0] = 9
    assert signal.values.dtype == np.float64
    assert signal.values.tolist() == [1.0, 2.0, 3.0]
    assert len(signal) == 3
    assert signal.sampling_rate == 360.0
    with pytest.raises(ValueError, match="read-only"):
        signal.values[0] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        signal.unit = "V"


@pytest.mark.parametrize(
    "values", [[], 1.0, [[1.0, 2.0]], ["a", "b"], [1j, 2.0], [True, False], [1.0, np.nan], [1.0, np.inf], [None, 1.0]]
)
def test_samples_that_are_no_finite_numbers_are_refused(values):
    with pytest.raises(ValueError, match="values must"):
        Signal(values)
    with pytest.raises(ValueError, match="signal must"):
        make_windows(values)


def test_non_finite_samples_are_located():
    with pytest.raises(ValueError, match="nan at index 2"):
        Signal([0.0, 1.0, np.nan, np.inf])


@pytest.mark.parametrize("rate", [0, -1.0, np.nan, np.inf])
def test_sampling_rate_is_above_zero(rate):
    with pytest.raises(ValueError, match="sampling_rate"):
        Signal([1.0], sampling_rate=rate)


# load_ecg: named sources


def test_embedded_is_pywavelets_without_unit_or_rate():
    pywt = pytest.importorskip("pywt")
    signal = load_ecg("embedded")
    assert len(signal) == 1024
    assert signal.values.dtype == np.float64
    assert signal.values.tolist() == pywt.data.ecg().tolist()
    assert signal.unit is None
    assert signal.sampling_rate is None
    assert "PyWavelets states neither unit nor sampling rate" in signal.description


def test_embedded_without_pywavelets_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(ImportError, match=r"PyWavelets.*pip install convexnn\[data\]"):
        load_ecg("embedded")


def test_scipy_source_states_unit_and_rate(monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", lambda: np.array([-0.245, -0.215, -0.185]))
    signal = load_ecg("scipy")
    assert signal.values.tolist() == [-0.245, -0.215, -0.185]
    assert (signal.unit, signal.sampling_rate) == ("mV", 360.0)
    assert "208" in signal.description


def test_scipy_source_loads_the_record_where_it_is_cached():
    pooch = pytest.importorskip("pooch")
    if not (Path(pooch.os_cache("scipy-data")) / "ecg.dat").is_file():
        pytest.skip("ecg.dat is not in pooch's cache")
    signal = load_ecg("scipy")
    # length, mean and standard deviation are those of scipy's documentation
    assert len(signal) == 108_000
    assert signal.values.mean() == pytest.approx(-0.16510875)
    assert signal.values.std() == pytest.approx(0.5992473991177294)


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("no route"), ValueError("no route: hash")])
def test_scipy_source_that_can_not_be_fetched_says_where_to_put_the_file(monkeypatch, error):
    pooch = pytest.importorskip("pooch")
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", refuse(error))
    with pytest.raises(OSError, match="could not be fetched") as caught:
        load_ecg("scipy")
    message = str(caught.value)
    assert "ecg.dat" in message
    assert "no route" in message
    assert str(pooch.os_cache("scipy-data")) in message
    assert caught.value.__cause__ is error


def test_scipy_source_without_pooch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pooch.*pip install convexnn\[data\]"):
        load_ecg("scipy")


def test_auto_takes_the_embedded_record_first(monkeypatch):
    pytest.importorskip("pywt")
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", refuse(AssertionError("was called")))
    assert load_ecg().values.tolist() == load_ecg("embedded").values.tolist()


def test_auto_takes_scipy_without_pywavelets(monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setitem(sys.modules, "pywt", None)
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", lambda: np.array([0.5, 0.25]))
    signal = load_ecg()
    assert signal.values.tolist() == [0.5, 0.25]
    assert signal.unit == "mV"


@pytest.mark.parametrize("without", ["pooch", "connection"])
def test_auto_without_any_source_says_what_to_install(monkeypatch, without):
    monkeypatch.setitem(sys.modules, "pywt", None)
    if without == "pooch":
        monkeypatch.setitem(sys.modules, "pooch", None)
    else:
        pytest.importorskip("pooch")
        monkeypatch.setattr(scipy.datasets, "electrocardiogram", refuse(ConnectionError("no route")))
    with pytest.raises(ImportError, match=r"'auto'.*PyWavelets.*pip install convexnn\[data\]") as caught:
        load_ecg("auto")
    assert ("no route" if without == "connection" else "needs pooch") in str(caught.value)


@pytest.mark.parametrize(
    "source", ["Embedded", "ecg", "", "missing.csv", "missing.npy", "missing.hea", Path("no.npy"), 3]
)
def test_unknown_sources_are_refused(source):
    with pytest.raises(ValueError, match="source must be 'auto', 'embedded', 'scipy', or the path") as caught:
        load_ecg(source)
    assert repr(source) in str(caught.value)


@pytest.mark.parametrize("channel", [-1, 1.0, True, "0", None])
def test_channel_is_a_count(channel):
    with pytest.raises(ValueError, match="channel"):
        load_ecg("embedded", channel=channel)


@pytest.mark.parametrize("source", ["embedded", "scipy", "auto"])
def test_named_sources_have_one_channel(source):
    with pytest.raises(ValueError, match=r"channel must be below 1.*got 1"):
        load_ecg(source, channel=1)


def test_optional_packages_are_not_imported_with_the_module():
    code = (
        "import sys, convexnn.datasets;"
        "sys.exit(any(name in sys.modules for name in ('pywt', 'pooch', 'wfdb', 'scipy.datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# load_ecg: files


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize(
    "text",
    ["0.5\n-1e-1\n2\n", "ecg\n0.5\n-0.1\n2", "\ufeff ecg \r\n0.5\r\n -0.1 \r\n2\r\n\r\n\n", "\ufeff0.5\n-0.1\n2\n"],
)
def test_csv_of_one_column(tmp_path, text, as_path):
    signal = load_ecg(as_path(written(tmp_path / "a.csv", text)))
    assert signal.values.tolist() == [0.5, -0.1, 2.0]
    assert signal.unit is None
    assert signal.sampling_rate is None
    assert "a.csv" in signal.description


def test_csv_channel_is_the_column(tmp_path):
    path = written(tmp_path / "a.CSV", '"time, h",I,II\n0:00,1,4\n0:01,2,5\n')
    assert load_ecg(path, channel=1).values.tolist() == [1.0, 2.0]
    second = load_ecg(path, channel=2)
    assert second.values.tolist() == [4.0, 5.0]
    assert "II" in second.description
    with pytest.raises(ValueError, match="channel must be below 3"):
        load_ecg(path, channel=3)
    with pytest.raises(ValueError, match="line 2"):
        load_ecg(path, channel=0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "expected samples"),
        ("\n\n", "expected samples"),
        ("ecg\n", "expected samples"),
        ("1\nnan\n3\n", "line 2.*nan"),
        ("nan\n1\n", "line 1.*nan"),
        ("ecg\n1\n2\ninf\n", "line 4.*inf"),
        ("ecg\n1\nx\n3\n", "line 3.*'x'"),
        ("ecg\n1\n1_0\n", "line 3.*1_0"),
        ("1\n\n3\n", "line 2"),
        ("\n1\n2\n", "from line 1"),
        ('1\n""\n', "line 2"),
        ("a,b\n1,2\n3\n", "line 3.*2 cells"),
        ("1,2\n3,4,5\n", "line 2.*2 cells"),
        ("1,x\n2,3\n", "line 1"),
        (",0\n0,1.5\n", "line 1"),
        ("1;2\n3;4\n", "line 2"),
    ],
)
def test_csv_that_is_malformed_is_refused(tmp_path, text, match):
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=match) as caught:
        load_ecg(path)
    assert str(path) in str(caught.value)


def test_csv_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe1\n")
    with pytest.raises(ValueError, match=r"can not be read.*utf-8"):
        load_ecg(path)


def test_npy_of_one_and_of_more_channels(tmp_path):
    array = np.array([[1, 10], [2, 20], [3, 30]], dtype=np.int16)
    np.save(tmp_path / "one.npy", array[:, 0])
    np.save(tmp_path / "two.npy", array)
    assert load_ecg(tmp_path / "one.npy").values.tolist() == [1.0, 2.0, 3.0]
    assert load_ecg(tmp_path / "two.npy").values.tolist() == [1.0, 2.0, 3.0]
    second = load_ecg(str(tmp_path / "two.npy"), channel=1)
    assert second.values.tolist() == [10.0, 20.0, 30.0]
    assert second.unit is None
    assert second.sampling_rate is None
    for name, n_channels in (("one.npy", 1), ("two.npy", 2)):
        with pytest.raises(ValueError, match=f"channel must be below {n_channels}"):
            load_ecg(tmp_path / name, channel=n_channels)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.float64(1.0), r"expected shape.*got \(\)"),
        (np.zeros((2, 2, 2)), r"expected shape.*got \(2, 2, 2\)"),
        (np.zeros(0), "not empty"),
        (np.zeros((0, 1)), "not empty"),
        (np.zeros((3, 0)), "channel must be below 0"),
        (np.array([1.0, np.nan]), "nan at index 1"),
        (np.array([np.inf, 1.0]), "inf at index 0"),
        (np.array(["1", "2"]), "of numbers"),
        (np.array([1.0, 2.0j]), "of numbers"),
        (np.array([1, None]), "allow_pickle=False"),
    ],
)
def test_npy_that_is_no_signal_is_refused(tmp_path, array, match):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=match) as caught:
        load_ecg(tmp_path / "a.npy")
    assert "a.npy" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"1.0\n2.0\n", b"\x93NUMPY\x01\x00"])
def test_npy_of_another_format_is_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy.*can not be read"):
        load_ecg(tmp_path / "a.npy")


@pytest.fixture
def wfdb_record(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    # a gain of 200 a unit stores multiples of 1 / 200 exactly
    samples = np.column_stack([np.arange(-10, 10) / 200, np.arange(20, 0, -1) / 200])
    wfdb.wrsamp(
        "rec",
        fs=250,
        units=["mV", "uV"],
        sig_name=["MLII", "V5"],
        p_signal=samples,
        fmt=["16", "16"],
        adc_gain=[200.0, 200.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    return tmp_path / "rec", samples


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
@pytest.mark.parametrize(("channel", "unit", "name"), [(0, "mV", "MLII"), (1, "uV", "V5")])
def test_wfdb_states_unit_and_rate(wfdb_record, suffix, channel, unit, name):
    record, samples = wfdb_record
    signal = load_ecg(f"{record}{suffix}", channel=channel)
    np.testing.assert_allclose(signal.values, samples[:, channel], rtol=0, atol=1e-12)
    assert (signal.unit, signal.sampling_rate) == (unit, 250.0)
    assert name in signal.description


def test_wfdb_channel_is_checked(wfdb_record):
    with pytest.raises(ValueError, match="channel must be below 2"):
        load_ecg(wfdb_record[0], channel=2)


def test_wfdb_missing_samples_are_refused(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    samples = np.array([[0.0], [np.nan], [0.5]])
    wfdb.wrsamp("gap", 360, ["mV"], ["I"], samples, fmt=["16"], adc_gain=[200.0], baseline=[0], write_dir=str(tmp_path))
    with pytest.raises(ValueError, match="nan at index 1"):
        load_ecg(tmp_path / "gap")


def test_wfdb_parts_that_are_missing_are_named(wfdb_record):
    record, _ = wfdb_record
    header, data = Path(f"{record}.hea"), Path(f"{record}.dat")
    samples = data.read_bytes()
    data.unlink()
    with pytest.raises(OSError, match=r"rec\.dat"):
        load_ecg(record)
    data.write_bytes(samples)
    header.unlink()
    for source in (record, data):
        with pytest.raises(ValueError, match=r"WFDB record with its \.hea"):
            load_ecg(source)


@pytest.mark.parametrize("text", ["", "neither a header\n", "rec\n", "rec 2 360 10\nrec.dat 16 200\n"])
def test_wfdb_header_that_is_malformed_is_refused(wfdb_record, text):
    written(Path(f"{wfdb_record[0]}.hea"), text)
    with pytest.raises(ValueError, match="can not be read"):
        load_ecg(wfdb_record[0])


def test_wfdb_missing_names_the_extra(tmp_path, monkeypatch):
    written(tmp_path / "rec.hea", "rec 1 360 10\n")
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(ImportError, match=r"wfdb: pip install convexnn\[wfdb\]"):
        load_ecg(tmp_path / "rec.hea")


def test_files_of_unknown_kind_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path in (written(tmp_path / "a.txt", "1\n2\n"), written(tmp_path / "plain", "1\n"), tmp_path / "folder.csv"):
        with pytest.raises(ValueError, match=r"path of a \.csv file, a \.npy file or a WFDB record"):
            load_ecg(path)


# make_windows


@pytest.mark.parametrize(("window", "horizon"), [(1, 1), (1, 4), (3, 1), (3, 2), (15, 5), (19, 1), (1, 19)])
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


def test_numpy_integers_are_counts():
    assert make_windows(np.arange(6), np.int64(2), np.int32(1))[0].shape == (4, 2)


# split_signal


@pytest.mark.parametrize(("train", "n_train"), [(7, 7), (np.int64(3), 3), (0.7, 7), (0.29, 3), (np.float32(0.5), 5)])
def test_split_is_chronological(train, n_train):
    x = np.arange(10.0)
    first, last = split_signal(x, train)
    assert first.tolist() == list(range(n_train))
    assert last.tolist() == list(range(n_train, 10))
    assert not np.shares_memory(first, x)
    assert not np.shares_memory(last, x)


def test_split_of_a_fraction_is_not_cut_by_rounding():
    # 0.29 * 100 = 28.999999999999996
    assert len(split_signal(np.arange(100.0), 0.29)[0]) == 29


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


def test_scale_that_overflows_is_refused():
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


def test_results_are_frozen():
    split = ecg_windows(np.arange(100.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.scale = 2.0


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


def test_planted_network_without_seed_varies():
    assert planted_network(5, 2)[0].tolist() != planted_network(5, 2)[0].tolist()


def test_planted_inputs_are_standard_normal():
    X, _ = planted_network(20_000, 5, random_state=0)
    np.testing.assert_allclose(X.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(X.T @ X / 20_000, np.eye(5), atol=0.05)


def test_planted_target_of_one_feature_is_linear_on_both_sides_of_zero():
    # with d = 1, f(x) = c_+ x for x > 0 and c_- x for x < 0, whatever the number of neurons
    X, y = planted_network(200, 1, n_neurons=7, noise=0.0, random_state=1)
    slopes = y / X[:, 0]
    for side in (slopes[X[:, 0] > 0], slopes[X[:, 0] < 0]):
        np.testing.assert_allclose(side, side[0])
    assert slopes[X[:, 0] > 0][0] != pytest.approx(slopes[X[:, 0] < 0][0])


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
