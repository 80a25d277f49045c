"""Queue: look at a scheduled run until it has ended."""

import azure.functions as func

blueprint = func.Blueprint()


@blueprint.queue_trigger(arg_name="message", queue_name="run-checks", connection="AzureWebJobsStorage")
async def run_followed(message: func.QueueMessage) -> None:
    """Look at a run."""
    from shared.app import current

    await current().work.run_check(message.get_body())
