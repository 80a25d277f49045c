"""Write the JSON Schema by which editors complete and check the policy: policy/rebuilds.schema.json.

    python -m dev.checks.policy_schema    # after a change of the policy's model

It is made from the model that the app reads the policy with. What takes more than a schema to tell (globs that are
empty, names that are written twice) only the app refuses.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from shared.domain.policy import Policy

TARGET = Path(__file__).resolve().parents[2] / "policy" / "rebuilds.schema.json"


class _Untitled(GenerateJsonSchema):
    """Leaves out the fields' titles, which repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def text() -> str:
    """Return the schema as the file holds it."""
    schema = Policy.model_json_schema(schema_generator=_Untitled)
    return json.dumps({"$schema": GenerateJsonSchema.schema_dialect, **schema}, indent=2) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m dev.checks.policy_schema", description="Write policy/rebuilds.schema.json anew."
    ).parse_args()
    TARGET.write_text(text(), encoding="utf-8")
