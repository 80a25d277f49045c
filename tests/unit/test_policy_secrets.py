"""A credential in the policy is refused and not repeated."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from shared.adapters import policy_file
from shared.domain.errors import ConfigurationError
from tests.builders import policy_document, replaced
from tests.unit.policies import parse

SECRET = "s3cr3t-0123456789"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tasks.0.values.contextUrl", f"https://x-access-token:{SECRET}@github.com/contoso/shop.git"),
        ("tasks.0.values.contextUrl", f"https://{SECRET}@github.com/contoso/shop.git"),
        ("tasks.0.values.contextUrl", {f"https://{SECRET}@github.com": 1}),
        ("tasks.0.rebuildOn.0", f"https://oauth2:{SECRET}@gitlab.com/contoso/node:15"),
        ("tasks.0.rebuildOn.0", f"user:{SECRET}@mybaseregistry.azurecr.io/node:15"),
        ("tasks.0.file", f"https://user:{SECRET}@example.com/task.yaml"),
        ("baseRegistry", f"https://user:{SECRET}@mybaseregistry.azurecr.io"),
        ("identity.name", f"https://{SECRET}@example.com"),
        ("tasks.0.timeout", f"https://{SECRET}@example.com"),
    ],
)
def test_credential_in_the_policy_is_refused_and_not_repeated(path: str, value: Any, folder: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(replaced(policy_document(), path, value), folder)

    assert SECRET not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "text", ["tasks: [{values: {a: 'https://%s@github.com/a.git'", "a: https://u:%s@github.com: b"]
)
def test_credential_in_a_line_that_is_no_yaml_is_not_repeated(text: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not YAML") as refused:
        policy_file.parse(text % SECRET, folder)

    assert SECRET not in "".join(traceback.format_exception(refused.value))
