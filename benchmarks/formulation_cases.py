"""The formulations: every network of the table, with every loss that it allows, and the sizes of tiny problems."""

import re
from dataclasses import dataclass, field

from convexnn.geometry.patches import Patches

__all__ = ["CASES", "LABELS", "Case"]

# Losses of real targets, of labels, and those of several outputs.
REAL, LABELS = ("squared_error", "huber", "quantile", "absolute_error"), ("log_loss", "hinge", "squared_hinge")
SEVERAL = (*REAL, "softmax")


@dataclass(frozen=True)
class Case:
    """A network and a loss.

    Parameters
    ----------
    formulation : str
        Its number in the table of formulations, "F1" to "F25".
    network : str
        What it is, in words.
    loss : str
        Name of the loss; "exact" where the network has to fit the targets exactly.
    architecture : dict
        Arguments of `Architecture`.
    n_samples, n_features, n_outputs : int
        Sizes of a problem.
    kind : str
        How it is posed: a key of `POSERS`.
    options : dict
        What the kind needs.
    weighted : bool
        Whether samples have weights.
    """

    formulation: str
    network: str
    loss: str
    architecture: dict = field(default_factory=dict)
    n_samples: int = 7
    n_features: int = 2
    n_outputs: int = 1
    kind: str = "program"
    options: dict = field(default_factory=dict)
    weighted: bool = False

    @property
    def name(self):
        """The name of the case, without spaces."""
        words = [self.formulation, self.network, self.loss, *(["weighted"] if self.weighted else [])]
        return re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(words))

    @property
    def generated(self):
        """Whether generation is for this case: activations whose patterns are those of their weights, norms l2."""
        plain = self.architecture.get("hidden_norm", "l2") == "l2"
        own = self.architecture.get("activation", "relu") in ("relu", "leaky_relu", "abs")
        return self.kind in ("program", "spline", "vector", "interpolation") and plain and own


def _cases():
    """Yield all cases."""
    none, own = {"hidden_bias": "none", "fit_intercept": False}, {}
    free, l1 = {"hidden_bias": "free"}, {"output_penalty": "l1"}

    def every(formulation, network, architecture, losses=REAL + LABELS, **sizes):
        for loss in losses:
            outputs = {"softmax": 3}.get(loss, sizes.get("n_outputs", 1))
            yield Case(formulation, network, loss, architecture, **{**sizes, "n_outputs": outputs})

    yield from every("F1", "ReLU", none, n_features=3)
    yield from every("F2", "hidden bias", {"fit_intercept": False})
    yield from every("F3", "free hidden bias", free)
    yield from every("F4", "output bias", own)
    yield from every("F4", "output bias", own, weighted=True)
    yield from every("F5", "skip", {"skip": True}, n_samples=8)
    yield from every("F5", "skip, free hidden bias", {"skip": True, **free}, ("squared_error", "log_loss"), n_samples=8)
    yield from every("F6", "gated", {"activation": "gated_relu"})
    smooth = ("squared_error", "huber", "log_loss", "squared_hinge")
    yield from every("F7", "gated, ridge", {"activation": "gated_relu"}, smooth, kind="ridge")
    yield from every("F8", "leaky ReLU", {"activation": "leaky_relu"})
    steep = {"activation": "leaky_relu", "negative_slope": -0.5, **none}
    yield from every("F8", "leaky ReLU, slope -0.5", steep, ("squared_error", "hinge"), n_features=3)
    yield from every("F9", "absolute value", {"activation": "abs"})
    yield from every("F10", "l1 hidden norm", {"hidden_norm": "l1"})
    yield from every("F11", "outputs apart", l1, SEVERAL, n_outputs=2)
    yield from every("F11", "outputs apart", l1, ("softmax",), weighted=True)
    yield from every("F12", "several outputs", own, SEVERAL, n_outputs=2, kind="vector")
    yield from every("F13", "gated, several outputs", {"activation": "gated_relu"}, SEVERAL, n_outputs=2)
    yield from every(
        "F13", "linear, several outputs", {"activation": "linear"}, ("squared_error", "softmax"), n_outputs=2
    )
    threshold = {"activation": "threshold"}
    yield from every("F14", "threshold", threshold | none | {"fit_intercept": True}, n_samples=6)
    yield from every("F14", "threshold, hidden bias", threshold, ("squared_error", "hinge"), n_samples=6)
    for formulation, network, coefficients in (
        ("F15", "polynomial", (0.09, 0.5, 0.47)),
        ("F16", "quadratic", (1.0, 0.0, 0.0)),
    ):
        options = {"kind": "polynomial", "options": {"coefficients": coefficients}}
        yield from every(formulation, network, own, (*REAL, *LABELS, "softmax"), **options)
    yield from _convolutions(every, none, l1)
    yield from _others(every, none, free, l1)


def _convolutions(every, none, l1):
    """Yield the cases of convolutional and circular networks."""

    def patches(pooling, length=4):
        return {"patches": Patches((1, length), 2, stride=length // 2, pooling=pooling)}

    sizes = {"n_samples": 6, "n_features": 4}
    linear = {"activation": "linear", "hidden_bias": "none"}
    yield from every("F17", "linear CNN", linear | patches("none"), (*REAL, *LABELS, "softmax"), **sizes)
    yield from every("F18", "CNN, mean pooling", patches("mean"), **sizes)
    yield from every("F18", "CNN, mean pooling", patches("mean"), ("log_loss",), weighted=True, **sizes)
    yield from every(
        "F18",
        "CNN, mean pooling, outputs apart",
        patches("mean") | l1,
        ("squared_error", "softmax"),
        n_outputs=2,
        **sizes,
    )
    yield from every("F18", "CNN, sum pooling", patches("sum") | none, ("squared_error", "hinge"), **sizes)
    yield from every(
        "F18", "CNN, free hidden bias", patches("mean") | {"hidden_bias": "free"}, ("squared_error",), **sizes
    )
    yield from every("F19", "CNN, max pooling", patches("max"), **{**sizes, "n_samples": 5})
    gated = {"activation": "gated_relu"}
    yield from every("F20", "gated CNN", gated | patches("none"), (*REAL, *LABELS, "softmax"), **sizes)
    yield from every("F20", "gated CNN, mean pooling", gated | patches("mean"), ("squared_error", "hinge"), **sizes)
    circular = {"hidden_norm": "circular", "hidden_bias": "none", "circular_shape": (3,)}
    grid = circular | {"circular_shape": (2, 2)}
    yield from every("F21", "circular", circular, n_features=3)
    yield from every("F21", "circular, gated", circular | gated, ("squared_error", "log_loss"), n_features=3)
    yield from every("F21", "circular, 2-D", grid, ("squared_error",), n_samples=6, n_features=4)
    yield from every("F22", "circular, linear", circular | linear, n_features=3)
    yield from every("F22", "circular, linear, 2-D", grid | linear, ("squared_error",), n_samples=6, n_features=4)


def _others(every, none, free, l1):
    """Yield the cases of adversarial training, splines and interpolation."""
    yield from every("F23", "adversarial", {}, ("hinge", "log_loss"), kind="adversarial")
    yield from every("F24", "one feature", free, kind="spline", n_features=1)
    yield from every(
        "F24", "one feature, skip", {"skip": True, **free}, ("squared_error", "hinge"), kind="spline", n_features=1
    )
    exact = {"losses": ("exact",), "kind": "interpolation", "n_samples": 5}
    yield from every("F25", "interpolation", none, **exact | {"n_samples": 6, "n_features": 3})
    yield from every("F25", "interpolation, biases", {}, **exact)
    yield from every("F25", "interpolation, free hidden bias", free, **exact)
    yield from every("F25", "interpolation, leaky ReLU", {"activation": "leaky_relu"}, **exact)
    yield from every("F25", "interpolation, outputs apart", l1, **exact, n_outputs=2)
    yield from every("F25", "interpolation, l1 hidden norm", {"hidden_norm": "l1"}, **exact)


CASES = tuple(_cases())
