"""Timer: measure what is there while nothing happens."""

import azure.functions as func

blueprint = func.Blueprint()


@blueprint.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
async def queues_watched(timer: func.TimerRequest) -> None:
    """Tell how many messages each queue holds, and how long ago the last push was."""
    from shared.app import current

    await current().watch.look()
