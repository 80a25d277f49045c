"""The triggers: each decodes, calls one function of the domain and encodes."""
