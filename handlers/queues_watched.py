"""Timer: measure the queues."""

import azure.functions as func

blueprint = func.Blueprint()


@blueprint.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
async def queues_watched(timer: func.TimerRequest) -> None:
    """Tell how many messages each queue holds."""
    from shared import operations, services

    await operations.watch_queues(services.current())
