"""
How many activation patterns are there?
=======================================

A neuron is active on some samples and not on others. Which patterns are possible? The samples' hyperplanes cut the
space of weights into cells, one for each pattern. In general position n samples of rank r have

    2 sum_{k < r} C(n - 1, k)

of them (Cover, 1965): polynomial in n, not 2^n, which is why the convex program is one of polynomial size for a fixed
rank. Samples in special position, as on a grid, have fewer. All counts are exact enumerations.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from convexnn.geometry import count_arrangements, enumerate_arrangements

sizes, ranks = (4, 6, 9, 13, 18, 25, 35), (2, 3, 4)
rng = np.random.default_rng(0)

# %%
# Count
# -----
# Random samples are in general position. Of samples with small integers as features some are parallel, or lie in one
# plane with others.

random, integer = {}, {}
for rank in ranks:
    rows = rng.standard_normal((max(sizes), rank))
    random[rank] = [len(enumerate_arrangements(rows[:n])) for n in sizes]
    rows = rng.integers(-2, 3, (max(sizes), rank))
    integer[rank] = [len(enumerate_arrangements(rows[:n])) for n in sizes]
    print(f"rank {rank}: formula {[count_arrangements(n, rank) for n in sizes]}")
    print(f"       random   {random[rank]}\n       integers {integer[rank]}")

# %%
# Draw
# ----

figure, ax = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
line, styles = range(4, 41), ((4, "#0072B2", "o"), (3, "#D55E00", "s"), (2, "#009E73", "^"))
ax.plot(line[:14], [2**n for n in line[:14]], color="0.5", linestyle=":")
for rank, color, marker in styles:
    ax.plot(line, [count_arrangements(n, rank) for n in line], color=color)
    ax.plot(sizes, random[rank], marker, color=color)
    ax.plot(sizes, integer[rank], marker, color=color, fillstyle="none")
    ax.annotate(
        f"rank {rank}", (40, count_arrangements(40, rank)), (6, 0), textcoords="offset points", color=color, va="center"
    )
handles = [
    Line2D([], [], color="0.5", linestyle=":", label="$2^n$: all subsets of the samples"),
    Line2D([], [], color="black", label="formula: general position"),
    Line2D([], [], color="black", marker="o", linestyle="", label="random samples, enumerated"),
    Line2D([], [], color="black", marker="o", linestyle="", fillstyle="none", label="integers -2 to 2, enumerated"),
]
ax.set(
    xscale="log",
    yscale="log",
    xlim=(3.7, 52),
    ylim=(3, 5e4),
    xlabel="samples n",
    ylabel="activation patterns",
    title="Activation patterns of n samples: the formula, and all of them enumerated",
)
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.grid(alpha=0.3)
ax.legend(handles=handles, fontsize=9, loc="upper left")
plt.show()
