"""Which channel of a file is the electrocardiogram, and what is known of it."""

import numpy as np
import pytest

from convexnn.cli import main
from convexnn.datasets import load_ecg

# wfdb calls pandas in a way that pandas 3 warns of
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
N = 400
ECG = np.round(np.sin(np.arange(N) / 5) + 0.2 * np.sin(np.arange(N) / 1.7), 4)
OTHER = np.round(np.cos(np.arange(N) / 9), 4)
SECONDS = np.arange(N) / 360
# Columns that are no electrocardiogram, as text.
COUNTERS = {
    "seconds": [f"{t:.5f}" for t in SECONDS],
    "coarse seconds": [f"{t:.2f}" for t in SECONDS],
    "milliseconds since 1970": [f"{1.7e12 + 1000 * t:.3f}" for t in SECONDS],
    "irregular": [f"{t:.6f}" for t in np.cumsum(np.random.default_rng(0).uniform(0.002, 0.004, N))],
    "backwards": [f"{9 - t:.4f}" for t in SECONDS],
    "numbers": [f"{k}" for k in range(N)],
    "numbers that start again": [f"{k % 256}" for k in range(5, N + 5)],
    "constant": ["0"] * N,
    "dates": [f"2020-01-01 10:00:{t:09.6f}" for t in SECONDS],
    "clock": [f"'{int(t // 60)}:{t % 60:06.3f}'" for t in SECONDS],
    "words": ["N"] * N,
}


def write(path, *columns, head=None, units=None):
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    lines = [line for line in (head, units) if line] + rows
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", COUNTERS)
def test_columns_that_only_count_are_left_out(kind, tmp_path):
    path = write(tmp_path / "a.csv", COUNTERS[kind], ECG, OTHER, head="first,lead II,lead V5")
    signal = load_ecg(path)
    np.testing.assert_array_equal(signal.values, ECG)
    assert "column lead II of" in signal.description
    if ":" not in COUNTERS[kind][0] and kind != "words":
        np.testing.assert_array_equal(load_ecg(write(tmp_path / "b.csv", COUNTERS[kind], ECG)).values, ECG)
        array = np.column_stack([np.array(COUNTERS[kind], dtype=float), ECG])
        np.save(tmp_path / "c.npy", array)
        np.testing.assert_array_equal(load_ecg(tmp_path / "c.npy").values, ECG)
        # who asks for it gets it
        assert load_ecg(path, channel="first").values.tolist() == array[:, 0].tolist()


def test_signals_that_rise_for_long_are_no_counters(tmp_path):
    for ecg in (np.abs(ECG), np.round(ECG), np.cumsum(ECG), np.where(np.arange(N) < 300, 0.0, ECG), ECG % 0.3):
        path = write(tmp_path / "a.csv", ecg, OTHER)
        np.testing.assert_array_equal(load_ecg(path).values, ecg)


def test_a_file_of_times_alone_is_refused(tmp_path):
    for columns in ([SECONDS], [range(N), SECONDS], [[1.0] * N]):
        with pytest.raises(ValueError, match=r"a\.csv.*every channel only counts"):
            load_ecg(write(tmp_path / "a.csv", *columns))


def test_missing_samples_are_no_reason_to_take_another_column(tmp_path):
    cells = [*map(str, ECG)]
    cells[7] = ""
    with pytest.raises(ValueError, match="line 9: expected a finite number in column 1"):
        load_ecg(write(tmp_path / "a.csv", SECONDS, cells, OTHER, head="t,a,b"))


def test_channels_by_name_and_number(tmp_path):
    path = write(tmp_path / "a.csv", SECONDS, ECG, OTHER, head="time , 'ecg' ,V5")
    for channel in ("ecg", 1):
        np.testing.assert_array_equal(load_ecg(path, channel=channel).values, ECG)
    np.testing.assert_array_equal(load_ecg(path, channel="V5").values, OTHER)
    with pytest.raises(ValueError, match=r"channel must be the name of one channel.*got 'II', of 'time', 'ecg', 'V5'"):
        load_ecg(path, channel="II")
    with pytest.raises(ValueError, match="got 'ecg', of 'ecg', 'ecg'"):
        load_ecg(write(tmp_path / "b.csv", ECG, OTHER, head="ecg,ecg"), channel="ecg")
    np.save(tmp_path / "c.npy", np.column_stack([ECG, OTHER]))
    with pytest.raises(ValueError, match="got 'ecg', of no names"):
        load_ecg(tmp_path / "c.npy", channel="ecg")


@pytest.mark.parametrize("unit", ["mV", "\N{MICRO SIGN}V", "\N{GREEK SMALL LETTER MU}V", "(uV)"])
def test_a_line_of_units(unit, tmp_path):
    path = write(tmp_path / "a.csv", COUNTERS["clock"], ECG, head="'Elapsed time','MLII'", units=f"'hh:mm:ss','{unit}'")
    signal = load_ecg(path)
    np.testing.assert_array_equal(signal.values, ECG)
    assert signal.unit == unit.strip("()")
    assert "column MLII" in signal.description


def test_rows_of_samples(tmp_path):
    (tmp_path / "row.csv").write_text(",".join(map(str, ECG)) + ",\n")
    np.testing.assert_array_equal(load_ecg(tmp_path / "row.csv").values, ECG)
    (tmp_path / "rows.csv").write_text("\n".join(",".join(map(str, row)) for row in (SECONDS, ECG, OTHER)))
    np.testing.assert_array_equal(load_ecg(tmp_path / "rows.csv").values, ECG)
    np.testing.assert_array_equal(load_ecg(tmp_path / "rows.csv", channel=2).values, OTHER)
    np.save(tmp_path / "row.npy", ECG[None])
    np.testing.assert_array_equal(load_ecg(tmp_path / "row.npy").values, ECG)
    np.save(tmp_path / "rows.npy", np.array([SECONDS, ECG, OTHER]))
    np.testing.assert_array_equal(load_ecg(tmp_path / "rows.npy").values, ECG)
    assert "row 1" in load_ecg(tmp_path / "rows.npy").description


@pytest.mark.parametrize("head", [None, "t,ecg,"])
def test_lines_that_end_in_a_comma(head, tmp_path):
    path = write(tmp_path / "a.csv", SECONDS, ECG, [""] * N, head=head)
    np.testing.assert_array_equal(load_ecg(path).values, ECG)


def test_cells_of_lines_are_checked(tmp_path):
    cells = [*map(str, ECG)]
    cells[7] = "nan"
    (tmp_path / "row.csv").write_text(",".join(cells))
    with pytest.raises(ValueError, match="line 1: expected a finite number in cell 8; got 'nan'"):
        load_ecg(tmp_path / "row.csv")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no.csv", "there is no such file"),
        ("no", "there is no such file"),
        ("folder.csv", "a folder"),
        ("a.txt", "another kind"),
        ("alone.dat", "there is no alone.hea"),
    ],
)
def test_a_source_that_is_not_there_says_so(name, reason, tmp_path, capsys):
    (tmp_path / "folder.csv").mkdir()
    for present in ("a.txt", "alone.dat"):
        (tmp_path / present).write_text("1\n")
    with pytest.raises(ValueError, match=reason):
        load_ecg(tmp_path / name)
    assert main(["ecg", "--source", str(tmp_path / name)]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("option", "name"), [("1", "ecg"), ("ecg", "ecg"), ("V5", "V5"), (None, "ecg")])
def test_channels_in_the_shell(option, name, tmp_path, capsys):
    path = write(tmp_path / "a.csv", SECONDS, ECG, OTHER, head="time,ecg,V5")
    options = [] if option is None else ["--channel", option]
    assert main(["ecg", "--source", str(path), "--train", "60", "--window", "3", "--alpha", "10", *options]) == 0
    assert f"column {name} of" in capsys.readouterr().out


def write_record(folder, unit, encoding="utf-8", name="ECG"):
    """Write a WFDB record of 1024 samples of an ECG at 128 Hz, and eight of a saturation at 1 Hz."""
    per, frames = 128, 8
    ecg = np.round(200 * np.sin(np.arange(frames * per) / 5)).astype("<i2")
    both = np.column_stack([np.full((frames, 1), 97), ecg.reshape(frames, per)])
    both.astype("<i2").tofile(folder / "slp.dat")
    header = f"slp 2 1 {frames}\nslp.dat 16 1/% 12 0 0 0 0 SpO2\nslp.dat 16x{per} 200/{unit} 12 0 0 0 0 {name}\n"
    (folder / "slp.hea").write_bytes(header.encode(encoding))
    return ecg / 200


@pytest.mark.parametrize("channel", ["auto", 1, "ECG"])
def test_wfdb_records_of_several_rates_are_read_at_that_of_the_channel(channel, tmp_path):
    pytest.importorskip("wfdb")
    ecg = write_record(tmp_path, "mV")
    signal = load_ecg(tmp_path / "slp.hea", channel=channel)
    np.testing.assert_allclose(signal.values, ecg, atol=1e-12)
    assert (signal.sampling_rate, signal.unit) == (128.0, "mV")
    slow = load_ecg(tmp_path / "slp", channel="SpO2")
    assert slow.values.tolist() == [97.0] * 8
    assert (slow.sampling_rate, slow.unit) == (1.0, "%")


@pytest.mark.parametrize(
    ("unit", "encoding"),
    [
        ("\N{MICRO SIGN}V", "utf-8"),
        ("\N{GREEK SMALL LETTER MU}V", "utf-8"),
        ("\N{MICRO SIGN}V", "latin-1"),
        ("uV", "ascii"),
    ],
)
def test_wfdb_units_of_micro(unit, encoding, tmp_path):
    pytest.importorskip("wfdb")
    name = "Ableitung II" if encoding == "ascii" else "d\xe9rivation II"
    write_record(tmp_path, unit, encoding, name)
    signal = load_ecg(tmp_path / "slp", channel=1)
    assert signal.unit == unit
    assert signal.description.startswith(f"channel 1 ({name})")


def test_wfdb_records_of_several_segments(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    ecg = np.round(200 * ECG) / 200
    for k, part in enumerate(np.split(ecg, 2)):
        options = {"fmt": ["16", "16"], "adc_gain": [200.0, 200.0], "baseline": [0, 0], "write_dir": str(tmp_path)}
        wfdb.wrsamp(f"s{k}", 250, ["mV", "mV"], ["II", "V5"], np.column_stack([part, -part]), **options)
    (tmp_path / "all.hea").write_text(f"all/2 2 250 {N}\ns0 {N // 2}\ns1 {N // 2}\n")
    signal = load_ecg(tmp_path / "all.hea", channel="V5")
    np.testing.assert_allclose(signal.values, -ecg, atol=1e-12)
    assert (signal.sampling_rate, signal.unit) == (250.0, "mV")


def test_npy_files_of_sizes_that_are_not_there_take_no_memory(tmp_path):
    for shape in ("(10**12,)", "(-1,)", "(0, 10**40)", "((((("):
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + text + bytes(80))
        with pytest.raises(ValueError, match=r"a\.npy"):
            load_ecg(tmp_path / "a.npy")
