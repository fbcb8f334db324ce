"""Pictures of networks, paths and certificates, after the displays of scikit-learn.

    RegularizationPathDisplay.from_path(path)       neurons, weight decay, errors, objective and bounds against alpha
    ConvergenceDisplay.from_estimator(model)        objective, lower bound and gap against time, beside runs of others
    ArrangementDisplay.from_estimator(model, X)     the walls and cells of the data, and the neurons among them
    NetworkFunctionDisplay.from_estimator(model)    the function of one or two features, and where neurons switch on
    ContributionsDisplay.from_estimator(model, x)   one prediction as a sum over neurons
    FiltersDisplay.from_estimator(model)            filters of convolutional and circular networks, and their spectra
    CertificateDisplay.from_estimator(model)        what is proved about the objective

Each takes `ax`, and holds its data and, after `plot`, the artists (`ax_` or `axes_`, `figure_`, and more).
"""

from .arrangement import ArrangementDisplay
from .certificate import CertificateDisplay
from .contributions import ContributionsDisplay
from .convergence import ConvergenceDisplay
from .filters import FiltersDisplay
from .network_function import NetworkFunctionDisplay
from .path import RegularizationPathDisplay

__all__ = [
    "ArrangementDisplay",
    "CertificateDisplay",
    "ContributionsDisplay",
    "ConvergenceDisplay",
    "FiltersDisplay",
    "NetworkFunctionDisplay",
    "RegularizationPathDisplay",
]
