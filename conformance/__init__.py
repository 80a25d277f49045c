"""Conformance: clients that nobody here wrote, run against localazure. `python -m conformance` prints what they say."""
