"""Event Grid: an image was pushed to the base registry."""

import azure.functions as func

from handlers.event_grid import envelope

blueprint = func.Blueprint()


@blueprint.event_grid_trigger(arg_name="event")
@blueprint.queue_output(arg_name="request", queue_name="fan-outs", connection="AzureWebJobsStorage")
async def base_image_pushed(event: func.EventGridEvent, request: func.Out[str]) -> None:
    """Ask for a rebuild of whatever builds on the pushed image."""
    from shared.app import current

    if message := current().fan_outs.base_image_pushed(envelope(event)):
        request.set(message)
