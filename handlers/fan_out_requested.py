"""Queue: ask for a rebuild in every registry that builds on a base image."""

import azure.functions as func

blueprint = func.Blueprint()


@blueprint.queue_trigger(arg_name="message", queue_name="fan-outs", connection="AzureWebJobsStorage")
async def fan_out_requested(message: func.QueueMessage) -> None:
    """Queue a rebuild for each affected registry, a page at a time."""
    from shared.app import current

    await current().work.fan_out_requested(message.get_body())
