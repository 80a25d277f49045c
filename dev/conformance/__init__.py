"""Conformance: clients that nobody here wrote, run against localazure.

`python -m dev.conformance` prints what they say.
"""
