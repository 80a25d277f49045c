"""A company's Azure in a box: Azurite, localazure, and the app deployed to them as `infra/` says.

Demo, bench, conformance and tests play in it, over the wire.
"""
