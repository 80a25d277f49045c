"""Command line: `python -m dev.conformance.recorded` prints the table of differences for localazure's README."""

import argparse
import sys

from dev.conformance.recorded import table

if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m dev.conformance.recorded",
        description="Print how localazure's answers differ from recorded ones.",
    ).parse_args()
    sys.stdout.write(table())
