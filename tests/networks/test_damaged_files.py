"""Damaged files: one clear error, or a model that predicts finite values; what is saved is whole or not there."""

import os
import resource
import signal
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from damage import FEW, X, check_damaged, damaged, sound_files, y
from networks import make_network

from convexnn import ConvexReLURegressor, Network, to_onnx
from convexnn.cli import main
from convexnn.networks.persistence import load, save
from convexnn.utils.files import replacing

SMALL = Network(np.ones((1, 2)), np.zeros(2), np.ones((2, 1)), np.zeros(1))
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name", "error::RuntimeWarning")


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    paths = sound_files(tmp_path_factory.mktemp("sound"))
    assert [check_damaged(path) for path in paths] == ["loaded"] * len(paths)
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("seed", range(6))
def test_a_sample_of_damaged_files(seed, contents, tmp_path):
    rng, counts = np.random.default_rng(seed), Counter()
    for _ in range(30):
        (tmp_path / "damaged.npz").write_bytes(damaged(contents[rng.integers(len(contents))], rng))
        counts[check_damaged(tmp_path / "damaged.npz")] += 1
    assert counts["refused"] + counts["loaded"] == 30
    assert counts["refused"] > counts["loaded"] > 0


def altered(folder, **arrays):
    """Save a network, and write its file again with other arrays."""
    save(make_network("relu")[0], folder / "model.npz")
    with np.load(folder / "model.npz") as file:
        members = {name: file[name] for name in file.files} | arrays
    np.savez(folder / "model.npz", **members)
    return folder / "model.npz"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"model.W1": np.full((3, 5), np.nan)}, "weights W1 of the network must be finite"),
        ({"model.b2": np.array([np.inf])}, "weights b2 of the network must be finite"),
        ({"model.W2": np.full((5, 1), 1e300)}, "weights W2 of the network must be finite"),
        ({"model.W1": np.ones((3, 5), dtype=np.float32)}, "W1 must be an array of float64; got float32"),
        ({"model.W1": np.ones((3, 5), dtype=">f8")}, "W1 must be an array of float64; got >f8"),
        ({"model.b1": np.array(list("01234"))}, "b1 must be an array of float64; got <U1"),
        ({"model.b1": np.ones(5) * 1j}, "is an array of dtype complex128"),
        ({"model.b1": np.array([None] * 5)}, "Object arrays cannot be loaded"),
        ({"model.b1": np.ones(4)}, r"b1 must have shape \(5,\) to fit W1"),
        ({"metadata": np.array("[" * 10**5)}, "too deep"),
        ({"metadata": np.array('{"a":' * 200 + "1" + "}" * 200)}, "more than 100 lists and dictionaries deep"),
        ({"metadata": np.array('{"format": NaN}')}, "NaN is no number of JSON"),
        ({"metadata": np.array("[]")}, "must have a format"),
        ({"metadata": np.array(1.0)}, "member 'metadata' must be one text"),
    ],
)
def test_arrays_that_are_refused(arrays, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        load(altered(tmp_path, **arrays))
    assert "model.npz" in str(caught.value)


def test_networks_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="weights W1 of the network must be finite"):
        save(Network(np.full((1, 2), np.nan), np.zeros(2), np.ones((2, 1)), np.zeros(1)), tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", ["(10**9,)", "(2, 10**9)", "(4, 0, 10**40)", "(-1,)", "()"])
def test_no_memory_is_taken_for_a_shape_that_is_not_there(shape, tmp_path):
    path = altered(tmp_path)
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.b1.npy"] = members["model.b1.npy"][:10] + text + b"\0" * 40
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"model\.npz"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 10**8
    tracemalloc.stop()


def test_what_unpacks_to_much_more_than_the_file_is_refused(tmp_path):
    path = altered(tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.npy", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"is damaged \(its \d+ bytes unpack to 314\d+\)"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 10**8
    tracemalloc.stop()


def test_large_arrays_of_zeros_come_back(tmp_path):
    """They would be packed to a thousandth, as a trap would."""
    network = Network(np.zeros((2000, 9000)), np.zeros(9000), np.zeros((9000, 1)), np.ones(1))
    save(network, tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_size > network.W1.nbytes
    assert load(tmp_path / "model.npz").W1.shape == (2000, 9000)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_leaves_the_file_that_was_there(error, tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    save(SMALL, path)

    def stop(file, **arrays):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(np, "savez_compressed", stop)
    with pytest.raises(type(error)) as caught:
        save(make_network("relu")[0], path)
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]
    assert load(path).n_neurons == 2


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the limit is one of POSIX")
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path):
    path, weights = tmp_path / "model.npz", np.random.default_rng(0).standard_normal((100, 1000))
    large = Network(weights, np.zeros(1000), np.ones((1000, 1)), np.zeros(1))
    save(SMALL, path)
    before, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, limit[1]))
    try:
        with pytest.raises(OSError, match=r"model\.npz"):
            save(large, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]
    assert load(path).n_neurons == 2


def test_a_process_that_is_killed_leaves_a_whole_file(tmp_path):
    path = tmp_path / "model.npz"
    save(SMALL, path)
    code = (
        "import numpy as np; from convexnn import Network; from convexnn.networks.persistence import save\n"
        "W = np.random.default_rng(0).standard_normal((300, 1000))\n"
        "network = Network(W, np.zeros(1000), np.ones((1000, 1)), np.zeros(1))\n"
        f"print(flush=True)\nwhile True: save(network, {str(path)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    for _ in range(20):
        assert load(path).n_neurons in (2, 1000)
    process.kill()
    process.communicate()
    assert load(path).n_neurons in (2, 1000)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "model.npz", tmp_path / "link.npz"
    mask = os.umask(0o027)
    try:
        save(SMALL, path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link.symlink_to(path)
    save(make_network("relu")[0], link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert load(path).n_neurons == 5
    (tmp_path / "ahead.npz").symlink_to("new.npz")
    save(SMALL, tmp_path / "ahead.npz")
    assert load(tmp_path / "new.npz").n_neurons == 2


@pytest.mark.parametrize(("name", "error"), [("no/model.npz", FileNotFoundError), ("folder.npz", IsADirectoryError)])
def test_paths_that_cannot_be_written_are_named(name, error, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(error) as caught:
        save(SMALL, tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)


def test_all_files_that_people_keep_are_replaced_as_a_whole(tmp_path, monkeypatch):
    """Models, ONNX files, predictions and figures: where the last step fails, what was there is still there."""
    pytest.importorskip("onnx")
    model = ConvexReLURegressor(**FEW).fit(X, y)
    model.feature_names_in_ = np.array(list("abcd"), dtype=object)
    save(model, tmp_path / "m.npz")
    table = tmp_path / "t.csv"
    table.write_text("a,b,c,d,y\n" + "\n".join(",".join(map(str, row)) for row in np.column_stack([X, y]).round(3)))
    writers = {
        "model.npz": lambda path: save(model, path),
        "model.onnx": lambda path: to_onnx(model, path),
        "out.csv": lambda path: main(["predict", str(tmp_path / "m.npz"), str(table), "--output", path]),
        "path.png": lambda path: main(["path", str(table), "--target=y", "--n-alphas=2", "--plot", path]),
    }

    def fail(source, target):
        raise OSError(5, "Input/output error")

    for name, write in writers.items():
        path = tmp_path / name
        path.write_text("before")
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            with suppress(OSError):
                assert write(str(path)) == 2
        assert path.read_text() == "before"
        write(str(path))
        assert path.stat().st_size > 30
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="a device of POSIX")
def test_devices_are_written_as_they_are():
    with replacing("/dev/null") as file:
        file.write(b"gone")
    assert Path("/dev/null").is_char_device()
