"""Where the teams of a story have their registries."""

from __future__ import annotations

from dev.testing.azure import SUBSCRIPTION
from tests.integration.company_life import OTHER_GROUP, OTHER_SUBSCRIPTION
from tests.integration.world import GROUP

SUBSCRIPTIONS = (SUBSCRIPTION.rpartition("/")[2], OTHER_SUBSCRIPTION)


def group_of(registry: str) -> str:
    """Return the resource group of a registry."""
    return OTHER_GROUP if registry == "faraway" else GROUP
