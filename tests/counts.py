"""How much the long tests do: all of it, or the part that the environment variable CONVEXNN_LONG says."""

import os

SEED = int(os.environ.get("CONVEXNN_LONG_SEED", "0"))


def scaled(count):
    """The part of a count that is to be run, at least 1."""
    return max(1, round(count * float(os.environ.get("CONVEXNN_LONG", "1"))))
