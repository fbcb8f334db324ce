"""Filters of convolutional and circular networks, and their spectra."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..networks.network import CircularNetwork, ConvNetwork
from ..utils.validation import check_count
from .display import BESIDE, CYCLE, GREY, NEGATIVE, POSITIVE, Display, add_legend, check_panels, frame, plain
from .neurons import fitted_model, neuron_groups, neuron_sizes, output_names

__all__ = ["FiltersDisplay"]

ROWS = ("filters", "spectra")
# Least number of frequencies of the response of a short filter, from 0 to 1/2, for signals and images.
N_FREQUENCIES = {1: 128, 2: 16}


@dataclass(eq=False, repr=False, kw_only=True)
class FiltersDisplay(Display):
    """Filters of a convolutional or circular network, the largest first, and the absolute values of their spectra.

    The filters of a convolution are short: their spectrum is the frequency response |sum_k w_k exp(-2 pi i f k)|, what
    they let through, at many frequencies f. The filters u_j of a circular network are as long as the input, and are
    drawn with offset 0 in the middle; their spectrum is that of `numpy.fft`. Signals are lines, a colour for each
    channel; images are pictures, with channels beside one another. Build it with `from_estimator`.

    Parameters
    ----------
    filters : array-like of shape (n_filters, n_channels, length) or (n_filters, n_channels, height, width)
        The filters.
    titles : list of str
        What each filter is.
    circular : bool, default=False
        Whether spectra are of the filters as they are, and not of filters on a longer input.

    Attributes
    ----------
    axes_, figure_ : ndarray of Axes of shape (n_rows, n_filters), Figure
        The panels, a row for each of `rows`, and their figure.
    frequencies_ : list of ndarray
        The frequencies along each axis, in cycles a sample (or pixel): from 0 to 1/2 for signals, from -1/2 for images.
    spectra_ : ndarray of shape (n_filters, n_channels, *n_frequencies)
        Absolute values of the spectra at them.

    Examples
    --------
    >>> import numpy as np
    >>> from convexnn import ConvexCNNRegressor
    >>> from convexnn.plotting import FiltersDisplay
    >>> X = np.random.default_rng(0).standard_normal((20, 6))
    >>> model = ConvexCNNRegressor(0.1, kernel_size=2).fit(X, np.abs(X[:, 1:] - X[:, :-1]).mean(axis=1))
    >>> display = FiltersDisplay.from_estimator(model)
    >>> display.axes_.shape == (2, model.n_neurons_)
    True
    """

    filters: Sequence
    titles: list
    circular: bool = False

    def __post_init__(self):
        self.filters, self.titles = np.asarray(self.filters, dtype=float), list(self.titles)
        if self.filters.ndim not in (3, 4):
            raise ValueError(
                "filters must have shape (n_filters, n_channels, length) or (n_filters, n_channels, height, width); "
                f"got {self.filters.shape}"
            )

    @classmethod
    def from_estimator(cls, estimator: Any, *, max_filters: int = 8, ax: Any = None, **options: Any) -> Self:
        """Draw the filters of a convolutional or circular estimator, the `max_filters` largest, by `plot`."""
        estimator, network = fitted_model(estimator)
        max_filters = check_count("max_filters", max_filters)
        if isinstance(network, ConvNetwork):
            filters = network.filters
        elif isinstance(network, CircularNetwork):
            filters = network.U.T.reshape(-1, 1, *network.shape)
        else:
            raise TypeError(f"estimator must have filters, of a convolutional or circular network; got {estimator!r}")
        sizes = neuron_sizes(network)
        groups, styles = neuron_groups(network, output_names(estimator, len(network.b2)))
        order = np.argsort(-sizes, kind="stable")[:max_filters]
        words = [f"\n{label}" * (len(styles) > 1) for label, _, _ in styles]
        titles = [f"filter {j}, size {sizes[j]:.2g}{words[groups[j]]}" for j in order]
        circular = isinstance(network, CircularNetwork)
        return cls(filters=filters[order], titles=titles, circular=circular).plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, rows: Sequence = ROWS) -> Self:
        """Draw the filters into `ax`; return the display.

        `ax` is an Axes of a grid, which is split up, an array of one Axes for each filter, row by row, or None for a
        new figure. `rows` are "filters" and "spectra", from the top.
        """
        rows = check_panels("rows", rows, ROWS)
        self.frequencies_, self.spectra_ = _spectra(self.filters, self.circular)
        n, images = len(self.filters), self.filters.ndim == 4
        if n == 0:
            return self._plot_nothing(ax, len(rows))
        size = (1.65 * min(self.filters.shape[1], 3), 1.9) if images else (max(1.75, 6.0 / n), 2.2)
        self.axes_ = self._open_panels(ax, len(rows) * n, n, size).reshape(len(rows), n)
        for one, title in zip(self.axes_[0], self.titles, strict=True):
            one.set_title(plain(title), fontsize="small")
        for line, row in zip(self.axes_, rows, strict=True):
            getattr(self, f"_plot_{row}_of_{'images' if images else 'signals'}")(line)
        return self

    def _plot_nothing(self, ax, n_rows):
        one = self._open_panels(ax, 1, 1, (4.0, 1.6))[0]
        one.set_axis_off()
        one.text(0.5, 0.5, "no filters: the network is constant", ha="center", va="center", transform=one.transAxes)
        self.axes_ = np.empty((n_rows, 0), dtype=object)
        return self

    def _plot_filters_of_signals(self, axes):
        """Draw filters of signals as lines."""
        from matplotlib.ticker import MaxNLocator

        n_channels, length = self.filters.shape[1:]
        largest = np.abs(self.filters).max() or 1.0
        marker = {"marker": "o", "markersize": 3} if length <= 40 else {}
        offsets = np.arange(length) - (length // 2 if self.circular else 0)
        for k, (one, channels) in enumerate(zip(axes, self._centred(), strict=True)):
            frame(one)
            one.axhline(0, color=GREY, linewidth=0.8, zorder=1)
            for c, values in enumerate(channels):
                one.plot(offsets, values, color=_color(c), linewidth=1.4, label=f"channel {c}", **marker)
            one.set_ylim(-1.1 * largest, 1.1 * largest)
            one.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            one.set_xlabel("offset [samples]", fontsize="small")
            _outer(one, k, "weight")
        if 1 < n_channels <= len(CYCLE):
            add_legend(axes[-1], **BESIDE)

    def _plot_spectra_of_signals(self, axes):
        """Draw spectra of signals: bars at the frequencies of circular filters, else lines."""
        frequencies, top = self.frequencies_[0], 1.05 * (self.spectra_.max() or 1.0)
        for k, (one, channels) in enumerate(zip(axes, self.spectra_, strict=True)):
            frame(one)
            for c, values in enumerate(channels):
                if self.circular:
                    one.bar(frequencies, values, width=0.7 / self.filters.shape[-1], color=_color(c), zorder=2)
                else:
                    one.plot(frequencies, values, color=_color(c), linewidth=1.4)
            one.set(xlim=(-0.02, 0.52), ylim=(0, top), xticks=[0, 0.25, 0.5])
            one.set_xlabel("cycles / sample", fontsize="small")
            _outer(one, k, "|DFT|")

    def _plot_filters_of_images(self, axes):
        """Draw filters of images, channels beside one another, on one scale around zero."""
        from matplotlib.colors import LinearSegmentedColormap

        colors = LinearSegmentedColormap.from_list("signed", [NEGATIVE, "white", POSITIVE])
        largest = np.abs(self.filters).max() or 1.0
        for one, channels in zip(axes, self._centred(), strict=True):
            shown = one.imshow(_beside(channels), cmap=colors, vmin=-largest, vmax=largest, interpolation="nearest")
            one.set(xticks=[], yticks=[])
        self.figure_.colorbar(shown, ax=list(axes), label="weight", fraction=0.05, aspect=12)

    def _plot_spectra_of_images(self, axes):
        """Draw spectra of images on one scale from zero."""
        halves = [0.5 / len(axis) for axis in self.frequencies_]
        low, high = ([axis[k] for axis in self.frequencies_] for k in (0, -1))
        extent = (low[1] - halves[1], high[1] + halves[1], low[0] - halves[0], high[0] + halves[0])
        alone = self.filters.shape[1] == 1
        style = {"cmap": "viridis", "vmin": 0, "vmax": self.spectra_.max() or 1.0, "interpolation": "nearest"}
        for k, (one, channels) in enumerate(zip(axes, self.spectra_, strict=True)):
            shown = one.imshow(_beside(channels), origin="lower", extent=extent if alone else None, **style)
            one.set(xticks=[-0.5, 0] if alone else [], yticks=[-0.5, 0] if alone else [])
            one.set_xlabel("cycles / pixel" if alone else "channels", fontsize="small")
            _outer(one, k, "")
        self.figure_.colorbar(shown, ax=list(axes), label="|DFT|", fraction=0.05, aspect=12)

    def _centred(self):
        """Return the filters, circular ones with offset 0 in the middle."""
        return np.fft.fftshift(self.filters, axes=range(2, self.filters.ndim)) if self.circular else self.filters


def _spectra(filters, circular):
    """Return the frequencies along each axis, and |DFT| of every filter and channel at them."""
    shape = filters.shape[2:]
    sizes = shape if circular else [max(2 * N_FREQUENCIES[len(shape)], size) for size in shape]
    if len(shape) == 1:
        return [np.fft.rfftfreq(sizes[0])], np.abs(np.fft.rfft(filters, sizes[0], axis=-1))
    spectra = np.abs(np.fft.fftshift(np.fft.fft2(filters, sizes), axes=(-2, -1)))
    return [np.fft.fftshift(np.fft.fftfreq(size)) for size in sizes], spectra


def _beside(channels):
    """Return the channels of an image beside one another, with a blank column between them."""
    return np.hstack([np.pad(channel, ((0, 0), (0, 1)), constant_values=np.nan) for channel in channels])[:, :-1]


def _color(channel):
    return CYCLE[channel % len(CYCLE)]


def _outer(ax, column, label):
    """Label the first panel of a row, and take the numbers off the others."""
    if column == 0:
        ax.set_ylabel(label, fontsize="small")
    else:
        ax.tick_params(labelleft=False)
    ax.tick_params(labelsize="small")
