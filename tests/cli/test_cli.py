"""The command line, as a user runs it: results, files, exit codes, and one line for every error."""

import csv
import json
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from convexnn import ConvexReLURegressor
from convexnn.cli import commands as cli
from convexnn.cli import main
from convexnn.networks.persistence import load, save

RNG = np.random.default_rng(0)
X = 10.0 + RNG.standard_normal((24, 2)) * [2.0, 0.5]
Y = np.abs(X[:, 0] - 10.0) + X[:, 1]
LABELS = np.where(np.median(Y) < Y, "high", "low")
UNITS = (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with tables of numbers, of classes, and of new rows."""
    monkeypatch.chdir(tmp_path)
    write("data.csv", ["a", "b", "y"], np.column_stack([X, Y]).tolist())
    write("classes.csv", ["a", "b", "kind"], [[*row, label] for row, label in zip(X.tolist(), LABELS, strict=True)])
    write("new.csv", ["b", "note", "a"], [[10.5, "x", 9.0], [9.5, "", 12.0]])
    return tmp_path


def write(name, header, rows):
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def run(capsys, *arguments, code=0):
    """Run a command; return what it printed."""
    found = main(list(arguments))
    out, err = capsys.readouterr()
    assert found == code, err
    return out, err


def run_json(capsys, *arguments, code=0):
    out, _ = run(capsys, *arguments, "--json", code=code)
    assert out.count("\n") == 1
    return json.loads(out)


def fit(capsys, *arguments, data="data.csv", target="y", alpha="0.5", **options):
    options = {"code": 0} | options
    return run_json(capsys, "fit", data, "--target", target, "--alpha", alpha, *arguments, **options)


def outputs(network, rows):
    """The network by its formula."""
    return np.maximum(rows @ network.W1 + network.b1, 0) @ network.W2 + network.b2


def objective(network, rows, losses, alpha):
    return losses + alpha / 2 * sum(np.sum(weights**2) for weights in (network.W1, network.b1, network.W2))


def read(text):
    header, *rows = csv.reader(text.splitlines())
    return header, rows


@pytest.mark.parametrize("standardize", [True, False])
def test_fit_certifies_and_predict_finds_features_by_name(capsys, standardize):
    options = [] if standardize else ["--no-standardize"]
    report = fit(capsys, "--output", "model.npz", "--scope", "global", *options)
    model = load("model.npz")
    estimator, rows = (model[-1], UNITS) if standardize else (model, X)
    assert list(getattr(model, "feature_names_in_", ())) == ["a", "b"]
    Z = outputs(estimator.network_, rows)[:, 0]
    certificate, errors = report["certificate"], np.sum((Y - Z) ** 2)
    assert certificate["objective"] == pytest.approx(objective(estimator.network_, rows, 0.5 * errors, 0.5), rel=1e-9)
    assert certificate["scope"] == "global"
    assert certificate["gap"] <= certificate["tol"] == 1e-4
    assert report["n_neurons"] == estimator.network_.n_neurons
    r2, rmse = 1 - errors / np.sum((Y - Y.mean()) ** 2), np.sqrt(errors / 24)
    assert report["scores"]["training"] == {"n_rows": 24, "r2": pytest.approx(r2), "rmse": pytest.approx(rmse)}
    facts = {"file": "data.csv", "n_rows": 24, "n_held_out": 0, "features": ["a", "b"], "target": "y"}
    assert report["data"] == facts | {"task": "regression", "standardized": standardize}
    assert (report["command"], report["version"], report["output"]) == ("fit", version("convexnn"), "model.npz")
    assert report["summary"].startswith("Solved to a relative gap of")

    header, found = read(run(capsys, "predict", "model.npz", "new.csv")[0])
    new = np.array([[9.0, 10.5], [12.0, 9.5]])
    expected = outputs(estimator.network_, (new - X.mean(axis=0)) / X.std(axis=0) if standardize else new)
    assert header == ["prediction"]
    assert np.allclose(np.array(found, dtype=float), expected, rtol=1e-12)
    assert run(capsys, "predict", "model.npz", "new.csv", "--output", "out.csv") == ("", "")
    with open("out.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [header, *found]
    assert run_json(capsys, "predict", "model.npz", "new.csv")["prediction"] == [float(row[0]) for row in found]


def test_fit_in_words(capsys):
    out, err = run(capsys, "fit", "data.csv", "--target", "y", "--alpha", "0.5", "--test-size", "0.25")
    lines = out.splitlines()
    assert lines[0] == "data.csv: 24 rows, 6 of them held out; 2 features, standardized; target 'y' (regression)"
    assert lines[1].startswith("Solved to a relative gap of")
    assert [line.split(" on ")[1] for line in lines[-2:]] == ["18 rows: training", "6 rows: held out"]
    assert err == ""


def test_classes_of_text(capsys):
    report = fit(capsys, "--output", "model.npz", data="classes.csv", target="kind")
    assert report["data"]["task"] == "classification"
    assert report["parameters"]["loss"] == "log_loss"
    header, rows = read(run(capsys, "predict", "model.npz", "classes.csv", "--proba")[0])
    assert header == ["prediction", "probability high", "probability low"]
    Z = outputs(load("model.npz")[-1].network_, UNITS)[:, 0]
    assert [row[0] for row in rows] == ["low" if z > 0 else "high" for z in Z]
    assert np.allclose([float(row[2]) for row in rows], 1 / (1 + np.exp(-Z)))
    accuracy = np.mean([row[0] == label for row, label in zip(rows, LABELS, strict=True)])
    assert report["scores"]["training"] == {"n_rows": 24, "accuracy": pytest.approx(accuracy)}
    out, _ = run(capsys, "fit", "classes.csv", "--target", "kind", "--alpha", "0.5")
    assert f"accuracy {accuracy:.4f} on 24 rows: training" in out


def test_options_reach_the_estimator(capsys):
    words = "--loss huber --hidden-bias none --skip --scope local --tol 0.01 --time-limit 60 --seed 3"
    fit(capsys, *words.split(), "--output", "model.npz")
    parameters = load("model.npz")[-1].get_params()
    expected = {"alpha": 0.5, "loss": "huber", "hidden_bias": "none", "skip": True, "scope": "local", "tol": 0.01}
    expected |= {"time_limit": 60.0, "random_state": 3, "verbose": 0}
    assert {name: parameters[name] for name in expected} == expected


def test_auto_alpha_and_a_task_by_force(capsys):
    write("counts.csv", ["x", "y"], [[k, k % 2] for k in range(8)])
    report = fit(capsys, "--task", "regression", data="counts.csv", alpha="auto")
    assert report["data"]["task"] == "regression"
    assert report["alpha"] == pytest.approx(0.01 * report["alpha_max"])


def test_cross_validation(capsys, monkeypatch):
    searches = []

    class Search(cli.ConvexReLURegressorCV):
        def __init__(self, estimator=None, **options):
            super().__init__(estimator, alphas=[2.0, 0.5], cv=2, **options)
            searches.append(self)

    monkeypatch.setattr(cli, "ConvexReLURegressorCV", Search)
    report = fit(capsys, "--output", "model.npz", alpha="cv")
    assert report["alpha"] == searches[0].alpha_ in (2.0, 0.5)
    assert load("model.npz")[-1].alpha_ == report["alpha"]


def test_path(capsys):
    arguments = ["path", "data.csv", "--target", "y", "--n-alphas", "3", "--eps", "0.1", "--scope", "local"]
    report = run_json(capsys, *arguments, "--plot", "path.png", "--output", "best.npz")
    assert np.allclose(np.array(report["alphas"]) / report["alpha_max"], [1.0, np.sqrt(0.1), 0.1])
    assert report["n_neurons"][0] == 0
    assert report["n_neurons"][-1] > 0
    assert max(report["gaps"]) <= 1e-4
    assert (np.diff(report["objectives"]) < 0).all()
    assert report["data"]["n_held_out"] == 6
    best = int(np.argmax(report["validation_scores"]))
    assert report["best_alpha"] == report["alphas"][best] == load("best.npz")[-1].alpha_
    with open("path.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"
    lines = run(capsys, *arguments)[0].splitlines()
    assert len(lines) == 2 + 3 + 1
    assert [line.endswith("*") for line in lines[2:5]] == [place == best for place in range(3)]


def test_a_path_cut_short(capsys):
    arguments = ["path", "data.csv", "--target", "y", "--n-alphas", "200", "--scope", "local", "--time-limit"]
    out, _ = run(capsys, *arguments, "0.1", code=1)
    assert "the path was stopped at time_limit, before its last alpha" in out
    assert 4 < len(out.splitlines()) < 200
    out, _ = run(capsys, *arguments, "1e-9", code=1)  # there is always a first network
    assert "the path was stopped at time_limit" in out


def test_certify(capsys):
    write("other.csv", ["a", "b", "y"], np.column_stack([X[:5], Y[:5] + 1.0]).tolist())
    fitted = fit(capsys, "--output", "model.npz", "--scope", "global")
    report = run_json(capsys, "certify", "model.npz", "data.csv", "--target", "y", "--test", "other.csv")
    certificate = report["certificate"]
    assert certificate["objective"] == pytest.approx(fitted["certificate"]["objective"], rel=1e-9)
    assert certificate["lower_bound"] <= certificate["objective"]
    assert certificate["gap"] <= certificate["tol"] == 1e-3
    assert report["alpha"] == 0.5
    errors = Y[:5] + 1.0 - outputs(load("model.npz")[-1].network_, UNITS[:5])[:, 0]
    assert report["scores"]["other.csv"]["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert report["scores"]["data.csv"] == fitted["scores"]["training"]
    out, _ = run(capsys, "certify", "model.npz", "data.csv", "--target", "y", "--alpha", "0.1", code=1)
    assert "not within tol=0.001." in out  # it is the best network of another alpha


def test_certify_a_classifier(capsys):
    fitted = fit(capsys, "--output", "model.npz", data="classes.csv", target="kind")
    arguments = ["certify", "model.npz", "classes.csv", "--target", "kind", "--scope", "local"]
    found = run_json(capsys, *arguments)["certificate"]["objective"]
    network = load("model.npz")[-1].network_
    losses = np.sum(np.log1p(np.exp(-np.where(LABELS == "low", 1, -1) * outputs(network, UNITS)[:, 0])))
    assert found == pytest.approx(objective(network, UNITS, losses, 0.5), rel=1e-9)
    assert found == pytest.approx(fitted["certificate"]["objective"], rel=1e-9)
    assert "(estimated, not proved), within tol=0.001." in run(capsys, *arguments)[0]


def test_certify_a_network(capsys):
    network = ConvexReLURegressor(0.5, scope="local", random_state=0).fit(X, Y).network_
    save(network, "network.npz")
    arguments = ["certify", "network.npz", "data.csv", "--target", "y"]
    assert "without its alpha: give --alpha" in run(capsys, *arguments, code=2)[1]
    report = run_json(capsys, *arguments, "--alpha", "0.5", "--scope", "local")
    losses = 0.5 * np.sum((Y - outputs(network, X)[:, 0]) ** 2)
    assert report["certificate"]["objective"] == pytest.approx(objective(network, X, losses, 0.5), rel=1e-9)


def test_ecg(capsys):
    pytest.importorskip("pywt")
    arguments = ["ecg", "--train", "40", "--window", "2", "--alpha", "1"]
    report = run_json(capsys, *arguments)
    signal = __import__("pywt").data.ecg().astype(float)
    signal = (signal - signal[:40].mean()) / signal[:40].std()
    rows = {row["model"]: row for row in report["rows"]}
    assert list(rows) == ["persistence", "linear least squares", "convex"]
    assert rows["persistence"]["test_mse"] == pytest.approx(np.mean((signal[40:] - signal[39:-1]) ** 2))
    windows = np.column_stack([signal[:38], signal[1:39], np.ones(38)])
    residuals = np.linalg.lstsq(windows, signal[2:40], rcond=None)[1]
    assert rows["linear least squares"]["train_mse"] == pytest.approx(residuals[0] / 38)
    assert rows["convex"]["train_mse"] <= rows["linear least squares"]["train_mse"]
    assert report["certificate"]["gap"] <= 1e-4
    assert "38 training and 984 test windows" in run(capsys, *arguments)[0]


def test_not_converged_is_said_and_written(capsys):
    arguments = ["fit", "data.csv", "--target", "y", "--alpha", "0.01", "--time-limit", "1e-6", "--output", "model.npz"]
    out, _ = run(capsys, *arguments, code=1)
    assert "Not solved to tol=0.0001: the solver was stopped at time_limit." in out
    assert load("model.npz")[-1].alpha_ == 0.01


def test_an_interrupted_run_is_written(capsys, monkeypatch):
    def interrupted(self, X, y):
        with pytest.warns(ConvergenceWarning):
            ConvexReLURegressor.fit(self.set_params(time_limit=1e-6), X, y)
        self.status_ = "interrupted"
        return self

    kind = type("ConvexReLURegressor", (ConvexReLURegressor,), {"fit": interrupted})
    monkeypatch.setattr(cli, "ConvexReLURegressor", kind)
    monkeypatch.setattr(cli, "save", lambda model, path: None)
    out, _ = run(capsys, "fit", "data.csv", "--target", "y", "--alpha", "0.01", "--output", "model.npz", code=130)
    assert "written to model.npz" in out

    def stopped(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_table", stopped)
    assert run(capsys, "fit", "data.csv", "--target", "y", code=130) == ("", "convexnn: interrupted\n")


def test_missing_values_and_columns_left_out(capsys):
    write("gaps.csv", ["", "a", "city", "y"], [[k, k if k else "NA", "Rome", k % 3] for k in range(9)])
    arguments = ["fit", "gaps.csv", "--target", "y", "--alpha", "0.5", "--task", "regression"]
    assert 'without a name (an index?): name it, or leave it out by --drop ""' in run(capsys, *arguments, code=2)[1]
    arguments += ["--drop", ""]
    assert "'a' of gaps.csv, line 2: no value ('NA', the only one missing)" in run(capsys, *arguments, code=2)[1]
    arguments += ["--ignore-missing"]
    assert "'city' of gaps.csv, line 3: 'Rome' is not a number" in run(capsys, *arguments, code=2)[1]
    arguments += ["--drop", "city"]
    out, err = run(capsys, *arguments)
    assert out.startswith("gaps.csv: 8 rows; 1 feature, standardized;")
    assert err == "convexnn: note: 1 of 9 rows of gaps.csv are left out: values are missing\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: COMMAND; convexnn --help explains"),
        ("train data.csv", "invalid choice: 'train'"),
        ("fit data.csv", "the following arguments are required: --target; convexnn fit --help explains"),
        ("fit data.csv --target y --fast", "unrecognized arguments: --fast"),
        ("fit data.csv --target z", "data.csv has no column 'z'; its columns are 'a', 'b', 'y'"),
        ("fit nowhere.csv --target y", "nowhere.csv: No such file or directory"),
        ("fit . --target y", ".: Is a directory"),
        ("fit data.csv --target y --alpha 0", "The 'alpha' parameter of ConvexReLURegressor must be a float"),
        ("fit data.csv --target y --alpha many", "must be auto, cv or a number above 0; got 'many'"),
        ("fit data.csv --target y --tol nan", "The 'tol' parameter of ConvexReLURegressor must be a float"),
        ("fit data.csv --target y --test-size 1", "The 'test_size' parameter of train_test_split must be a float"),
        ("fit data.csv --target y --test-size 0.99", "the resulting train set will be empty"),
        ("fit data.csv --target y --test-size 0.95", "needs two rows or more; data.csv has 24, 23 of them held out"),
        ("fit data.csv --target y --seed -1", "The 'random_state' parameter of ConvexReLURegressor must be an int"),
        ("fit data.csv --target y --loss hinge", "'loss' parameter of ConvexReLURegressor"),
        ("fit data.csv --target y --drop a --drop b", "data.csv has no other column than the target, 'y'"),
        ("fit data.csv --target y --output nowhere/model.npz", "there is no folder 'nowhere'"),
        ("fit data.csv --target y --output model.pkl", "model.pkl has to end in .npz"),
        ("fit data.csv --target y --output folder.npz", "folder.npz is a folder, not a file"),
        ("fit classes.csv --target kind --task regression", "line 2: '"),
        ("path data.csv --target y --plot path.bmp", "path.bmp has to end in .png or .pdf or .svg"),
        ("path data.csv --target y --n-alphas 1.5", "argument --n-alphas: invalid int value: '1.5'"),
        ("predict data.csv data.csv", "must be a file of convexnn.save"),
        ("predict nowhere.npz data.csv", "nowhere.npz: No such file or directory"),
        ("predict model.npz classes.csv --proba", "--proba is for classifiers; model.npz is none"),
        ("predict model.npz bad.csv", "bad.csv has no column 'b'; its columns are 'a'"),
        ("predict model.npz gap.csv", "column 'b' of gap.csv, line 2: no value"),
        ("certify model.npz new.csv --target y", "new.csv has no column 'y'; its columns are 'b', 'note', 'a'"),
        ("certify kinds.npz other.csv --target kind", "other.csv has 'medium'; the model has high, low"),
        ("fit names.csv --target name", "column 'name' of names.csv has a class for each row, such as 'Ann'"),
        ("fit names.csv --target same", "column 'same' of names.csv has one class only, 'x'"),
        ("ecg --source nothing", "source must be 'auto', 'embedded', 'scipy'"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys, folder, small_models):
    (folder / "folder.npz").mkdir()
    write("bad.csv", ["a"], [[1]])
    write("names.csv", ["a", "name", "same"], [[1, "Ann", "x"], [2, "Bob", "x"]])
    write("gap.csv", ["a", "b"], [[1, ""]])
    write("other.csv", ["a", "b", "kind"], [[1, 2, "medium"], [2, 1, "low"]])
    for name, model in small_models.items():
        save(model, name)
    out, err = run(capsys, *arguments.split(), code=2)
    assert out == ""
    assert err.startswith("convexnn: error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.fixture(scope="module")
def small_models():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from convexnn import ConvexReLUClassifier

    options = {"alpha": 2.0, "scope": "local", "random_state": 0}
    regressor = make_pipeline(StandardScaler(), ConvexReLURegressor(**options)).fit(X, Y)
    classifier = ConvexReLUClassifier(**options).fit(X, LABELS)
    for model in (regressor[0], classifier):
        model.feature_names_in_ = np.array(["a", "b"], dtype=object)
    return {"model.npz": regressor, "kinds.npz": classifier}


def test_warnings_are_one_line(capsys, monkeypatch):
    def warn(path):
        import warnings

        warnings.warn("look\nout", UserWarning, stacklevel=1)
        raise OSError("no more")

    monkeypatch.setattr(cli, "read_table", warn)
    _, err = run(capsys, "fit", "data.csv", "--target", "y", code=2)
    assert err == "convexnn: warning: look out\nconvexnn: error: no more\n"


def test_verbose_shows_progress_on_stderr(capsys):
    arguments = ["fit", "data.csv", "--target", "y", "--alpha", "0.5", "--json"]
    out, err = run(capsys, *arguments, "-v")
    assert json.loads(out)["status"] == "solved"
    assert "Solved to a relative gap of" in err
    assert "iteration" not in err
    assert "iteration" in run(capsys, *arguments, "-vvv")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["examples:", "alpha_max", "it proves nothing", "exit codes:", "certify"]),
        (["fit", "--help"], ["--alpha auto|cv|NUMBER", "examples:", "--no-standardize", "free,none,penalized"]),
        (["predict", "--help"], ["--proba"]),
        (["path", "--help"], ["--n-alphas", "--plot"]),
        (["certify", "--help"], ["--scope", "code 1 says"]),
        (["ecg", "--help"], ["--source", "persistence"]),
    ],
)
def test_help_teaches(arguments, words, capsys):
    with pytest.raises(SystemExit) as done:
        main(arguments)
    text = capsys.readouterr().out
    assert done.value.code == 0
    assert all(word in text for word in words)


def test_the_module_is_the_command():
    shown = subprocess.run([sys.executable, "-m", "convexnn", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"convexnn {version('convexnn')}\n"
