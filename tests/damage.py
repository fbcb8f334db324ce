"""Damaged copies of saved models, and what they must not do: a clear error, or a model that predicts finite values."""

import io
import json
import struct
import zipfile

import numpy as np
from networks import make_network
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import convexnn
from convexnn.networks.persistence import load, save

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4))
y = np.abs(X[:, 0]) - X[:, 1]
LABELS = np.array(["a", "b", "c"])[np.digitize(y, [-0.5, 0.7])]
FEW = {"alpha": 0.1, "arrangements": 10, "random_state": 0}
NETWORKS = ("relu", "leaky_relu", "gated_relu skip", "threshold", "conv sum", "image max", "circular image")
# What takes the place of values in the metadata.
VALUES = (
    None, True, False, 0, 1, -1, 2, 7, 625, 2**31, -(2**63), 2**64, 10**30, 10**400, 0.5, -0.5, 1e-308, 1e308, 1e60,
    float("nan"), float("inf"), -float("inf"), "", "text", "nan", "relu", "O", [], [1, 2], [[[]]], {}, {"a": 1},
    {"dict": {}}, {"float": "nan"}, {"array": "lost"}, {"array": ["network_.W1", [1, 0, 2]]}, {"numpy": ["int8", 300]},
    {"numpy": ["S", 10**10]}, {"objects": [[10**9], []]}, {"tuple": [1]}, {"Popen": {"args": "ls"}},
)  # fmt: skip
NUMBERS = (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e200, 5e-324, 0.0, -1.0)
DTYPES = (
    "<f4",
    ">f8",
    "<i8",
    "|b1",
    "<U3",
    "|S5",
    "<c16",
    "<f2",
    "|u1",
    "<M8[s]",
    "|O",
    "|V8",
    "(2,)<f8",
    "<U999999999",
)


def sound_files(folder):
    """Save models of every kind, and return their files."""
    pipeline = make_pipeline(StandardScaler(), convexnn.ConvexReLUClassifier(loss="hinge", **FEW))
    models = [
        convexnn.ConvexReLURegressor(skip=True, **FEW).fit(X, y),
        convexnn.ConvexReLURegressor(alpha=0.1, arrangements=10, random_state=np.random.RandomState(1)).fit(X, y),
        convexnn.ConvexReLUClassifier(output_penalty="l1", **FEW).fit(X, LABELS.astype(object)),
        convexnn.ConvexCNNRegressor(kernel_size=2, **FEW).fit(X, y),
        convexnn.ConvexCNNClassifier(input_shape=(1, 2, 2), kernel_size=(2, 1), padding=[1, 0], **FEW).fit(
            X, LABELS == "a"
        ),
        convexnn.CircularCNNRegressor(**FEW).fit(X, y),
        pipeline.fit(5.0 + X, LABELS == "a"),
        *(make_network(name)[0] for name in NETWORKS),
    ]
    paths = [folder / f"{place}.npz" for place in range(len(models))]
    for path, model in zip(paths, models, strict=True):
        save(model, path)
    return paths


def damaged(content, rng):
    """Return the bytes of a file, damaged in one way or another."""
    damages = [_flip, _cut, _insert, _delete, _blank, _directory, _members, _members, _header, _values, _values, _json]
    damages += [_json] * 4
    return damages[rng.integers(len(damages))](content, rng)


def check_damaged(path):
    """Load a file: "refused" for a ValueError that names it, "loaded" for a model that predicts finite values."""
    try:
        model = load(path)
    except ValueError as error:
        return "refused" if path.name in str(error) and len(str(error)) < 1000 else f"no clear error: {error}"
    steps = getattr(model, "steps", None)
    last = model if steps is None else steps[-1][1]
    network = getattr(last, "network_", last)
    d = network.patches.n_features if hasattr(network, "patches") else len(network.W1)
    inputs = np.random.default_rng(0).standard_normal((3, d)) if d < 10**6 else np.zeros((1, d))
    shape = (len(inputs),) if len(network.b2) == 1 else (len(inputs), len(network.b2))
    outputs = network.predict(inputs)
    assert outputs.shape == shape
    assert np.isfinite(outputs).all()
    for method in ("predict", "decision_function", "predict_proba"):
        if hasattr(model, method):
            values = getattr(model, method)(inputs)
            assert len(values) == len(inputs)
            assert values.dtype.kind != "f" or np.isfinite(values).all()
    if last is not network:
        assert last.summary()
        assert str(last.certificate_)
    assert repr(model)
    return "loaded"


def _flip(content, rng):
    """Flip up to eight bits."""
    content = bytearray(content)
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << rng.integers(8)
    return bytes(content)


def _cut(content, rng):
    return content[: rng.integers(len(content))]


def _insert(content, rng):
    place = rng.integers(len(content))
    return content[:place] + rng.bytes(rng.integers(1, 100)) + content[place:]


def _delete(content, rng):
    place = rng.integers(len(content))
    return content[:place] + content[place + rng.integers(1, 100) :]


def _blank(content, rng):
    place, size = rng.integers(len(content)), int(rng.integers(1, 600))
    return content[:place] + bytes([rng.choice([0, 255])]) * min(size, len(content) - place) + content[place + size :]


def _directory(content, rng):
    """Change a number in the directory at the end of the archive, or in a header inside of it."""
    marks = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")
    mark = marks[rng.integers(3)]
    places = [k for k in range(len(content)) if content.startswith(mark, k)]
    place = int(rng.choice(places)) + int(rng.integers(4, 46 if mark == marks[0] else 22))
    size = int(rng.choice([1, 2, 4]))
    value = int(rng.choice([0, 1, 8, 9, 12, 14, 255, 65535, 2**31, 2**32 - 1, rng.integers(2**32)])) % 256**size
    return content[:place] + value.to_bytes(size, "little") + content[place + size :]


def _members(content, rng):
    """Take members away, exchange, repeat or rename them, add others, or pack them in other ways."""
    members = _unpacked(content)
    one, other = (int(k) for k in rng.integers(len(members), size=2))
    kind = rng.integers(8)
    if kind == 0:
        del members[one]
    elif kind == 1:
        members[one][1], members[other][1] = members[other][1], members[one][1]
    elif kind == 2:
        members.append(list(members[one]))
    elif kind == 3:
        members[one][0] = str(rng.choice(["x.npy", "metadata", "../x.npy", "", "metadata.npy", "a" * 60000]))
    elif kind == 4:
        members.append(["added" + str(rng.choice([".npy", ".txt", "/"])), rng.bytes(100)])
    elif kind == 5:
        members[one][1] = _npy(f"({2**31},)", "<f8") + bytes(2**24)
    elif kind == 6:
        members[one][1] = b""
    else:
        return _packed(members, int(rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])))
    return _packed(members)


def _header(content, rng):
    """Change the header of an array: its shape, its type, its order, or its text."""
    members = _unpacked(content)
    member = members[rng.integers(len(members))]
    array, kind = np.load(io.BytesIO(member[1])), rng.integers(4)
    shapes = ["()", "(0,)", "(-1,)", "(1,)", "(-2, -2)", "(10**18,)", f"({2**62}, 4)", "(2.5,)", "('a',)",
              "((((((", f"{array.shape[::-1]}", f"{(array.size,)}", f"{(*array.shape, 1)}", f"(0, {10**40})",
              "(" * 500]  # fmt: skip
    body = array.tobytes()
    if kind == 0:
        member[1] = _npy(str(rng.choice(shapes)), array.dtype.str) + body
    elif kind == 1:
        member[1] = _npy(str(array.shape), str(rng.choice(DTYPES))) + body
    elif kind == 2:
        member[1] = _npy(str(array.shape), array.dtype.str, order=True) + body
    else:
        place = int(rng.integers(min(128, len(member[1]))))
        member[1] = member[1][:place] + rng.bytes(1) + member[1][place + 1 :]
    return _packed(members)


def _values(content, rng):
    """Change entries of an array, or its type or shape, with a header that fits."""
    members = _unpacked(content)
    member = members[rng.integers(len(members))]
    array, kind = np.load(io.BytesIO(member[1])).copy(), rng.integers(5)
    if kind == 0 and array.dtype.kind == "f" and array.size:
        array.flat[rng.integers(array.size)] = rng.choice(NUMBERS)
    elif kind == 1 and array.size:
        flat = bytearray(array.tobytes())
        flat[rng.integers(len(flat))] ^= 1 << rng.integers(8)
        array = np.frombuffer(bytes(flat), array.dtype).reshape(array.shape)
    elif kind == 2 and array.dtype.kind in "fiub":
        array = array.astype(str(rng.choice(["f4", ">f8", "i8", "?", "U9", "c16", "f2"])))
    elif kind == 3 and array.ndim:
        array = array[: rng.integers(len(array) + 1)]
    elif array.ndim:
        array = np.concatenate([array, array])
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=False)
        member[1] = file.getvalue()
    return _packed(members)


def _json(content, rng):
    """Change the metadata: a value, a key, the depth, or the text."""
    members = _unpacked(content)
    member = next(member for member in members if member[0] == "metadata.npy")
    metadata, kind = json.loads(str(np.load(io.BytesIO(member[1])))), rng.integers(9)
    places = list(_places(metadata))
    parent, key = places[rng.integers(len(places))]
    if kind <= 3:
        parent[key] = VALUES[rng.integers(len(VALUES))]
    elif kind == 4:
        del parent[key]
    elif kind == 5 and isinstance(parent, dict):
        parent[str(rng.choice(["x", "x_", "predict", "dict", "array", "loss", "classes_"]))] = parent.pop(key)
    elif kind == 6:
        other, place = places[rng.integers(len(places))]
        try:
            parent[key], other[place] = other[place], json.loads(json.dumps(parent[key]))
        except (KeyError, IndexError, ValueError):
            parent[key] = None
    else:
        parent[key] = "\0deep"
    deep = int(rng.choice([150, 900, 5000, 200000]))
    try:
        text = json.dumps(metadata)
    except ValueError:  # a circle
        text = "[]"
    text = text.replace(
        '"\\u0000deep"', ("[" * deep + "]" * deep) if kind == 7 else ('{"tuple": [' * deep + "]}" * deep)
    )
    if rng.integers(8) == 0:
        place = int(rng.integers(len(text)))
        text = text[:place] + str(rng.choice(['"', "{", "]", "9" * 5000, "\\u", "e999", ""])) + text[place + 1 :]
    with io.BytesIO() as file:
        np.save(file, np.array(text))
        member[1] = file.getvalue()
    return _packed(members)


def _places(value):
    """Yield the lists and dictionaries in a value, each with every key or place."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _unpacked(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [[info.filename, archive.read(info)] for info in archive.infolist()]


def _packed(members, method=zipfile.ZIP_DEFLATED):
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, method)
        return file.getvalue()


def _npy(shape, descr, order=False):
    """Return the header of an array, with texts for its shape and type."""
    descr = f"'{descr}'" if not descr.startswith("(") else f"('<f8', {descr[: descr.index(')') + 1]})"
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
