"""Benchmarks: each module prints a table and writes JSON and figures; run them with python -m benchmarks.NAME."""
