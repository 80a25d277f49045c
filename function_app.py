"""Groundswell's functions. This file only registers them."""

import azure.functions as func

from handlers import (
    base_image_pushed,
    fan_out_requested,
    queues_watched,
    rebuild_requested,
    run_followed,
    runs_api,
    team_registry_changed,
)

app = func.FunctionApp()
for module in (
    base_image_pushed,
    team_registry_changed,
    fan_out_requested,
    rebuild_requested,
    run_followed,
    runs_api,
    queues_watched,
):
    app.register_functions(module.blueprint)
