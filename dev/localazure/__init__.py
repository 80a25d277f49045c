"""A local Azure: the other side of the wire for Groundswell and for any other Azure client.

It serves the real host names on loopback (through a CONNECT proxy and a throw-away CA) and is worth having
only because it fails where Azure fails: see README.md in this folder for what it serves and what it simulates.
"""
