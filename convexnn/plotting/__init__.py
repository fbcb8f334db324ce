"""Pictures of networks, paths and certificates, after the displays of scikit-learn."""

from .arrangement import ArrangementDisplay
from .convergence import ConvergenceDisplay
from .regularization_path import RegularizationPathDisplay

__all__ = ["ArrangementDisplay", "ConvergenceDisplay", "RegularizationPathDisplay"]
