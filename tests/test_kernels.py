"""The cache of the kernels, and what is said while they are compiled: in processes of their own, with other kernels."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from convexnn import kernels

KERNEL = """
    import numpy as np
    from kernels import kernel

    @kernel
    def twice(a):
        for i in range(len(a)):
            a[i] *= 2.0
        return a
"""


def run(tmp_path, before="", after="print(twice(np.ones(2)), twice.stats.cache_hits)", module=KERNEL, **environment):
    """Return what a process prints that runs code before and after it imports a kernel."""
    source = tmp_path / "own_kernels.py"
    if not source.exists():
        source.write_text(textwrap.dedent(module), encoding="utf-8")
        shutil.copy(kernels.__file__, tmp_path)  # by itself: to import the package takes seconds
    code = "\n".join([textwrap.dedent(before), "from own_kernels import *", textwrap.dedent(after)])
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def kept(tmp_path):
    """Return the files of the cache, by their ends."""
    return {path.suffix: path for path in (tmp_path / "cache").rglob("*twice*")}


def hits(printed):
    return printed.count("(Array") > 0


def test_kernels_are_kept_for_the_next_process(tmp_path):
    first, second = run(tmp_path)[0], run(tmp_path)[0]
    assert first.startswith("[2. 2.]")
    assert second.startswith("[2. 2.]")
    assert not hits(first)
    assert hits(second)


def test_kernels_of_other_sources_are_compiled_again(tmp_path):
    """As after an update, in which what a kernel calls has changed."""
    run(tmp_path)
    assert not hits(run(tmp_path, 'import kernels\nkernels._sources = lambda: "others"')[0])
    assert hits(run(tmp_path)[0])


NOWHERE = """
    from numba.core import caching
    for kind in vars(caching).values():
        if isinstance(kind, type) and hasattr(kind, "_locator_classes"):
            kind._locator_classes = []
"""


def test_nowhere_to_write(tmp_path):
    printed, _ = run(tmp_path, NOWHERE)
    assert printed.startswith("[2. 2.]")
    assert not kept(tmp_path)


def test_a_fit_where_nothing_can_be_written(tmp_path):
    after = """
        from convexnn import ConvexReLURegressor
        x = np.array([[0.0], [1.0], [2.0], [4.0]])
        print(ConvexReLURegressor(alpha=0.01).fit(x, np.abs(x[:, 0] - 1)).predict(x).shape)
    """
    printed, said = run(tmp_path, NOWHERE, after)
    assert printed == "(4,)"
    assert "Traceback" not in said


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [b"cut", b"\x80\x05junk"])
def test_damaged_files_are_compiled_again_and_replaced(tmp_path, suffix, damage):
    run(tmp_path)
    path = kept(tmp_path)[suffix]
    path.write_bytes(path.read_bytes()[:-20] if damage == b"cut" else damage)
    printed, _ = run(tmp_path)
    assert printed.startswith("[2. 2.]")
    assert not hits(printed)
    assert hits(run(tmp_path)[0])


@pytest.mark.parametrize("error", ["OSError(28, 'No space left on device')", "PermissionError(13, 'denied')"])
def test_what_cannot_be_written_is_no_error(tmp_path, error):
    after = f"""
        from numba.core import caching
        def fail(*args):
            raise {error}
        caching.IndexDataCacheFile._save_index = caching.IndexDataCacheFile._save_data = fail
        print(twice(np.ones(2)))
    """
    assert run(tmp_path, after=after)[0] == "[2. 2.]"


def test_a_folder_that_is_gone_is_no_error(tmp_path):
    after = f"""
        import pathlib, shutil
        shutil.rmtree({str(tmp_path / "cache")!r})
        pathlib.Path({str(tmp_path / "cache")!r}).write_text("a file in its place")
        print(twice(np.ones(2)))
    """
    assert run(tmp_path, after=after)[0] == "[2. 2.]"


class TestNotice:
    """`SILENT` is set to no time at all, or so long that nothing is said."""

    @pytest.mark.parametrize(("silent", "lines"), [(0.001, 1), (600.0, 0)])
    def test_it_is_said_once(self, tmp_path, silent, lines):
        before = f"""
            import kernels
            kernels._notice.left = {silent}
        """
        after = "twice(np.ones(2)); twice(np.ones(2, np.float32)); twice(np.ones(2, complex))"
        _, said = run(tmp_path, before, after)
        assert said.count("compiling its kernels") == said.count("\n") == lines
        assert said.count(str(tmp_path / "cache")) == lines

    def test_it_is_said_how_to_keep_them(self, tmp_path):
        before = textwrap.dedent(NOWHERE) + "import kernels\nkernels._notice.left = 0.001"
        assert "NUMBA_CACHE_DIR" in run(tmp_path, before)[1]

    def test_kernels_of_others_are_not_ours(self, tmp_path):
        before = "import kernels\nkernels._notice.left = 0.001"
        after = "import numba\nnumba.njit(lambda a: a + 1)(2)"
        assert run(tmp_path, before, after)[1] == ""

    def test_nothing_is_said_of_kernels_that_are_kept(self, tmp_path):
        run(tmp_path)
        assert run(tmp_path, "import kernels\nkernels._notice.left = 0.001")[1] == ""
