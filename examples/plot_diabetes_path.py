"""
The regularization path of the diabetes data
============================================

How much weight decay? A path shows all answers at once. It starts at alpha_max, where no neuron is active, and goes
down, each network starting from the one before, each with its certificate. More and more neurons come in, the training
error falls, and the error on patients who were left out has a minimum.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split

from convexnn import ConvexReLURegressor, regularization_path

X, y = load_diabetes(return_X_y=True)
X, y = X / X.std(axis=0), (y - y.mean()) / y.std()
X, X_val, y, y_val = train_test_split(X, y, random_state=0)

# %%
# The path
# --------

estimator = ConvexReLURegressor(scope="local", tol=1e-3, random_state=0)
path = regularization_path(
    X, y, X_val=X_val, y_val=y_val, estimator=estimator, n_alphas=15, eps=0.03, scoring="neg_mean_squared_error"
)
best = path.best()
ridge = RidgeCV().fit(X, y)
print(f"{len(path.alphas)} alphas, {path.alpha_max:.0f} to {path.alphas[-1]:.1f}, gaps up to {path.gaps.max():.0e}")
print(f"best for patients left out: alpha {best.alpha_:.0f}, {best.n_neurons_} neurons")
print(f"R2 there {best.score(X_val, y_val):.3f}, of ridge regression {ridge.score(X_val, y_val):.3f}")

# %%
# Its picture
# -----------

display = path.plot(panels=("norms", "n_neurons", "scores", "objective"))
display.figure_.suptitle("Diabetes: disease progression, standardised, of 331 patients; 111 left out")
plt.show()
