"""Queue: look at a scheduled run until it has ended."""

import azure.functions as func

blueprint = func.Blueprint()


@blueprint.queue_trigger(arg_name="message", queue_name="run-checks", connection="AzureWebJobsStorage")
async def run_followed(message: func.QueueMessage) -> None:
    """Look at a run."""
    from shared import services
    from shared.flows import work

    await work.run_check(services.current(), message.get_body())
