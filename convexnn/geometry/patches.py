"""Patches of signals and images: what the filters of a convolutional network see.

    p_k[channel, offset] = x[channel, k * stride + offset - padding], zero outside of x, for the offsets of the kernel

A filter w takes patch k to p_k.w: cross-correlation, not convolution, with zero padding and an output size rounded
down, as conv1d and conv2d of PyTorch do it. Positions k and the entries of a patch (channel, kernel) are in C order.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from ..utils.validation import check_array, check_choice, check_count, shown

__all__ = ["POOLINGS", "Patches"]

# How the activations at the K positions become features: sum_k, sum_k / K, max_k, or each with its own output weight.
POOLINGS = ("sum", "mean", "max", "none")


@dataclass(frozen=True)
class Patches:
    """The positions of a convolution kernel on inputs of one shape, and how they are pooled.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, length) or (channels, height, width); an input is that array in C order.
    kernel_size : int or tuple of int
        Size of the kernel along each spatial axis; an int stands for every axis, as for the next two.
    stride : int or tuple of int, default=1
        Steps between positions.
    padding : int or tuple of int, default=0
        Zeros on either side of the input.
    pooling : {"sum", "mean", "max", "none"}, default="mean"
        How the activations at all positions are pooled; "none" keeps them apart.

    Raises
    ------
    ValueError
        If a size is not an integer in its range, the kernel is larger than the padded input, or pooling is unknown.

    Examples
    --------
    >>> from convexnn.geometry import Patches
    >>> patches = Patches((1, 5), kernel_size=3, stride=2)
    >>> patches.extract([[1.0, 2.0, 3.0, 4.0, 5.0]])
    array([[[1., 2., 3.],
            [3., 4., 5.]]])
    """

    input_shape: tuple
    kernel_size: int | tuple
    stride: int | tuple = 1
    padding: int | tuple = 0
    pooling: str = "mean"

    def __post_init__(self):
        shape = self.input_shape
        if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
            raise ValueError(f"input_shape must be (channels, length) or (channels, height, width); got {shown(shape)}")
        object.__setattr__(self, "input_shape", tuple(check_count("input_shape", size) for size in shape))
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            object.__setattr__(self, name, _per_axis(name, getattr(self, name), len(shape) - 1, least))
        check_choice("pooling", self.pooling, POOLINGS)
        padded = tuple(size + 2 * pad for size, pad in zip(self.input_shape[1:], self.padding, strict=True))
        if any(kernel > size for kernel, size in zip(self.kernel_size, padded, strict=True)):
            raise ValueError(f"kernel_size must be at most the padded input {padded}; got {self.kernel_size}")

    @property
    def n_features(self) -> int:
        """Number of values of an input, channels * prod(spatial)."""
        return prod(self.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Number of positions along each spatial axis, floor((size + 2 padding - kernel) / stride) + 1."""
        axes = zip(self.input_shape[1:], self.kernel_size, self.stride, self.padding, strict=True)
        return tuple((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in axes)

    @property
    def n_patches(self) -> int:
        """Number K of positions."""
        return prod(self.output_shape)

    @property
    def patch_size(self) -> int:
        """Number h of values of a patch, channels * prod(kernel)."""
        return self.input_shape[0] * prod(self.kernel_size)

    def extract(self, X: ArrayLike) -> np.ndarray:
        """Return the patches (n_samples, n_patches, patch_size) of inputs, each in its C order."""
        X = check_array(X, input_name="X")
        if X.shape[1] != self.n_features:
            raise ValueError(
                f"X must have {self.n_features} features, as input_shape {self.input_shape}; got {X.shape[1]}"
            )
        n_axes = len(self.kernel_size)
        images = np.pad(X.reshape(len(X), *self.input_shape), [(0, 0), (0, 0), *((pad, pad) for pad in self.padding)])
        windows = sliding_window_view(images, self.kernel_size, axis=tuple(range(2, 2 + n_axes)))
        windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in self.stride))]
        # (n, channels, positions, kernel) to (n, positions, channels, kernel); the copy makes the views an array
        return np.moveaxis(windows, 1, 1 + n_axes).copy().reshape(len(X), self.n_patches, self.patch_size)

    def features(self) -> np.ndarray:
        """Return the feature at each place of each patch (n_patches, patch_size), n_features where it is padding."""
        places = self.extract(np.arange(1.0, self.n_features + 1)[None])[0].astype(np.int64)
        return np.where(places > 0, places - 1, self.n_features)

    def stacked(self, X: ArrayLike) -> np.ndarray:
        """Return the patches of all inputs below one another: row i * n_patches + k is patch k of input i."""
        return self.extract(X).reshape(-1, self.patch_size)

    def fold(self, filters: ArrayLike) -> np.ndarray:
        """Turn columns (patch_size, n_filters) into filters (n_filters, channels, *kernel_size), as in PyTorch."""
        filters = np.asarray(filters, dtype=np.float64)
        if filters.ndim != 2 or len(filters) != self.patch_size:
            raise ValueError(f"filters must have shape ({self.patch_size}, n_filters); got {filters.shape}")
        return filters.T.reshape(-1, self.input_shape[0], *self.kernel_size)


def _per_axis(name, value, n_axes, least):
    """Return one count for each spatial axis."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n_axes
    if len(sizes) != n_axes:
        raise ValueError(
            f"{name} must be an integer or {n_axes} of them, one for each spatial axis; got {shown(value)}"
        )
    return tuple(check_count(name, size, least) for size in sizes)
