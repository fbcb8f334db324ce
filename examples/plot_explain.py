"""
Explaining a prediction
=======================

A prediction of a two-layer network is a sum with one term for each neuron, and around a sample the network is a linear
model, exactly. ``explain`` gives both, as arrays or tables. Here the network predicts the progression of diabetes: what
its neurons add for one patient, and how the linear models of two patients differ.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from convexnn import ConvexReLURegressor
from convexnn.plotting import ContributionsDisplay

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X = (X - X.mean()) / X.std()
model = ConvexReLURegressor(3000, scope="local", tol=1e-3, random_state=0).fit(X, y)

# %%
# The explanation of all predictions
# ----------------------------------
# ``to_frame`` and ``coefficients_frame`` are the tables; a row of the second is the linear model of a patient.

explanation = model.explain(X)
print(explanation)
print(explanation.coefficients_frame().head(3).round(1).to_string())

# %%
# The linear model is the network, not an approximation of it: both predict the same.

linear = np.einsum("ij,ij->i", X, explanation.coefficients[:, :, 0]) + explanation.offsets[:, 0]
print(f"largest difference: {np.abs(linear - model.predict(X)).max():.0e}")

# %%
# Two patients
# ------------

high, low = int(np.argmax(model.predict(X))), int(np.argmin(model.predict(X)))
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
ContributionsDisplay.from_estimator(model, X.iloc[high], ax=left)
n_active = np.count_nonzero(explanation.contributions[high])
left.set_title(f"Patient {high}: {n_active} neurons active", loc="left")
left.set_xlabel("predicted progression of diabetes after one year")
places = np.arange(X.shape[1])
for shift, patient, color, name in ((-0.2, high, "#D55E00", "highest"), (0.2, low, "#0072B2", "lowest")):
    label = f"patient {patient}: {name} prediction, {model.predict(X)[patient]:.0f}"
    right.barh(places + shift, explanation.coefficients[patient, :, 0], height=0.4, color=color, label=label)
right.set_yticks(places, X.columns)
right.invert_yaxis()
right.axvline(0, color="0.3", linewidth=0.8)
right.set(xlabel="change of the prediction for one standard deviation", title="Local linear models")
right.grid(alpha=0.3, axis="x")
right.legend()
plt.show()
