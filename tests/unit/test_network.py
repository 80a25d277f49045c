"""Whether a task reaches both registries, and what to do if it does not."""

from __future__ import annotations

import pytest

from shared.domain.conditions import Condition
from shared.domain.network import condition
from shared.domain.registries import Network
from tests.builders import base_registry, registry, registry_id

OPEN = Network()
DISABLED, DENIED = Network(disabled=True), Network(denied=True)
FLAG = "properties.networkRuleBypassAllowedForTasks=true"
TRUSTED = "properties.networkRuleBypassOptions=AzureServices"


def update(name: str, *settings: str) -> str:
    return f"`az resource update --ids {registry_id(name)} --api-version 2025-11-01 --set {' '.join(settings)}`"


def reach(base: Network = OPEN, team: Network = OPEN, *, system_assigned: bool = True) -> Condition:
    return condition(registry(network=team), base_registry(network=base), system_assigned=system_assigned)


@pytest.mark.parametrize("system_assigned", [True, False])
def test_registries_without_firewalls_are_reached(system_assigned: bool) -> None:
    found = reach(system_assigned=system_assigned)
    assert (found.kind, found.ready, found.reason) == ("network", True, "Open")
    assert found.message == "Neither mybaseregistry nor myregistry is behind a firewall."


@pytest.mark.parametrize("wall", [{"disabled": True}, {"denied": True}], ids=["disabled", "selected"])
@pytest.mark.parametrize("name", ["mybaseregistry", "myregistry"])
def test_firewall_stops_a_task_unless_both_settings_let_it_pass(name: str, wall: dict[str, bool]) -> None:
    def found(**flags: bool) -> Condition:
        network = Network(**wall, **flags)
        return reach(base=network) if name == "mybaseregistry" else reach(team=network)

    for flags, command in (
        ({}, update(name, FLAG)),
        ({"tasks": True, "trusted_services": False}, update(name, TRUSTED)),
        ({"trusted_services": False}, update(name, TRUSTED, FLAG)),
    ):
        stopped = found(**flags)
        assert (stopped.ready, stopped.reason) == (False, "Firewall")
        assert f"The firewall of {name} stops the task: it does not let tasks pass. Run {command}." in stopped.message
        assert "SystemAssigned" not in stopped.message
    passes = found(tasks=True)
    assert (passes.ready, passes.reason) == (True, "Bypassed")
    assert f"firewall of {name} lets tasks pass" in passes.message


@pytest.mark.parametrize("wall", [DISABLED, DENIED, Network(disabled=True, tasks=True)])
def test_user_assigned_identity_never_passes(wall: Network) -> None:
    found = reach(base=wall, system_assigned=False)
    assert (found.ready, found.reason) == (False, "Firewall")
    assert "it never lets a user-assigned identity pass" in found.message
    assert "Set `identity: {type: SystemAssigned}` in the policy and run `azd up`" in found.message
    assert (update("mybaseregistry", FLAG) in found.message) is not wall.tasks


@pytest.mark.parametrize("system_assigned", [True, False])
def test_ip_rules_are_not_judged_but_told_how_to_check(system_assigned: bool) -> None:
    found = reach(base=Network(denied=True, ip_rules=True), system_assigned=system_assigned)
    assert (found.ready, found.reason) == (None, "NotChecked")
    assert "`az acr network-rule list --name mybaseregistry`" in found.message
    assert "`az network list-service-tags --location westeurope " in found.message
    assert update("mybaseregistry", FLAG) in found.message
    assert ("SystemAssigned" in found.message) is not system_assigned


def test_ip_rules_do_not_matter_to_a_task_that_passes_anyway() -> None:
    assert reach(base=Network(denied=True, ip_rules=True, tasks=True)).ready is True


def test_perimeter_is_not_judged() -> None:
    found = reach(base=Network(perimeter=True, tasks=True))
    assert (found.ready, found.reason) == (None, "NotChecked")
    assert "`az resource show --ids" in found.message


@pytest.mark.parametrize(
    ("base", "team", "ready"),
    [
        (DISABLED, Network(denied=True, ip_rules=True), False),
        (Network(denied=True, ip_rules=True), DISABLED, False),
        (Network(disabled=True, tasks=True), Network(denied=True, ip_rules=True), None),
        (Network(disabled=True, tasks=True), DISABLED, False),
        (Network(disabled=True, tasks=True), Network(denied=True, tasks=True), True),
    ],
)
def test_worse_of_two_firewalls_decides_and_both_are_named(base: Network, team: Network, ready: bool | None) -> None:
    found = reach(base, team)
    assert found.ready is ready
    assert "firewall of mybaseregistry" in found.message
    assert "firewall of myregistry" in found.message


@pytest.mark.parametrize(
    ("base", "way"),
    [
        (Network(disabled=True, tasks=True), "unless a private endpoint leads there"),
        (Network(denied=True, tasks=True), "`az acr network-rule add --name mybaseregistry --ip-address …`"),
    ],
)
def test_sentence_says_that_the_apps_own_look_ups_fail_behind_the_base_registrys_firewall(
    base: Network, way: str
) -> None:
    message = reach(base=base).message
    assert "The app's own look-ups in mybaseregistry fail" in message
    assert way in message
    assert "look-ups" not in reach(team=base).message
