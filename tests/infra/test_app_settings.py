"""Deployment, app, sample and documents agree on the settings of infra/app-settings.json."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shared.settings import Settings, load
from tests.infra.predicted import MAIN, OTHER, ROOT, TEAM, listed, only, site_settings


def read_by_the_app() -> dict[str, tuple[bool, str]]:
    """Return the settings that shared/settings.py reads: whether each is required there, and its default."""
    found: dict[str, tuple[bool, str]] = {}
    for field in Settings.model_fields.values():
        for name in getattr(field.validation_alias, "choices", [field.alias]):
            found.setdefault(str(name), (field.is_required(), "" if field.is_required() else str(field.default)))
    return found


def table(place: str = "") -> dict[str, dict[str, Any]]:
    """Return the table of settings by name: those of a place, or all."""
    return {one["name"]: one for one in listed("app-settings.json", "settings") if not place or place in one["where"]}


@pytest.mark.parametrize("case", MAIN)
def test_app_gets_the_settings_of_the_table_and_understands_them(case: str) -> None:
    given, wanted = site_settings(case), table("azure")
    assert given.keys() == {name for name, one in wanted.items() if one.keys() & {"value", "from"}}
    assert [name for name, one in wanted.items() if "value" in one and given[name] != one["value"]] == []
    settings = load(given)
    assert settings.storage_account == only(case, "Microsoft.Storage/storageAccounts")["name"]
    assert settings.subscriptions == ((TEAM,) if case == "main-default" else (TEAM, OTHER))


def test_table_has_what_the_app_reads_with_its_default_and_nothing_else_of_ours() -> None:
    assert len(table()) == len(listed("app-settings.json", "settings"))
    for name, (required, default) in read_by_the_app().items():
        assert table()[name].get("default", "") == default, name
        assert table()[name]["required"] or not required, name
    assert [name for name in table() if name.startswith("GROUNDSWELL_") and name not in read_by_the_app()] == []


def test_every_entry_of_the_table_says_what_it_is_and_none_puts_a_secret_into_azure() -> None:
    for name, one in table().items():
        assert one.keys() >= {"name", "required", "description", "where", "secret"}, name
        assert one.keys() <= {"name", "required", "default", "description", "where", "value", "from", "secret"}, name
        assert not {"value", "from"} <= one.keys(), name
        assert one.keys() & {"value", "from"} or not one["required"], name
        assert not (one["secret"] and "azure" in one["where"]), name


def test_sample_of_local_settings_is_the_table_s_and_works() -> None:
    values, local = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"], table("local")
    assert values.keys() <= local.keys()
    assert {name for name, one in local.items() if one["required"]} <= values.keys()
    assert [name for name, one in local.items() if values.get(name) != one.get("value", values.get(name))] == []
    load(values)


def test_documents_have_every_setting_that_somebody_may_set_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text().partition("| setting | default | meaning |")[2].strip()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.split("\n\n")[0].splitlines()[1:]]
    rows = {name.strip("`"): default for name, default, _ in cells}
    for name, shown in rows.items():
        required, default = table()[name]["required"], table()[name].get("default", "")
        expected = (
            shown.startswith("*required") if required else shown == f"`{default}`" or ("`" not in shown and not default)
        )
        assert expected, name
    everything = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    for name, one in table().items():
        # What the deployment alone sets, for the host alone, is nobody's to set.
        if name in read_by_the_app() or not one.keys() & {"value", "from"}:
            assert name in rows or re.search(rf"`({name}|__{name.rpartition('__')[2]})`", everything), name


def test_claim_outlives_the_function_that_holds_it() -> None:
    hours, minutes, seconds = map(int, json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":"))
    assert Settings.model_fields["claim_seconds"].default >= (hours * 60 + minutes) * 60 + seconds
