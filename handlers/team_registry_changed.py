"""Event Grid: a registry of a team was created, changed or deleted."""

# The worker accepts typing.List and not list here (Azure/azure-functions-python-worker#1176).
from typing import List

import azure.functions as func

from handlers.event_grid import envelope

blueprint = func.Blueprint()


@blueprint.event_grid_trigger(arg_name="event")
@blueprint.queue_output(arg_name="requests", queue_name="rebuild-requests", connection="AzureWebJobsStorage")
async def team_registry_changed(event: func.EventGridEvent, requests: func.Out[List[str]]) -> None:
    """Queue the onboarding of a registry that the policy selects."""
    from shared.app import current

    if messages := await current().fan_outs.team_registry_changed(envelope(event)):
        requests.set(messages)
