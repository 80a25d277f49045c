"""The policy that ships with the app."""

from __future__ import annotations

from pathlib import Path

from shared.adapters.policy_file import PolicyFile
from shared.domain import policy as policies

ROOT = Path(__file__).resolve().parents[2]


def test_policy_that_ships_with_the_app_is_valid() -> None:
    policy = PolicyFile(ROOT / "policy" / "rebuilds.yaml").load()

    assert [task.name for task in policy.tasks] == ["helloworldtask", "smoketask"]


def test_policy_that_ships_keeps_teams_and_the_smoke_test_apart() -> None:
    policy = PolicyFile(ROOT / "policy" / "rebuilds.yaml").load()
    team, smoke = policy.tasks

    for tag, selected in (("enabled", team), ("smoke", smoke)):
        chosen = [
            task for task in policy.tasks
            if policies.select(policy, task, "anyregistry", {policies.OPT_TAG: tag}) is policies.Selection.SELECTED
        ]  # fmt: skip
        assert chosen == [selected]
    assert smoke.default_image is not None
    assert policy.builds_on(smoke.default_image) == (smoke,)
