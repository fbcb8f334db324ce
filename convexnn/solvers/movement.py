"""How generation starts from neurons, and moves them across walls.

By L-BFGS from far away, and by Newton's method where cells are thin.
"""

import numpy as np

from .descent import descend
from .neuron_newton import LARGEST_SYSTEM, merge_close, newton_descend

__all__ = ["DESCENT_STEPS", "move_neurons", "random_neurons"]

# Random neurons, one for two samples within limits, and the products of a step from which there are fewer.
FEWEST_NEURONS, FEWEST_OF_OUTPUT, MOST_NEURONS, DESCENT_WORK = 40, 15, 300, 2e8
# Entries of the derivatives of all activations up to which Newton's method is used.
LARGEST_JACOBIAN = 1e7
# Iterations of L-BFGS alone, and of L-BFGS before Newton's method.
DESCENT_STEPS, FIRST_STEPS = 300, 50
# Relative decrease at which L-BFGS ends, as a part of tol.
DESCENT_FRACTION = 1e-3
# Newton steps of the first move and of later ones, the relative decrease at which they end, as a part of the squared
# gap (an error of V costs its square in the objective), and the least.
FIRST_NEWTON_STEPS, NEWTON_STEPS, NEWTON_FRACTION, LEAST_DECREASE = 40, 15, 0.01, 1e-9


def move_neurons(program, neurons, *, gap, tol, thin, observe):
    """Move `neurons`, as of `descend`, across walls by L-BFGS or, where cells are `thin`, by Newton's method.

    `gap` is the relative gap known, 1 far from any optimum, `tol` the one wanted.
    """
    first, ftol = gap >= 1.0, DESCENT_FRACTION * tol
    if thin and not first:
        neurons = *merge_close(program, *neurons[:3]), neurons[3]
    U, _, outputs, _ = neurons
    together = np.bincount(outputs).max(initial=0) if program.loss.separable else len(U)
    entries = len(program.Y) * U.size
    if not thin or together * U.shape[1] > LARGEST_SYSTEM or entries > LARGEST_JACOBIAN:
        return descend(program, *neurons, max_iter=DESCENT_STEPS, ftol=ftol, observe=observe)
    if first:
        U, *others = descend(program, *neurons, max_iter=FIRST_STEPS, ftol=ftol, observe=observe)
        alive = U.any(axis=1)
        neurons = U[alive], *(part[alive] for part in others[:2]), others[2]
        if observe():
            return neurons
    steps = FIRST_NEWTON_STEPS if first else NEWTON_STEPS
    return newton_descend(
        program, *neurons, max_iter=steps, ftol=max(LEAST_DECREASE, NEWTON_FRACTION * gap**2), observe=observe
    )


def random_neurons(program, units, rng):
    """Return U (n_neurons, n_features), signs and outputs of small random neurons to start from."""
    (rows, d), n_outputs = program.design.X.shape, program.Y.shape[1]
    afforded = DESCENT_WORK / (rows * d * np.sqrt(program.design.n_patches))
    least = max(FEWEST_NEURONS, FEWEST_OF_OUTPUT * n_outputs)
    m = int(np.clip(min(len(program.Y) // 2, afforded), least, MOST_NEURONS))
    U = rng.standard_normal((m, d)) / (4 * np.sqrt(d))
    U *= np.linalg.norm(U, axis=1, keepdims=True) * units
    outputs = rng.randint(0, n_outputs, m) if n_outputs > 1 else np.zeros(m, int)
    return U, rng.choice([-1.0, 1.0], m), outputs
