"""Circular convolution, and the norm that weight decay is on its products.

    circ(u)[i, k] = u[i - k], indices modulo the shape:   circ(u) w = ifft(fft(u) fft(w)), circular convolution

so that x circ(u), x a row, is the circular cross-correlation of x with u, and circ(u) w is one vector q of d weights.
Write ^ for numpy's fft, over both axes of images. For q = circ(u) w a the least weight decay is a norm of q:

    |w| |a| <= 1/2 (|w|^2 + a^2), equal where |w| = |a|;  |w|^2 a^2 = 1/d sum_k |q^_k|^2 / |u^_k|^2,
    least over sum_k |u^_k|^2 <= d at |u^_k|^2 = d |q^_k| / sum |q^| (Cauchy-Schwarz), where it is
    |w| |a| = 1/d sum_k |q^_k|

The dual norm of g is max_k |g^_k|. In the real orthonormal basis of the discrete Fourier transform the norm is a group
norm: a cosine alone has weight 1 / sqrt(d), the pair of a cosine and its sine sqrt(2 / d).

References
----------
T. Ergen and M. Pilanci (2021), Implicit convex regularizers of CNN architectures: convex optimization of two- and
three-layer networks in polynomial time. ICLR.
"""

from math import prod

import numpy as np
from numpy.typing import ArrayLike

from ..utils.validation import check_count, shown

__all__ = ["check_shape", "fourier_basis", "spectra", "split_circular"]


def fourier_basis(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the real orthonormal Fourier basis B, the group of every column, and the weight of every group.

    1/d sum_k |q^_k| = sum_g weights[g] |(B'q)_g|. A frequency k that is its own opposite has a group and a column, the
    cosine, of its own; k and -k share a group of two, cosine and sine.
    """
    shape = check_shape(shape)
    d, sizes = prod(shape), np.array(shape)[:, None]
    places = np.indices(shape).reshape(len(shape), -1)
    opposites = np.ravel_multi_index(tuple(-places % sizes), shape)
    columns, groups, weights = [], [], []
    for k in np.flatnonzero(opposites >= np.arange(d)):
        # whole turns are taken off as integers: the angles, and the basis, are exact to rounding
        angles = 2 * np.pi * (places * places[:, [k]] % sizes / sizes).sum(axis=0)
        waves = [np.cos(angles)] if opposites[k] == k else [np.cos(angles), np.sin(angles)]
        scale = np.sqrt(len(waves) / d)
        columns += [scale * wave for wave in waves]
        groups += [len(weights)] * len(waves)
        weights.append(scale)
    return np.column_stack(columns), np.array(groups), np.array(weights)


def split_circular(q: ArrayLike, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float | np.ndarray]:
    """Return u, w, a with q = circ(u) w a, |u| = 1, a = |w| and the least weight decay, for each column q.

    u^_k = sqrt(d |q^_k| / sum |q^|) and w^_k = a u^_k q^_k / |q^_k|; a zero q has the unit impulse as u, w = 0, a = 0.
    """
    shape, q = check_shape(shape), np.asarray(q, dtype=np.float64)
    if q.ndim not in (1, 2) or len(q) != prod(shape):
        raise ValueError(f"q must have {prod(shape)} rows, as shape {shape}; got {q.shape}")
    axes = tuple(range(len(shape)))
    largest = np.abs(q).max(axis=0)
    spectrum = spectra(q / np.where(largest > 0, largest, 1.0), shape)
    sizes = np.abs(spectrum)
    total = sizes.sum(axis=axes)
    # a zero q: the constant spectrum of the unit impulse
    shares = np.where(total > 0, sizes / np.where(total > 0, total, 1.0), 1.0 / len(q))
    roots = np.sqrt(len(q) * shares)
    a = np.sqrt(total / len(q)) * np.sqrt(largest)
    phases = np.divide(spectrum, sizes, out=np.zeros_like(spectrum), where=sizes > 0)
    u = np.fft.ifftn(roots, axes=axes).real.reshape(q.shape)
    w = a * np.fft.ifftn(roots * phases, axes=axes).real.reshape(q.shape)
    return u, w, a


def spectra(Q: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return fftn of every column of Q, each in the C order of `shape`: (*shape,) or (*shape, n_vectors)."""
    return np.fft.fftn(Q.reshape(*shape, *Q.shape[1:]), axes=tuple(range(len(shape))))


def check_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of inputs as a tuple of ints; raise ValueError unless it is of one or two positive sizes."""
    if not isinstance(shape, (tuple, list)) or len(shape) not in (1, 2):
        raise ValueError(f"shape must be (length,) or (height, width); got {shown(shape)}")
    return tuple(check_count("shape", size) for size in shape)
