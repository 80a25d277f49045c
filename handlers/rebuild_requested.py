"""Queue: bring one registry to its desired state, then schedule its run."""

import azure.functions as func

blueprint = func.Blueprint()


@blueprint.queue_trigger(arg_name="message", queue_name="rebuild-requests", connection="AzureWebJobsStorage")
async def rebuild_requested(message: func.QueueMessage) -> None:
    """Handle a rebuild request."""
    from shared.app import current

    await current().work.rebuild_requested(message.get_body())
