"""Pictures of networks, paths and certificates, after the displays of scikit-learn."""

from .arrangement import ArrangementDisplay
from .certificate import CertificateDisplay
from .contributions import ContributionsDisplay
from .convergence import ConvergenceDisplay
from .filters import FiltersDisplay
from .network_function import NetworkFunctionDisplay
from .regularization_path import RegularizationPathDisplay

__all__ = [
    "ArrangementDisplay",
    "CertificateDisplay",
    "ContributionsDisplay",
    "ConvergenceDisplay",
    "FiltersDisplay",
    "NetworkFunctionDisplay",
    "RegularizationPathDisplay",
]
