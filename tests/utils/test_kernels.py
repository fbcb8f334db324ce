"""The cache of the kernels, and what is said while they are compiled: in processes of their own, with other kernels."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from threading import Event

import pytest

from convexnn.utils import deadline, kernels
from convexnn.utils.deadline import TimeIsUp, breakable, within

KERNEL = """
    import numpy as np
    from .kernels import kernel

    @kernel
    def twice(a):
        for i in range(len(a)):
            a[i] *= 2.0
        return a
"""


def run(tmp_path, before="", after="print(twice(np.ones(2)), twice.stats.cache_hits)", module=KERNEL, **environment):
    """Return what a process prints that runs code before and after it imports a kernel."""
    package = tmp_path / "own"
    if not package.exists():
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "functions.py").write_text(textwrap.dedent(module), encoding="utf-8")
        for needed in (kernels, deadline):  # by themselves: to import the package takes seconds
            shutil.copy(needed.__file__, package)
    code = "\n".join([textwrap.dedent(before), "from own.functions import *", textwrap.dedent(after)])
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


def test_kernels_are_kept_for_the_next_process_of_the_same_sources(tmp_path):
    """Others are as after an update, in which what a kernel calls has changed."""
    others = 'from own import kernels\nkernels._sources = lambda: "others"'
    printed = [run(tmp_path, before)[0] for before in ("", others, "")]
    assert all(text.startswith("[2. 2.]") for text in printed)
    assert [hits(text) for text in printed] == [False, False, True]


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


def test_what_cannot_be_written_is_no_error(tmp_path):
    after = """
        from numba.core import caching
        def fail(*args):
            raise OSError(28, "No space left on device")
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


class TestLimits:
    """Kernels that wait to be compiled until they are let."""

    def test_time_may_be_up_while_it_is_compiled(self):
        let, done = Event(), Event()

        def compile_now(signature):
            let.wait()
            done.set()

        def call():
            with breakable():
                kernels._compile(compile_now, "types")

        with pytest.raises(TimeIsUp):
            within(0.01, call)
        assert not done.is_set()
        let.set()
        assert done.wait(60)

    def test_time_that_is_up_compiles_nothing(self):
        def call():
            time.sleep(0.01)
            with breakable():
                kernels._compile(pytest.fail, "types")

        with pytest.raises(TimeIsUp):
            within(0.001, call)

    def test_what_has_to_be_done_is_waited_for(self):
        def call():
            time.sleep(0.01)
            with breakable(), breakable(False):
                return kernels._compile(str.upper, "types")

        assert within(0.001, call) == "TYPES"

    def test_a_first_fit_ends_in_time_and_the_next_is_whole(self, tmp_path):
        """Compilation of the first goes on to its end, and errors of it are none of the fit's."""
        code = """
            import time
            import numpy as np
            from convexnn import ConvexReLURegressor
            x = np.arange(20.0)[:, None]
            for limit in (0.2, None):
                start = time.process_time()
                model = ConvexReLURegressor(time_limit=limit, random_state=0).fit(x, np.abs(x[:, 0] - 9))
                print(model.status_, model.certificate_.lower_bound <= model.certificate_.objective)
                if limit:
                    print("few seconds" if time.process_time() - start < 3.0 else "all of the compilation")
        """
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        )
        assert done.stdout.splitlines() == ["stopped at time_limit True", "few seconds", "solved True"]
        assert "Traceback" not in done.stderr


class TestNotice:
    """`SILENT` is set to no time at all, or so long that nothing is said."""

    @pytest.mark.parametrize(("silent", "lines"), [(0.001, 1), (600.0, 0)])
    def test_it_is_said_once_and_only_while_they_are_compiled(self, tmp_path, silent, lines):
        before = f"""
            from own import kernels
            kernels._notice.left = {silent}
            import numba
            numba.njit(lambda a: a + 1)(2)  # a kernel of others
        """
        after = "twice(np.ones(2)); twice(np.ones(2, np.float32)); twice(np.ones(2, complex))"
        _, said = run(tmp_path, before, after)
        assert said.count("compiling its kernels") == said.count("\n") == lines
        assert said.count(str(tmp_path / "cache")) == lines
        assert run(tmp_path, before, after)[1] == ""  # those of others are compiled again, ours are kept

    def test_it_is_said_how_to_keep_them(self, tmp_path):
        before = textwrap.dedent(NOWHERE) + "from own import kernels\nkernels._notice.left = 0.001"
        assert "NUMBA_CACHE_DIR" in run(tmp_path, before)[1]

    def test_lifted_code_of_others_is_compiled(self, tmp_path):
        after = """
            import numba
            @numba.jit(forceobj=True)
            def total(n):
                t = 0
                for i in range(n):
                    t += i
                return t
            print(total(5))
        """
        assert run(tmp_path, after=after)[0] == "10"

    def test_without_compilation(self, tmp_path):
        assert run(tmp_path, after="print(twice(np.ones(2)))", NUMBA_DISABLE_JIT="1")[0] == "[2. 2.]"


def test_compilation_leaves_the_filters_of_warnings_alone(tmp_path):
    """While it goes on in a thread, others put the filters away and back."""
    after = """
        import threading, time, warnings
        before = list(warnings.filters)
        thread = threading.Thread(target=twice, args=[np.ones(2)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thread.start()
            time.sleep(0.05)
        while thread.is_alive():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                time.sleep(0.002)
        print(list(warnings.filters) == before)
    """
    assert run(tmp_path, after=after)[0] == "True"
