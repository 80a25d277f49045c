"""Event Grid: an image was pushed to the base registry."""

# The worker accepts typing.List and not list here (Azure/azure-functions-python-worker#1176).
from typing import List

import azure.functions as func

from handlers.event_grid import envelope
from shared import fanout, services

blueprint = func.Blueprint()


@blueprint.event_grid_trigger(arg_name="event")
@blueprint.queue_output(arg_name="requests", queue_name="rebuild-requests", connection="AzureWebJobsStorage")
async def base_image_pushed(event: func.EventGridEvent, requests: func.Out[List[str]]) -> None:
    """Queue a rebuild of every registry that builds on the pushed image."""
    if messages := await fanout.base_image_pushed(services.current(), envelope(event)):
        requests.set(messages)
