"""Newton's method in neuron space, for data whose cells are too thin to go from one to the next.

    F(u, b) = L(sum_j s_j S act(X u_j) e_j' + Q b) + alpha sum_j |u_j|

With many rows each neuron crosses many walls in a step, and sum_k v_k (x_k.u)_+ is as good as smooth: its kinks add up
to a curvature that convex programs over cells do not see. So (t)_+ is smoothed over an angle w around each wall,

    r(t) = delta (1 + t / delta)^2 / 4 where |t| < delta = w |x_k| |u|,   r(t) = (t)_+ elsewhere,

which keeps it of degree one in u, and w falls as the steps become shorter. The Hessian is that of Gauss and Newton,
plus for each neuron what the norm and the kinks bend, alpha (I - uu'/|u|^2) / |u| - s_j sum_k v_k r'', of which the
positive part is kept, plus a shift (Levenberg, Marquardt); it is made and factored in single precision. A step may
shorten a neuron to zero but not turn it round: it is the minimum of the quadratic model over such steps, by a
primal-dual active set method, nearly.

References
----------
J. Nocedal and S. Wright (2006), Numerical optimization, 2nd ed., chapters 4 and 10. M. Hintermueller, K. Ito and K.
Kunisch (2002), The primal-dual active set strategy as a semismooth Newton method, SIAM Journal on Optimization 13(3).
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.utils import gen_batches

from ..utils.kernels import kernel
from ..utils.threads import map_batches
from .cell_pool import leaders
from .descent import smoothed

__all__ = ["LARGEST_SYSTEM", "merge_close", "newton_descend"]

# Coordinates of the neurons of a system up to which it is factored.
LARGEST_SYSTEM = 3000
# Angles of the smoothing, the first and the last, in units of those between the walls, n_features / n_rows, the largest
# in radians, and the factor between two.
FIRST_WIDTH, LAST_WIDTH, LARGEST_WIDTH, WIDTH_FACTOR = 30.0, 4.0, 0.1, 0.3
# A width is done where the model promises less than this part of what the smoothing costs.
WORTHWHILE = 0.5
# Part of the curvature alpha / |u| of the norm that a neuron keeps at least.
LEAST_BENDING = 1e-3
# Part of alpha / |u| that the shift of the length of a neuron is at least, for losses without curvature.
LEAST_RADIAL = 1e-2
# The first shift, in units of the curvature of the norm, the least above zero, and its factors.
FIRST_SHIFT, LEAST_SHIFT, SHIFT_FACTOR = 0.1, 1e-2, 5.0
# Parts of the promised decrease below which a step is not taken, or the shift grows, and above which it falls.
TAKEN, BAD, GOOD = 1e-3, 0.25, 0.75
# Shifts tried for a step, and rounds of the active set method.
TRIES, ROUNDS = 8, 12
# Relative regularisation of the systems, which are in single precision.
REGULARISATION = 3e-6
# Neurons below this part of the longest are dropped.
NEGLIGIBLE = 1e-9
# A width in place of zero, whose square is not zero.
TINY = 1e-150
# Most batches of neurons for threads, and the fewest neurons of one: several are computed at a time.
BATCHES, FEWEST_NEURONS = 8, 48


def newton_descend(program, U, signs, outputs, beta, *, max_iter, ftol, observe):
    """As `descend`, by Newton steps, until one promises a relative decrease of `ftol`; neurons may be merged."""
    if not len(U):
        return U, signs, outputs, beta
    width, last = (_angle(program, part) for part in (FIRST_WIDTH, LAST_WIDTH))
    neurons = _Neurons(program, *merge_close(program, U, signs, outputs), beta, width)
    for _ in range(max_iter):
        moved, promised = neurons.step()
        if observe():
            break
        cost = abs(neurons.value - neurons.objective(neurons.U, neurons.beta, 0.0))
        least = ftol * abs(neurons.value)
        settled = not moved or promised <= least
        if neurons.width > last and cost > least and (settled or promised <= WORTHWHILE * cost):
            neurons.narrow(max(last, WIDTH_FACTOR * neurons.width))
        elif settled:
            break
    return neurons.U, neurons.signs, neurons.outputs, neurons.beta


def _angle(program, part):
    """Return `part` times the angle between the walls, at most `LARGEST_WIDTH`, in radians."""
    return min(LARGEST_WIDTH, part * program.design.X.shape[1] / len(program.design.X))


def merge_close(program, U, signs, outputs):
    """Add up neurons of one sign and output that the first smoothing does not tell apart; return U, signs, outputs."""
    if not len(U):
        return U, signs, outputs
    angle = _angle(program, FIRST_WIDTH)
    units = U / np.linalg.norm(U, axis=1, keepdims=True)
    leader = leaders(units, np.cos(angle), (signs[:, None] == signs) & (outputs[:, None] == outputs))
    first, place = np.unique(leader, return_inverse=True)
    total = np.zeros((len(first), U.shape[1]))
    np.add.at(total, place, U)
    return total, signs[first], outputs[first]


class _Neurons:
    """Neurons and free coefficients, the width of the smoothing, F there, and the shift of the next step."""

    def __init__(self, program, U, signs, outputs, beta, width):
        self.program, self.design, self.loss = program, program.design, smoothed(program)
        self.basis, self.alpha = program.free_basis[0], program.alpha
        self.X, self.lengths = np.ascontiguousarray(self.design.X), np.linalg.norm(self.design.X, axis=1)
        n_outputs = program.Y.shape[1]
        self.groups = [[c] for c in range(n_outputs)] if self.loss.separable else [list(range(n_outputs))]
        self.shift = FIRST_SHIFT
        self._take(U, signs, outputs, beta)
        self.narrow(width)

    def narrow(self, width):
        """Smooth over another angle."""
        self.width = width
        self.value = self.objective(self.U, self.beta, width)

    def objective(self, U, beta, width):
        """Return F for a width."""
        Z = self._predict(self._hidden(U, width)) + self.basis @ beta
        return self.loss.value(self.program.Y, Z) + self.alpha * float(np.linalg.norm(U, axis=1).sum())

    def step(self):
        """Take a step; return whether F falls, and how much the quadratic model promised."""
        models, promised = self._models(), 0.0
        for _ in range(TRIES):
            dU, db, promised = np.zeros_like(self.U), np.zeros_like(self.beta), 0.0
            for own, group, H, shifts, g in models:
                step = _minimise(H, self.shift * shifts, g, self.U[own])
                promised -= float(g @ step) + 0.5 * float(step @ (H @ step.astype(np.float32)))
                end = dU[own].size
                dU[own], db[:, group] = step[:end].reshape(-1, dU.shape[1]), step[end:].reshape(len(group), -1).T
            if promised > 0:
                U, beta = self.U + dU, self.beta + db
                value = self.objective(U, beta, self.width)
                ratio = (self.value - value) / promised
            else:
                ratio = -np.inf
            if ratio < BAD:
                self.shift = max(SHIFT_FACTOR * self.shift, LEAST_SHIFT)
            elif ratio > GOOD:
                self.shift = self.shift / SHIFT_FACTOR if self.shift > LEAST_SHIFT else 0.0
            if ratio > TAKEN:
                self._take(U, self.signs, self.outputs, beta)
                self.value = value
                return True, promised
        return False, promised

    def _take(self, U, signs, outputs, beta):
        """Take these neurons, without those that are negligible."""
        sizes = np.linalg.norm(U, axis=1)
        kept = sizes > NEGLIGIBLE * sizes.max(initial=0.0)
        self.U, self.signs, self.outputs, self.beta = U[kept], signs[kept], outputs[kept], beta

    def _models(self):
        """Return for each group of outputs its neurons, Hessian, shifts of the neurons, and gradient."""
        Y, sizes = self.program.Y, np.linalg.norm(self.U, axis=1)
        units = self.U / sizes[:, None]
        jacobian = self._jacobian()
        hidden = np.einsum("njd,jd->nj", jacobian, self.U)  # of degree one
        Z = self._predict(hidden) + self.basis @ self.beta
        V, curvature = -self.loss.grad(Y, Z), self.loss.curvature(Y, Z)
        jacobian *= self.signs[:, None]
        gradient = self.alpha * units - np.einsum("njd,nj->jd", jacobian, V[:, self.outputs])
        of_free = -(self.basis.T @ V)
        along = units[:, :, None] * units[:, None, :]
        bending = self._bending(V, units, sizes, np.eye(self.U.shape[1]) - along)
        models = []
        for group in self.groups:
            own = np.flatnonzero(np.isin(self.outputs, group))
            H = self._hessian(jacobian[:, own], self.outputs[own], group, curvature)
            d, shifts = self.U.shape[1], np.zeros((len(own), self.U.shape[1], self.U.shape[1]))
            for j, neuron in enumerate(own):
                place = slice(j * d, (j + 1) * d)
                radial = max(
                    float(units[neuron] @ H[place, place] @ units[neuron]), LEAST_RADIAL * self.alpha / sizes[neuron]
                )
                shifts[j] = radial * along[neuron] + self.alpha / sizes[neuron] * (np.eye(d) - along[neuron])
                H[place, place] += bending[neuron]
            diagonal = H.reshape(-1)[:: len(H) + 1]
            diagonal *= 1.0 + REGULARISATION
            ends = diagonal[len(own) * d :]  # softmax does not feel a coefficient that all outputs share
            ends += REGULARISATION * ends.max(initial=0.0)
            models.append((own, group, H, shifts, np.concatenate([gradient[own].ravel(), of_free[:, group].T.ravel()])))
        return models

    def _hessian(self, jacobian, outputs, group, curvature):
        """Return the Gauss-Newton matrix of the neurons and free coefficients of a group of outputs."""
        (n, m, d), q = jacobian.shape, self.basis.shape[1]
        H, parts, places = np.zeros((m * d + q * len(group),) * 2, np.float32), [], []
        for at, c in enumerate(group):
            own = np.flatnonzero(outputs == c)
            parts.append(np.hstack([jacobian[:, own].reshape(n, -1), self.basis]).astype(np.float32))
            places.append(np.concatenate([(own[:, None] * d + np.arange(d)).ravel(), m * d + at * q + np.arange(q)]))
        for a, c in enumerate(group):
            for b, e in enumerate(group[: a + 1]):
                bent = curvature[:, c] if self.loss.separable else curvature[:, c, e]
                block = parts[a].T @ (parts[b] * bent[:, None].astype(np.float32))
                H[np.ix_(places[a], places[b])] = block
                H[np.ix_(places[b], places[a])] = block.T
        return H

    def _bending(self, V, units, sizes, across):
        """Return the positive part of what the norm and the kinks add to the Hessian of each neuron."""
        kinks = np.zeros(across.shape)
        rows = (1.0 - self.design.slope) * self.design.spread(V).T.copy()

        def part(batch):
            for j in range(batch.start, batch.stop):
                _bend(self.X, self.lengths, rows[self.outputs[j]], units[j], self.width, kinks[j])

        self._map(part, len(units))
        curvature = (self.alpha / sizes)[:, None, None]
        values, vectors = np.linalg.eigh(curvature * across - (self.signs / sizes)[:, None, None] * kinks)
        bent = (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
        return bent + LEAST_BENDING * curvature * across

    def _jacobian(self):
        """Return the derivatives of the activations, shape (n_samples, n_neurons, n_features)."""
        design, J = self.design, np.zeros((self.design.n_samples, *self.U.shape))

        def part(batch):
            U = np.ascontiguousarray(self.U[batch].T)
            _expand(self.X, self.lengths, U, self.width, design.slope, design.n_patches, J[:, batch])

        self._map(part, len(self.U))
        return J

    def _hidden(self, U, width):
        """Return the activations of neurons, shape (n_samples, n_neurons)."""
        design, hidden = self.design, np.zeros((self.design.n_samples, len(U)))

        def part(batch):
            columns = np.ascontiguousarray(U[batch].T)
            _activations(self.X, self.lengths, columns, width, design.slope, design.n_patches, hidden[:, batch])

        self._map(part, len(U))
        return hidden

    def _map(self, part, count):
        """Call part(batch) for the batches of `count` neurons, in threads."""
        map_batches(part, list(gen_batches(count, max(FEWEST_NEURONS, -(-count // BATCHES)))) if count else [])

    def _predict(self, hidden):
        """Return what neurons predict, shape (n_samples, n_outputs)."""
        return hidden @ (self.signs[:, None] * (self.outputs[:, None] == np.arange(self.program.Y.shape[1])))


def _minimise(H, shifts, g, U):
    """Return, nearly, the p that minimises g'p + p'(H + shifts)p / 2 and turns no neuron; 0 where there is none."""
    m, d = U.shape
    H = H.copy()  # in single precision
    for j in range(m):
        H[j * d : (j + 1) * d, j * d : (j + 1) * d] += shifts[j]
    p, out, is_free = np.zeros(len(g)), np.zeros(m, bool), np.ones(len(g), bool)
    for _ in range(ROUNDS):
        is_free[: m * d] = np.repeat(~out, d)
        free = np.flatnonzero(is_free)
        p[: m * d] = -U.ravel()
        p[free] = 0.0
        try:
            factor = cho_factor(H[np.ix_(free, free)], lower=True, overwrite_a=True, check_finite=False)
            p[free] = -cho_solve(factor, (g + H @ p.astype(np.float32))[free].astype(np.float32), check_finite=False)
        except LinAlgError:
            return np.zeros(len(g))
        steps = p[: m * d].reshape(m, d)
        turned = ~out & (np.sum(U * (U + steps), axis=1) < 0)
        back = out & (np.sum((g + H @ p.astype(np.float32))[: m * d].reshape(m, d) * U, axis=1) < 0)
        if not (turned.any() or back.any()):
            return p
        out = (out | turned) & ~back
    steps[turned] = -U[turned]
    return p


@kernel(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _activations(X, lengths, U, width, slope, n_patches, hidden):
    """Write the activations of neurons, the columns of U, added up over the patches of each sample, to `hidden`."""
    d, m = U.shape
    widths, t, total = np.maximum(width * np.sqrt((U * U).sum(axis=0)), TINY), np.empty(m), np.empty(m)
    for i in range(len(hidden)):
        total[:] = 0.0
        for k in range(i * n_patches, (i + 1) * n_patches):
            inverse = 0.25 / lengths[k] if lengths[k] > 0.0 else 0.0
            t[:] = 0.0
            for q in range(d):
                for j in range(m):
                    t[j] += X[k, q] * U[q, j]
            for j in range(m):  # without branches, so that several are computed at a time
                delta = widths[j] * lengths[k]
                z = min(max(t[j], -delta), delta) + delta
                r = z * z * (inverse / widths[j]) + max(t[j] - delta, 0.0)
                total[j] += slope * t[j] + (1.0 - slope) * r
        for j in range(m):
            hidden[i, j] = total[j]


@kernel(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _expand(X, lengths, U, width, slope, n_patches, J):
    """Write the derivatives of the activations of neurons, columns of U, to J (n_samples, n_neurons, n_features)."""
    d, m = U.shape
    width, sizes = max(width, TINY), np.sqrt((U * U).sum(axis=0))
    t, along, total = np.empty(m), np.empty(m), np.empty((d, m))
    for i in range(len(J)):
        along[:], total[:] = 0.0, 0.0
        for k in range(i * n_patches, (i + 1) * n_patches):
            inverse = 1.0 / (width * lengths[k]) if lengths[k] > 0.0 else 0.0
            t[:] = 0.0
            for q in range(d):
                for j in range(m):
                    t[j] += X[k, q] * U[q, j]
            for j in range(m):
                part = min(max(t[j] * (inverse / sizes[j]), -1.0), 1.0)
                along[j] += 0.25 * (1.0 - part * part) * width * lengths[k]
                t[j] = slope + (1.0 - slope) * 0.5 * (1.0 + part)
            for q in range(d):
                for j in range(m):
                    total[q, j] += t[j] * X[k, q]
        for j in range(m):
            for q in range(d):
                J[i, j, q] = total[q, j] + (1.0 - slope) * along[j] * U[q, j] / sizes[j]


@kernel(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _bend(X, lengths, weights, unit, width, K):
    """Add sum_k weights_k r'' at a unit vector to K (n_features, n_features)."""
    d, total = len(unit), 0.0
    y = np.empty(d)
    for k in range(len(X)):
        t = 0.0
        for q in range(d):
            t += X[k, q] * unit[q]
        delta = width * lengths[k]
        if abs(t) < delta:
            for q in range(d):
                y[q] = X[k, q] - t * unit[q]
            factor = weights[k] / (2.0 * delta)
            for q in range(d):
                for r in range(d):
                    K[q, r] += factor * y[q] * y[r]
            total += weights[k] * 0.25 * (1.0 - (t / delta) ** 2) * delta
    for q in range(d):
        for r in range(d):
            K[q, r] += total * ((1.0 if q == r else 0.0) - unit[q] * unit[r])
