"""A local Azure Functions host for Python v2 apps.

The host loads any app directory that has a ``function_app.py``, serves its HTTP and Event Grid triggers, listens to its
queues, fires its timers and sends its queue outputs, with the failure behaviour of the Functions host in Azure. The app
runs in a process of its own: in the official worker package where that exists (``azure-functions-runtime``, Python 3.13
and later), on ``azure.functions`` alone below.

    python -m dev.functionshost --app DIR [--port 7071] [--settings FILE] [--ready-file FILE]

Settings come from the environment and then from ``local.settings.json``; a variable that is set already wins, as with
Azure Functions Core Tools. Unlike Core Tools, and like Azure, the host demands keys: it prints those that it made up,
or takes them from ``--master-key``, ``--function-key`` and ``--event-grid-key``.

README.md says what is the same as in Azure, what differs and why.
"""
