import numpy as np
import pytest
from scipy.signal import correlate

from convexnn.geometry.patches import Patches

# Integers, and what torch 2.13 conv1d(x, w, stride=2, padding=1) and conv2d(x, w, stride=(1, 2), padding=(1, 1)) give.
SIGNAL = [[[-1, 0, 1, 2, -2, -1, 0, 1], [2, -2, -1, 0, 1, 2, -2, -1]]]
SIGNAL_FILTERS = [[[1, -2, 3], [0, 1, -1]], [[2, 0, -1], [1, 1, 1]]]
SIGNAL_OUTPUT = [[[6, 3, 2, 1], [0, -5, 8, -4]]]
IMAGE = [
    [
        [[-5, 2, -2, 5, 1], [-3, 4, 0, -4, 3], [-1, -5, 2, -2, 5], [1, -3, 4, 0, -4]],
        [[3, -1, -5, 2, -2], [5, 1, -3, 4, 0], [-4, 3, -1, -5, 2], [-2, 5, 1, -3, 4]],
    ]
]
IMAGE_FILTERS = [
    [[[-3, 2], [0, -2], [3, 1]], [[-1, -3], [2, 0], [-2, 3]]],
    [[[1, -1], [-3, 2], [0, -2]], [[3, 1], [-1, -3], [2, 0]]],
]
IMAGE_OUTPUT = [
    [
        [[22, 3, -15], [-26, -14, 8], [-24, -14, 8], [8, 21, 17]],
        [[-13, 8, -7], [-11, -6, 2], [16, 25, 22], [5, 10, -37]],
    ]
]


def cross_correlate(image, filters, stride, padding):
    """Every filter on one image (channels, *spatial), by scipy: all positions, then every stride-th."""
    padded = np.pad(image, [(0, 0), *((pad, pad) for pad in padding)])
    steps = tuple(slice(None, None, step) for step in stride)
    return np.array([correlate(padded, kernel, mode="valid", method="direct")[0][steps] for kernel in filters])


def random_geometry(rng):
    """A shape, a kernel that fits the padded input, a stride and a padding, in one or two dimensions."""
    n_axes = int(rng.integers(1, 3))
    spatial, stride, padding = rng.integers(1, 8, n_axes), rng.integers(1, 4, n_axes), rng.integers(0, 4, n_axes)
    kernel = [int(rng.integers(1, min(size + 2 * pad, 6) + 1)) for size, pad in zip(spatial, padding, strict=True)]
    return (int(rng.integers(1, 4)), *spatial.tolist()), tuple(kernel), tuple(stride.tolist()), tuple(padding.tolist())


@pytest.mark.parametrize(
    ("x", "filters", "output", "stride", "padding"),
    [
        (SIGNAL, SIGNAL_FILTERS, SIGNAL_OUTPUT, 2, 1),
        (IMAGE, IMAGE_FILTERS, IMAGE_OUTPUT, (1, 2), (1, 1)),
    ],
)
def test_filters_on_patches_are_the_convolution_of_torch(x, filters, output, stride, padding):
    x, filters, output = np.array(x, dtype=float), np.array(filters, dtype=float), np.array(output, dtype=float)
    patches = Patches(x.shape[1:], filters.shape[2:], stride, padding)
    assert patches.output_shape == output.shape[2:]
    columns = filters.reshape(len(filters), -1).T
    activations = patches.extract(x.reshape(1, -1)) @ columns
    assert np.array_equal(np.moveaxis(activations, 2, 1).reshape(output.shape), output)
    assert np.array_equal(patches.fold(columns), filters)


@pytest.mark.parametrize("seed", range(60))
def test_filters_on_patches_are_cross_correlations(seed):
    rng = np.random.default_rng(seed)
    shape, kernel, stride, padding = random_geometry(rng)
    images, filters = rng.standard_normal((3, *shape)), rng.standard_normal((2, shape[0], *kernel))
    patches = Patches(shape, kernel, stride, padding)
    activations = patches.extract(images.reshape(3, -1)) @ filters.reshape(2, -1).T
    wanted = np.array([cross_correlate(image, filters, stride, padding) for image in images])
    assert patches.output_shape == wanted.shape[2:]
    assert activations.shape == (3, patches.n_patches, 2)
    assert np.allclose(np.moveaxis(activations, 2, 1), wanted.reshape(3, 2, -1), rtol=0, atol=1e-12)
    assert np.array_equal(patches.fold(filters.reshape(2, -1).T), filters)


@pytest.mark.parametrize("seed", range(20))
def test_patches_are_the_values_under_the_kernel(seed):
    rng = np.random.default_rng(seed)
    shape, kernel, stride, padding = random_geometry(rng)
    images = rng.standard_normal((2, *shape))
    patches = Patches(shape, kernel, stride, padding)
    extracted = patches.extract(images.reshape(2, -1))
    for i, image in enumerate(images):
        for k, position in enumerate(np.ndindex(patches.output_shape)):
            wanted = []
            for channel, *offset in np.ndindex(shape[0], *kernel):
                place = [p * s + o - z for p, s, o, z in zip(position, stride, offset, padding, strict=True)]
                inside = all(0 <= at < size for at, size in zip(place, shape[1:], strict=True))
                wanted.append(image[(channel, *place)] if inside else 0.0)
            assert extracted[i, k].tolist() == wanted


def test_stacked_patches_are_sample_major():
    X = np.random.default_rng(0).standard_normal((4, 12))
    patches = Patches((2, 6), 3, stride=2)
    stacked, extracted = patches.stacked(X), patches.extract(X)
    assert stacked.shape == (4 * patches.n_patches, patches.patch_size) == (8, 6)
    for i in range(4):
        for k in range(2):
            assert np.array_equal(stacked[i * 2 + k], extracted[i, k])


def test_sizes_of_a_geometry():
    patches = Patches([3, 8, 10], (3, 5), stride=(2, 3), padding=1, pooling="max")
    assert (patches.input_shape, patches.kernel_size) == ((3, 8, 10), (3, 5))
    assert (patches.stride, patches.padding) == ((2, 3), (1, 1))
    assert patches.n_features == 240
    assert patches.output_shape == (4, 3)  # floor((8 + 2 - 3) / 2) + 1, floor((10 + 2 - 5) / 3) + 1
    assert patches.n_patches == 12
    assert patches.patch_size == 45
    assert patches == Patches((3, 8, 10), [3, 5], [2, 3], (1, 1), "max")


def test_patches_do_not_share_memory_with_inputs():
    X = np.ones((2, 4))
    extracted = Patches((1, 4), 4).extract(X)  # one patch, the whole input
    extracted[:] = 5.0
    assert np.array_equal(X, np.ones((2, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": 5}, "input_shape must be"),
        ({"input_shape": (5,)}, "input_shape must be"),
        ({"input_shape": (1, 0)}, "input_shape must be an integer of at least 1; got 0"),
        ({"kernel_size": 0}, "kernel_size must be an integer of at least 1; got 0"),
        ({"kernel_size": 2.0}, "kernel_size must be an integer"),
        ({"kernel_size": (2, 2)}, "kernel_size must be an integer or 1 of them"),
        ({"kernel_size": 8, "padding": 1}, r"kernel_size must be at most the padded input \(7,\); got \(8,\)"),
        ({"stride": 0}, "stride must be"),
        ({"padding": -1}, "padding must be an integer of at least 0; got -1"),
        ({"pooling": "median"}, "pooling must be one of 'sum', 'mean', 'max', 'none'; got 'median'"),
    ],
)
def test_impossible_geometries_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Patches(**{"input_shape": (1, 5), "kernel_size": 2, **options})


def test_a_kernel_as_large_as_the_padded_input_has_one_patch():
    assert Patches((1, 5), 7, padding=1).n_patches == 1


def test_inputs_and_filters_of_other_sizes_are_refused():
    patches = Patches((2, 5), 3)
    with pytest.raises(ValueError, match=r"X must have 10 features, as input_shape \(2, 5\); got 5"):
        patches.extract(np.ones((1, 5)))
    with pytest.raises(ValueError, match="NaN"):
        patches.stacked(np.full((1, 10), np.nan))
    for shape in ((5, 2), (6,)):
        with pytest.raises(ValueError, match=r"filters must have shape \(6, n_filters\)"):
            patches.fold(np.ones(shape))
