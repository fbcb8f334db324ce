"""An equal program that is easier to solve: in the row space of X, centred, with entries of about one."""

import numpy as np

__all__ = ["Simplified"]


class Simplified:
    """An equal `program` that is easier to solve, and the way there and back.

    It is in coordinates of the row space of X, its targets are what the free fit F beta leaves of Y (a large mean would
    cost digits), and X and Y have sizes of about one, by powers of two.

    Parameters
    ----------
    whole : Program
        The program.
    beta : ndarray of shape (n_free, n_outputs)
        Coefficients of the free columns that are taken away, where the loss is translation invariant.
    rank : int or None, default=None
        Leading singular vectors of X that are kept; None is all.
    """

    def __init__(self, whole, beta, rank=None):
        program, self.rotation = whole.in_row_space(rank)
        self.offset, self.free_map = np.zeros_like(beta), whole.free_basis[1]
        if program.loss.translation_invariant:
            program, self.offset = program.centred(beta), beta
            self.free_map = self.free_map @ program.free_basis[1]
        unit_x, self.unit_y = _power_of_two(program.design.X), 1.0
        if program.loss.degree is not None:
            self.unit_y = _power_of_two(program.Y)
        self.program = program.rescaled(unit_x, self.unit_y)
        self.unit_w = self.unit_y / unit_x
        self.unit_loss = self.unit_y ** (program.loss.degree or 0)
        self.unit_alpha = self.unit_loss / self.unit_w

    def simplify(self, W):
        """Return blocks of the whole program as blocks of `program`."""
        return np.einsum("bdc,dr->brc", W, self.rotation) / self.unit_w

    def restore(self, W, beta):
        """Return blocks and free coefficients of `program` as those of the whole."""
        return np.einsum(
            "brc,dr->bdc", W, self.rotation
        ) * self.unit_w, self.offset + self.free_map @ beta * self.unit_y


def _power_of_two(values):
    """Return the power of two nearest to the root mean square, 1 for zeros: to divide by it costs no digits."""
    size = np.abs(values).max(initial=0.0)
    return 2.0 ** np.round(np.log2(size * np.sqrt(np.mean((values / size) ** 2)))) if size > 0 else 1.0
