"""The modules that a user is told about: what they list is public, beside the names of the package itself."""

PUBLIC_MODULES = [
    "baselines",
    "datasets",
    "geometry",
    "losses",
    "model",
    "networks",
    "plotting",
    "pricing",
    "solvers",
    "special",
]
