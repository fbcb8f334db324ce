"""Certificates: how far below the objective a better network could be, and whether that is proved."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any, Self

import numpy as np

from ..model.certificate import Certificate
from .display import BELOW, CYCLE, DARK, LEAST_GAP, Display, add_legend, blend, percent, plain
from .neurons import fitted_model

__all__ = ["CertificateDisplay"]

# Where a better network is excluded, by what, from the strongest statement to none.
ZONES = {
    "global": ("proved: no network of any width", blend(CYCLE[2], 0.75), None),
    "local": ("search found none, which is no proof", blend(CYCLE[4], 0.75), "//"),
    "provisional": ("provisional: a short search found none", blend(CYCLE[4], 0.35), "///"),
    "sampled": ("none with the given activation patterns", blend(CYCLE[3], 0.65), ".."),
    "open": ("not excluded", "#E4E4E4", None),
}


class CertificateDisplay(Display):
    """What certificates prove about objectives, as one bar each.

    The bar is the range of objectives below that of the network, on a logarithmic scale of the relative distance: 0 is
    at its left end, and the objective at its right. It is green as far as it is proved that no network is there,
    hatched as far as search found none or none with the given patterns is, and grey where a better network may be.
    Build it with `from_estimator` or `from_estimators`.

    Parameters
    ----------
    certificates : dict of str to Certificate
        The certificates, by name.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Where it is drawn.
    zones_ : list of dict
        For each certificate, the relative distances (far, near) from the objective between which each zone is: "global"
        where it is proved that no network is, "local", "provisional" or "sampled", and "open".
    words_ : list of str
        What each certificate says, in words.

    Examples
    --------
    >>> from convexnn import Certificate
    >>> from convexnn.plotting import CertificateDisplay
    >>> display = CertificateDisplay({"network": Certificate(2.0, 1.99, "local", proved_bound=1.5)}).plot()
    >>> {zone: [round(end, 9) for end in ends] for zone, ends in display.zones_[0].items()}
    {'global': [1.0, 0.25], 'local': [0.25, 0.005], 'open': [0.005, 0.0]}
    """

    def __init__(self, certificates: Mapping):
        self.certificates = dict(certificates)
        if not self.certificates:
            raise ValueError("certificates must have at least one certificate; got none")
        for name, certificate in self.certificates.items():
            if not isinstance(certificate, Certificate):
                raise TypeError(f"certificates must be of type Certificate; got {certificate!r} for {name!r}")

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None, ax: Any = None, **options: Any) -> Self:
        """Draw the certificate of a fitted estimator, named by its class unless `name` is given; return the display."""
        estimator, _ = fitted_model(estimator)
        return cls.from_estimators({name or type(estimator).__name__: estimator}, ax=ax, **options)

    @classmethod
    def from_estimators(cls, estimators: Mapping, *, ax: Any = None, **options: Any) -> Self:
        """Draw the certificates of fitted estimators, by name, below one another; return the display."""
        certificates = {name: fitted_model(estimator)[0].certificate_ for name, estimator in estimators.items()}
        return cls(certificates).plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, legend: bool = True) -> Self:
        """Draw the certificates into `ax` (None: a new figure), with a `legend` of the colours; return the display."""
        n = len(self.certificates)
        ax = self._open(ax, (8.0, 2.1 + 0.85 * n))
        self.zones_ = [_zones(certificate) for certificate in self.certificates.values()]
        self.words_ = [_words(certificate) for certificate in self.certificates.values()]
        nearest = min(near for zones in self.zones_ for zone, (_, near) in zones.items() if zone != "open")
        least = max(10.0 ** (np.floor(np.log10(max(nearest, LEAST_GAP))) - 1), LEAST_GAP / 10)
        for row, (zones, certificate) in enumerate(zip(self.zones_, self.certificates.values(), strict=True)):
            self._plot_bar(row, zones, certificate, least)
        ax.set_xscale("log")
        ax.set_xlim(1.0, least)
        decades = np.round(np.log10(least)).astype(int)
        step = -(-abs(decades) // 8)
        ticks = 10.0 ** np.arange(0, decades - 1, -step)
        ax.set_xticks(ticks, [percent(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel("relative distance below the objective")
        ax.set_yticks(range(n), [plain(name) for name in self.certificates])
        ax.set_ylim(n - 0.3, -0.7)
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
        if n == 1:
            ax.set_title(fill(self.words_[0], 76), loc="left", fontsize="medium")
        if legend:
            add_legend(ax, **BELOW, borderaxespad=5.0)
        return self

    def _plot_bar(self, row, zones, certificate, least):
        """Draw the zones of one certificate, and the values at their ends."""
        ax = self.ax_
        for zone, ends in zones.items():
            far, near = np.clip(ends, least, 1.0)
            label, color, hatch = ZONES[zone]
            if near < far:
                label = None if label in ax.get_legend_handles_labels()[1] else label
                style = {"color": color, "edgecolor": "white", "hatch": hatch, "linewidth": 0.8, "height": 0.36}
                ax.barh(row, near - far, left=far, label=label, **style)
        text = {"textcoords": "offset points", "fontsize": "small", "annotation_clip": False}
        bounds = [("lower bound", certificate.lower_bound, certificate.gap, 1)]
        if certificate.scope != "global" and certificate.proved_bound > 0:
            bounds.append(("proved bound", certificate.proved_bound, certificate.proved_gap, -1))
        for name, value, gap, side in bounds:
            place = np.clip(gap, least, 1.0)
            near_the_end = np.log(place) < 0.5 * np.log(least)
            align = {"ha": "right" if near_the_end else "left", "va": "top" if side > 0 else "bottom"}
            ax.plot([place, place], [row - 0.24, row + 0.24], color=DARK, linewidth=1.2)
            words = f"{name} {value:.7g}, gap {percent(gap)}"
            ax.annotate(words, (place, row + 0.22 * side), (0, -3 * side), **align, **text)
        ax.plot(least, row, "D", color=DARK, markersize=7, clip_on=False, zorder=3)
        ax.annotate(f"objective\n{certificate.objective:.7g}", (least, row), (9, 0), ha="left", va="center", **text)


def _zones(certificate):
    """Return the relative distances below the objective between which each zone is, the farthest first."""
    gap, proved = min(certificate.gap, 1.0), min(certificate.proved_gap, 1.0)  # 0 is a bound of every objective
    kind = "provisional" if certificate.provisional else certificate.scope
    between = {} if kind == "global" else {kind: (proved, gap)}
    return {"global": (1.0, proved), **between, "open": (gap, 0.0)}


def _words(certificate):
    """Return what a certificate says, in words."""
    gap = percent(certificate.gap)
    if certificate.scope == "global" and certificate.gap == 0:
        return "Proved: no network of any width has a lower objective, up to rounding."
    if certificate.scope == "global":
        return f"Proved: no network of any width is more than {gap} below the objective."
    if certificate.scope == "sampled":
        text = f"No network with the given activation patterns is more than {gap} below the objective; others may be."
    elif certificate.provisional:
        text = f"Provisional: a short search found no network more than {gap} below the objective; none confirmed it."
    else:
        text = f"Search over all activation patterns found no network more than {gap} below the objective: no proof."
    if certificate.proved_bound > 0:
        text += f" Proved: none of any width is more than {percent(certificate.proved_gap)} below."
    return text
