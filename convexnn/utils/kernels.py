"""Compiled kernels: functions that numba compiles when they are first called, and keeps in a cache on disk.

Without a folder to write to, or with damaged files in it, they are compiled again in every process. A kernel costs some
tenths of a second for each array expression in it (numba compiles them, their broadcasts and messages, one by one) and
its callees are optimised again within it: kernels are loops over scalars, and get their arrays from outside.
"""

import logging
from contextlib import nullcontext
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from threading import Timer, local
from time import perf_counter

import numpy as np
from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache, NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import WarningsFixer

from .deadline import aside

__all__ = ["NONE", "ZERO", "kernel"]

logger = logging.getLogger(__name__)

# Seconds of compilation after which it is said.
SILENT = 1.0
# Integers that kernels are called with: numba compiles them for a plain 0 or -1, and again for other integers.
ZERO, NONE = np.int64(0), np.int64(-1)


def kernel(function=None, **options):
    """Compile a function on its first call: a decorator, without arguments or with the options of `numba.njit`."""
    if function is None:
        return lambda function: kernel(function, **options)
    compiled = njit(no_cfunc_wrapper=True, **options)(function)
    if not hasattr(compiled, "compile"):  # NUMBA_DISABLE_JIT
        return function
    compiled._cache = _Cache(function)
    compiled.compile = partial(_compile, compiled.compile)
    return compiled


def _compile(compile_now, signature):
    """Compile a kernel, or load it; a compilation that is not done when the time of a call is up goes on by itself."""
    if global_compiler_lock.is_locked():  # by this thread: within another kernel
        return compile_now(signature)
    return aside(_compile_aside, compile_now, signature)


def _compile_aside(compile_now, signature):
    """Compile while other threads run."""
    _here.compiles = True
    try:
        return compile_now(signature)
    finally:
        _here.compiles = False


def _catch_warnings(fixer, *args, **options):
    """Leave the filters of warnings alone, which are of the process, where kernels are compiled.

    Numba puts them away and back all the time, and of two threads that do so the last puts back those of the other.
    """
    ours = getattr(_here, "compiles", False)
    return nullcontext() if ours else _catch_warnings_of_numba(fixer, *args, **options)


_here = local()
_catch_warnings_of_numba, WarningsFixer.catch_warnings = WarningsFixer.catch_warnings, _catch_warnings


@cache
def _sources():
    """Return a hash of the files with kernels: kernels call nothing else, and take no constants from elsewhere."""
    sources = (path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
    return sha256(b"".join(source for source in sources if b"@kernel" in source)).hexdigest()


class _Files(FunctionCache):
    """Files of a kernel, for these sources: numba looks at its own file, not at those of what it calls."""

    def _index_key(self, sig, codegen):
        return *super()._index_key(sig, codegen), _sources()


class _Cache(NullCache):
    """The cache of a kernel, of which nothing fails: what cannot be read is compiled, what cannot be written is not."""

    def __init__(self, function):
        try:
            self.files = _Files(function)
        except RuntimeError:  # no folder can be written to
            self.files = NullCache()

    @property
    def cache_path(self):
        return self.files.cache_path

    def load_overload(self, sig, target_context):
        try:
            return self.files.load_overload(sig, target_context)
        except Exception:  # whatever damaged pickles raise
            self._try(self.files.flush)
            return None

    def save_overload(self, sig, cres):
        self._try(self.files.save_overload, sig, cres)

    def _try(self, write, *args):
        try:
            write(*args)
        except Exception:  # a full disk, a folder that may no longer be written to, a file damaged meanwhile
            logger.debug("cannot write to %s", self.cache_path, exc_info=True)


class _Notice(event.Listener):
    """Says once in a process, and while they are compiled, that kernels are."""

    def __init__(self):
        self.depth, self.left, self.start, self.timer = 0, SILENT, 0.0, None

    def on_start(self, event):
        own = getattr(event.data["dispatcher"], "_cache", None)  # lifted code of others has none
        if self.depth or isinstance(own, _Cache):  # or what a kernel calls
            self.depth += 1
        if self.depth == 1 and self.left > 0.0:
            self.start, self.timer = perf_counter(), Timer(self.left, _say, [own.cache_path])
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event):
        self.depth = max(0, self.depth - 1)
        if self.depth == 0 and self.timer is not None:
            self.timer.cancel()
            self.left, self.timer = self.left - (perf_counter() - self.start), None


def _say(folder):
    """Say that kernels are compiled, and where they are kept."""
    kept = (
        f"they are kept in {folder}"
        if folder
        else "they cannot be kept for the next process: set NUMBA_CACHE_DIR to a folder that can be written to"
    )
    logger.warning("convexnn is compiling its kernels, on first use only: some seconds; %s", kept)


_notice = _Notice()
event.register("numba:compile", _notice)
