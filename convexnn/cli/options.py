"""The options of the command line, and the help that explains them."""

import argparse
from importlib.metadata import version
from inspect import cleandoc

from sklearn.utils._param_validation import StrOptions

from ..estimators import ConvexReLUClassifier, ConvexReLURegressor

__all__ = ["make_parser"]

DESCRIPTION = """\
Two-layer ReLU networks trained to global optimality by convex optimisation:
no learning rate, no number of neurons to choose, and with each network a lower
bound, proved or estimated, on the objective that any other one could reach.

Data are text files, .csv or .tsv, whose first line names the columns. All
columns but the target are features; they have to be numbers, none missing."""
EPILOG = """\
examples:
  convexnn fit houses.csv --target price --output model.npz
  convexnn fit houses.csv --target price --alpha cv --test-size 0.25
  convexnn predict model.npz new_houses.csv --output predictions.csv
  convexnn path houses.csv --target price --plot path.png
  convexnn certify model.npz houses.csv --target price --scope global
  convexnn ecg

words:
  alpha  Strength of the weight decay. At alpha_max and above no neuron is
         active; the smaller alpha is, the more neurons there are, the closer
         is the fit, and the longer it takes. "auto" is 0.01 alpha_max, "cv"
         chooses it by cross-validation.
  gap    (objective - lower bound) / objective: how far the network is at most
         from the best one, if the bound holds. Solvers stop at --tol.
  scope  What the bound is worth. "global": it is proved, no network of the
         kind, of any width, is below it. "local": an estimate, as far as a
         search over all activation patterns could find; it proves nothing.
         --scope global asks for a proof: seconds up to about six features;
         give a --time-limit beyond that.

exit codes:
  0  done                           2    wrong usage or data: one line says why
  1  done, but tol was not reached  130  interrupted"""
# What the parameters of the estimators are, for their options.
PARAMETERS = {
    "alpha": "weight decay, a number above 0",
    "loss": "regression: {}; classification: {}",
    "hidden_bias": "whether weight decay counts hidden biases; free: as in scikit-learn's MLPs",
    "skip": "add a free linear part to the network",
    "scope": "local: an estimate; global: a proof; auto: a proof where a short attempt finds one",
    "tol": "relative gap to stop at",
    "time_limit": "limit of training, in seconds (path: of it all)",
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises ValueError on wrong usage, which `main` reports in one line."""

    def error(self, message):
        raise ValueError(f"{message}; {self.prog} --help explains")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; it raises ValueError on wrong usage."""
    layout = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = _Parser("convexnn", description=DESCRIPTION, epilog=EPILOG, **layout)
    parser.add_argument("--version", action="version", version=f"convexnn {version('convexnn')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_fit, _add_predict, _add_path, _add_certify, _add_ecg):
        description = cleandoc(add.__doc__ or "")  # there is none with python -OO
        hint = description.partition(".")[0]
        options = {"help": hint[:1].lower() + hint[1:], "description": description, **layout}
        add(commands.add_parser(add.__name__.removeprefix("_add_"), **options))
    return parser


def _add_fit(parser):
    """Train a network on a table.

    What came out is said in words: the gap to the best network of any width, whether
    that is proved, and what to do if it did not converge. --output writes the model,
    with the means and scales of its features, for `convexnn predict` and, in Python,
    for `convexnn.load`.
    """
    parser.epilog = """\
examples:
  convexnn fit flowers.csv --target species --output model.npz
  convexnn fit houses.csv --target price --alpha 0.5 --loss huber --json"""
    parser.add_argument(
        "--alpha",
        type=_alpha,
        default="auto",
        metavar="auto|cv|NUMBER",
        help="weight decay: auto (0.01 alpha_max), cv (cross-validation) or a number above 0 (default: auto)",
    )
    _add_data(parser)
    _add_model(parser)
    parser.add_argument("--test-size", type=float, metavar="FRACTION", help="fraction of rows to hold out, for a score")
    parser.add_argument("--output", metavar="FILE.npz", help="where to write the model")
    _add_output(parser)


def _add_predict(parser):
    """Predict the rows of a table.

    The model is one that `convexnn fit` or `convexnn.save` wrote. Features are found by
    their names; other columns are not read. A table is written, with a line a row.
    """
    parser.add_argument("model", metavar="MODEL.npz", help="the model")
    parser.add_argument("data", metavar="DATA.csv", help="the table")
    parser.add_argument("--proba", action="store_true", help="probabilities of the classes as well")
    parser.add_argument("--output", metavar="FILE.csv", help="where to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="write one JSON object to standard output")


def _add_path(parser):
    """Train networks from alpha_max down, to see what alpha does.

    Each starts from the one before. Neurons, objective, certificate and scores are shown
    at each alpha; the score on rows held out says which alpha to take.
    """
    _add_data(parser)
    _add_model(parser)
    parser.add_argument("--n-alphas", type=int, default=20, metavar="N", help="number of alphas (default: 20)")
    parser.add_argument("--eps", type=float, default=1e-3, help="smallest alpha over alpha_max (default: 0.001)")
    held = "fraction of rows to hold out (default: 0.25)"
    parser.add_argument("--test-size", type=float, default=0.25, metavar="FRACTION", help=held)
    parser.add_argument("--plot", metavar="FILE.png", help="where to draw the path (.png, .pdf, .svg)")
    parser.add_argument("--output", metavar="FILE.npz", help="where to write the model of the best score")
    _add_output(parser)


def _add_certify(parser):
    """Bound how far a network is from the best one.

    The objective of every network of its kind, of any width, is bounded from below, on
    the rows of a table, at the alpha of the model. The gap says how far it is at most
    from the best one, and the scope whether that is proved. Exit code 1 says that the
    gap is above --tol.
    """
    parser.add_argument("model", metavar="MODEL.npz", help="the model")
    parser.add_argument("data", metavar="DATA.csv", help="the table that it was trained on, or another one")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column that it predicts")
    parser.add_argument("--test", metavar="DATA.csv", help="another table, to compute the score on")
    parser.add_argument("--ignore-missing", action="store_true", help="leave out rows with missing values")
    _add_parameters(parser, "alpha", "scope", "tol", "time_limit", alpha="that of the model", tol=1e-3)
    _add_output(parser)


def _add_ecg(parser):
    """Predict a real electrocardiogram.

    The next sample is predicted from a window of the last ones, by a network with a
    linear skip trained to the optimum, beside persistence and linear least squares.
    Scales are those of the training part, the first --train samples; errors are on the
    rest as well.
    """
    parser.add_argument("--source", default="auto", help="auto, embedded, scipy, or a .csv, .npy or WFDB file")
    parser.add_argument(
        "--channel",
        type=lambda text: int(text) if text.isdecimal() else text,
        default="auto",
        metavar="NAME|N",
        help="column or channel, by name or number from 0 (default: the first that is no time)",
    )
    parser.add_argument("--window", type=int, default=15, metavar="N", help="samples of a window (default: 15)")
    parser.add_argument("--horizon", type=int, default=1, metavar="N", help="samples ahead (default: 1)")
    parser.add_argument("--train", type=int, default=700, metavar="N", help="samples to train on (default: 700)")
    _add_parameters(parser, "alpha", "tol", "scope", "time_limit", alpha=0.3, scope="local")
    _add_output(parser)


def _add_data(parser):
    parser.add_argument("data", metavar="DATA.csv", help="the table")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="leave a column out; may repeat")
    parser.add_argument("--ignore-missing", action="store_true", help="leave out rows with missing values")
    parser.add_argument(
        "--task",
        choices=("auto", "regression", "classification"),
        default="auto",
        help="auto: classification where the target is text, or at most ten different whole numbers that repeat",
    )
    parser.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="scale features to mean 0 and variance 1, which is the default: alpha depends on their units",
    )


def _add_model(parser):
    _add_parameters(parser, "loss", "hidden_bias", "skip", "scope", "tol", "time_limit", loss="that of the task")


def _add_parameters(parser, *names, **defaults):
    """Add options for parameters of the estimators, with their choices and defaults, and for the seed.

    A default that is given in words is only said: the option is None.
    """
    known = ConvexReLURegressor().get_params()
    for name in names:
        lists = [_choices(kind, name) for kind in (ConvexReLURegressor, ConvexReLUClassifier)]
        default = defaults.get(name, known[name])
        words = PARAMETERS[name].format(*map(", ".join, lists))
        if default is not None and known[name] is not False:
            words += f" (default: {default})"
        options = {"default": None if " " in str(default) else default, "help": words}
        if known[name] is False:
            options["action"] = "store_true"
        elif isinstance(known[name], str) and name != "alpha":
            options |= {"choices": sorted({*lists[0], *lists[1]}), "metavar": "LOSS" if name == "loss" else None}
        else:
            options |= {"type": float, "metavar": "SECONDS" if name == "time_limit" else "NUMBER"}
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    seed = "seed of all random choices (default: 0)"
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=seed, dest="random_state")


def _choices(kind, name):
    """Return the names that a parameter of an estimator accepts."""
    rules = kind._parameter_constraints[name]
    return sorted(option for rule in rules if isinstance(rule, StrOptions) for option in rule.options)


def _add_output(parser):
    parser.add_argument("--json", action="store_true", help="write one JSON object to standard output, nothing else")
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="show progress on standard error; -vv: each iteration"
    )


def _alpha(text):
    try:
        return text if text in ("auto", "cv") else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be auto, cv or a number above 0; got {text!r}") from None
