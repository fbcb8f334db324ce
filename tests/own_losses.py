"""Losses of one's own, as a user may define them."""

import cvxpy as cp
import numpy as np
from scipy.special import xlog1py

from convexnn.losses import Loss


class LogCosh(Loss):
    """log cosh(z - y), with all that a solver may ask for."""

    translation_invariant = True

    def phi(self, Y, Z):
        return np.logaddexp(Z - Y, Y - Z) - np.log(2.0)

    def phi_grad(self, Y, Z):
        return np.tanh(Z - Y)

    def phi_hess(self, Y, Z):
        return 1.0 - np.tanh(Z - Y) ** 2

    def phi_grad_inverse(self, Y, S):
        return Y + np.arctanh(S)

    def phi_conjugate(self, Y, S):
        return S * Y + 0.5 * (xlog1py(1.0 + S, S) + xlog1py(1.0 - S, -S))

    def slope_bounds(self, Y):
        return -1.0, 1.0

    def phi_cvxpy(self, Y, Z):
        return cp.logistic(2.0 * (Z - Y)) - (Z - Y) - np.log(2.0)


class PseudoHuber(Loss):
    """2 (sqrt(1 + (z - y)^2) - 1), of another curvature."""

    translation_invariant = True
    steepest = 2.0

    def phi(self, Y, Z):
        return 2.0 * np.hypot(1.0, Z - Y) - 2.0

    def phi_grad(self, Y, Z):
        return 2.0 * (Z - Y) / np.hypot(1.0, Z - Y)

    def phi_hess(self, Y, Z):
        return 2.0 * np.hypot(1.0, Z - Y) ** -3.0

    def phi_grad_inverse(self, Y, S):
        return Y + 0.5 * S / np.sqrt(1.0 - 0.25 * S**2)

    def phi_conjugate(self, Y, S):
        return S * Y + 2.0 - 2.0 * np.sqrt(1.0 - 0.25 * S**2)

    def slope_bounds(self, Y):
        return -2.0, 2.0

    def phi_cvxpy(self, Y, Z):
        R = cp.reshape(Z - Y, (1, Y.size), order="C")
        norms = cp.norm(cp.vstack([np.ones((1, Y.size)), R]), axis=0)
        return cp.reshape(2.0 * norms - 2.0, Y.shape, order="C")


class Exponential(Loss):
    """exp(-y z), whose conjugate has no bounds on one side, and is finite where predictions are not."""

    vanishes = False
    steepest = np.inf

    def phi(self, Y, Z):
        return np.exp(-Y * Z)

    def phi_grad(self, Y, Z):
        return -Y * np.exp(-Y * Z)

    def phi_hess(self, Y, Z):
        return np.exp(-Y * Z)

    def phi_grad_inverse(self, Y, S):
        return -Y * np.log(-Y * S)

    def slope_bounds(self, Y):
        return np.where(Y > 0, -np.inf, 0.0), np.where(Y > 0, 0.0, np.inf)
