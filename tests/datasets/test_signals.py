"""Signals and the loaders of electrocardiograms."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.datasets

from convexnn.datasets import Signal, load_ecg, make_windows

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
    "values", [[], 1.0, [[1.0, 2.0]], ["a", "b"], [1j, 2.0], [True, False], [1.0, np.inf], [None, 1.0]]
)
def test_samples_that_are_no_finite_numbers_are_refused(values):
    with pytest.raises(ValueError, match="values must"):
        Signal(values)
    with pytest.raises(ValueError, match="signal must"):
        make_windows(values)
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


def test_scipy_source_states_unit_and_rate(monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", lambda: np.array([-0.245, -0.215, -0.185]))
    signal = load_ecg("scipy")
    assert signal.values.tolist() == [-0.245, -0.215, -0.185]
    assert (signal.unit, signal.sampling_rate) == ("mV", 360.0)
    assert "208" in signal.description


def test_scipy_source_loads_the_record_where_it_is_cached():
    pooch = pytest.importorskip("pooch")
    # the record is fetched from the internet on first use, and tests must not depend on that: here only if it was
    # before
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
    assert all(word in str(caught.value) for word in ("ecg.dat", "no route", str(pooch.os_cache("scipy-data"))))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("source", "missing", "match"),
    [
        ("embedded", ["pywt"], r"PyWavelets.*pip install convexnn\[data\]"),
        ("scipy", ["pooch"], r"pooch.*pip install convexnn\[data\]"),
        ("auto", ["pywt", "pooch"], r"'auto'.*PyWavelets.*pip install convexnn\[data\].*needs pooch"),
        ("auto", ["pywt"], r"'auto'.*PyWavelets.*pip install convexnn\[data\].*no route"),
        ("rec.hea", ["wfdb"], r"wfdb: pip install convexnn\[wfdb\]"),
        ("a.csv", ["pandas"], r"pandas: pip install convexnn\[cli\]"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(monkeypatch, tmp_path, source, missing, match):
    if "pooch" not in missing:
        pytest.importorskip("pooch")
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "rec.hea", "rec 1 360 10\n")
    written(tmp_path / "a.csv", "1\n2\n")
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", refuse(ConnectionError("no route")))
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=match):
        load_ecg(source)


def test_auto_takes_the_embedded_record_first_and_then_scipy(monkeypatch):
    pytest.importorskip("pywt")
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", refuse(AssertionError("was called")))
    assert load_ecg().values.tolist() == load_ecg("embedded").values.tolist()
    pytest.importorskip("pooch")
    monkeypatch.setitem(sys.modules, "pywt", None)
    monkeypatch.setattr(scipy.datasets, "electrocardiogram", lambda: np.array([0.5, 0.25]))
    assert (load_ecg().values.tolist(), load_ecg().unit) == ([0.5, 0.25], "mV")


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
        ("a,b\n1,2\n3\n", "2 fields in line 3, saw 1"),
        ("1,2\n3,4,5\n", "2 fields in line 2, saw 3"),
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
    with pytest.raises(ValueError, match=r"cannot be read.*utf-8"):
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
    with pytest.raises(ValueError, match=r"a\.npy.*cannot be read"):
        load_ecg(tmp_path / "a.npy")


@pytest.fixture
def wfdb_record(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    # a gain of 200 a unit stores multiples of 1 / 200 exactly
    samples = np.column_stack([np.arange(-10, 10) / 200, np.arange(20, 0, -1) / 200])
    stored = {"fmt": ["16", "16"], "adc_gain": [200.0, 200.0], "baseline": [0, 0], "write_dir": str(tmp_path)}
    wfdb.wrsamp("rec", 250, ["mV", "uV"], ["MLII", "V5"], samples, **stored)
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
    with pytest.raises(ValueError, match="cannot be read"):
        load_ecg(wfdb_record[0])


def test_files_of_unknown_kind_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path in (written(tmp_path / "a.txt", "1\n2\n"), written(tmp_path / "plain", "1\n"), tmp_path / "folder.csv"):
        with pytest.raises(ValueError, match=r"path of a \.csv file, a \.npy file or a WFDB record"):
            load_ecg(path)
