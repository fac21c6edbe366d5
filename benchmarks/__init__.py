"""Measurements of speed and feasibility, run from a clone: ``python -m benchmarks NAME``."""
