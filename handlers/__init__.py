"""The triggers: each decodes, calls one function of the domain and encodes.

The domain and the SDKs behind it are imported by the first invocation, not with this package: a cold start has to be
short, and a function that cannot be imported would make all functions disappear.
"""
