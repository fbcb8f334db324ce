"""An equal program that is easier to solve: in the row space of X, centred, with entries of about one."""

import numpy as np

__all__ = ["Simplified", "bias_stages"]

# The unit t of free biases, relative to the root of the relative gap: t^2 / 2 is what it may cost of the bound.
BIAS_PART = 0.3
# Tolerances that come before small ones.
STAGES = (1e-1, 1e-3, 1e-5)


class Simplified:
    """An equal `program` that is easier to solve, and the way there and back.

    It is in coordinates of the row space of X, its targets are what the free fit F beta leaves of Y (a large mean would
    cost digits), and X, Y and sample weights have sizes of about one, by powers of two. `beta` is taken away only where
    the loss is translation invariant; `rank` leading singular vectors of X are kept (None: all); free hidden biases get
    the largest unit that a relative gap of `tol` allows (None: their own).
    """

    def __init__(self, whole, beta, rank=None, tol=None):
        program, self.rotation = whole.in_row_space(rank)
        self.unit_bias = 1.0
        if whole.bias_unit and tol is not None:
            unit = max(whole.bias_unit, BIAS_PART * np.sqrt(tol))
            program, self.unit_bias = program.with_bias_unit(unit), whole.bias_unit / unit
        self.offset, self.free_map = np.zeros_like(beta), whole.free_basis[1]
        if program.loss.translation_invariant:
            program, self.offset = program.centred(beta), beta
            self.free_map = self.free_map @ program.free_basis[1]
        program, unit_weight = program.in_weights()
        units = 1.0 if program.design.units is None else program.design.units
        unit_x, self.unit_y = _power_of_two(program.design.X * units), 1.0
        if program.loss.degree is not None:
            self.unit_y = _power_of_two(program.Y)
        self.program = program.rescaled(unit_x, self.unit_y)
        self.unit_w = self.unit_y / unit_x
        self.unit_loss = unit_weight * self.unit_y ** (program.loss.degree or 0)
        self.unit_alpha = self.unit_loss / self.unit_w
        self.unit_kappa = self.unit_alpha * self.program.relaxation / whole.relaxation

    def simplify(self, W):
        """Return blocks of the whole program as blocks of `program`."""
        W = np.einsum("bdc,dr->brc", W, self.rotation) / self.unit_w
        W[:, -1] /= self.unit_bias
        return W

    def restore(self, W, beta):
        """Return blocks and free coefficients of `program` as those of the whole."""
        W = W * self.unit_w
        W[:, -1] *= self.unit_bias
        return np.einsum("brc,dr->bdc", W, self.rotation), self.offset + self.free_map @ beta * self.unit_y

    def restore_dual(self, V):
        """Return a dual vector of `program` as one of the whole: a gradient of the loss with respect to predictions."""
        return V * (self.unit_loss / self.unit_y)

    def restore_kappa(self, norm):
        """Return a bound of kappa of a dual vector of `program` as one of the whole, in whose unit biases are."""
        return norm * self.unit_kappa


def bias_stages(program, W_init, tol):
    """Return the falling list of tolerances to solve a program to one after the other, the last of them `tol`.

    Free hidden biases in small units are stiff: coarser units, which loose tolerances allow, are solved first. Only
    `tol` where there are no such biases, or blocks W_init to start from.
    """
    if not program.bias_unit or W_init.any():
        return [tol]
    return [stage for stage in STAGES if stage > tol] + [tol]


def _power_of_two(values):
    """Return the power of two nearest to the root mean square, 1 for zeros: to divide by it costs no digits."""
    size = np.abs(values).max(initial=0.0)
    return 2.0 ** np.round(np.log2(size * np.sqrt(np.mean((values / size) ** 2)))) if size > 0 else 1.0
