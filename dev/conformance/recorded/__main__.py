"""Command line: `python -m dev.conformance.recorded` prints the table of differences for localazure's README."""

import sys

from dev.conformance.recorded import table

if __name__ == "__main__":
    sys.stdout.write(table())
