"""One function of each kind; what a function saw goes to the queue ``seen``, where the tests read it."""

import asyncio
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import List

import azure.functions as func
from own_package.helper import greeting

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
logger = logging.getLogger("sample")
SETTING_AT_IMPORT = os.environ["SAMPLE_SETTING"]


@app.route(route="registries/{registry}/runs/{runId}", methods=["GET", "POST"])
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode(),
        "function": context.function_name,
        "invocation": context.invocation_id,
        "traceparent": context.trace_context.trace_parent,
        "setting": SETTING_AT_IMPORT,
        "greeting": greeting(),
    }
    return func.HttpResponse(
        json.dumps(seen), status_code=201, mimetype="application/json", headers={"Location": "/somewhere"}
    )


@app.route(route="text")
def text(req: func.HttpRequest) -> str:
    return "plain"


@app.route(route="cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("grüezi", charset="utf-8", headers={"Set-Cookie": "a=1; Path=/"})


@app.route(route="broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    logger.warning("about to break", extra={"detail": "x1"})
    raise ValueError("boom from handler")


@app.route(route="forgetful")
def forgetful(req: func.HttpRequest) -> func.HttpResponse:
    return None


@app.route(route="guarded", auth_level=func.AuthLevel.FUNCTION)
def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")


@app.route(route="secret", auth_level=func.AuthLevel.ADMIN)
def secret(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")


@app.route(route="send", methods=["POST"])
@app.queue_output(arg_name="messages", queue_name="%SAMPLE_QUEUE%", connection="AzureWebJobsStorage")
def send(req: func.HttpRequest, messages: func.Out[List[str]]) -> func.HttpResponse:
    messages.set(req.get_json())
    return func.HttpResponse(status_code=202)


@app.route(route="send-text", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="%SAMPLE_QUEUE%", connection="AzureWebJobsStorage")
def send_text(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    message.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)


@app.route(route="send-too-much", methods=["POST"])
@app.queue_output(arg_name="messages", queue_name="partial", connection="AzureWebJobsStorage")
def send_too_much(req: func.HttpRequest, messages: func.Out[List[str]]) -> func.HttpResponse:
    messages.set(["fits", "x" * 100_000])
    return func.HttpResponse(status_code=202)


@app.route(route="block")
async def block(req: func.HttpRequest) -> func.HttpResponse:
    while not Path(req.params["until"]).exists():
        time.sleep(0.05)  # noqa: ASYNC251  the mistake that the host must survive
    return func.HttpResponse("done")


@app.route(route="linger")
async def linger(req: func.HttpRequest) -> func.HttpResponse:
    logger.info("lingering")
    await asyncio.sleep(float(req.params["seconds"]))
    return func.HttpResponse("done")


@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="$return", queue_name="seen", connection="AzureWebJobsStorage")
def on_event(event: func.EventGridEvent) -> str:
    data = event.get_json()
    if data.get("fail"):
        raise RuntimeError(f"cannot take {event.id}")
    return json.dumps({"id": event.id, "subject": event.subject, "type": event.event_type, "data": data})


@app.event_grid_trigger(arg_name="event")
def returns_something(event: func.EventGridEvent):
    return "not allowed"


@app.queue_trigger(arg_name="message", queue_name="%SAMPLE_QUEUE%", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="seen", queue_name="seen", connection="AzureWebJobsStorage")
async def on_message(message: func.QueueMessage, seen: func.Out[str], context: func.Context) -> None:
    body = message.get_body().decode()
    if body.startswith("{") and (wanted := json.loads(body)):
        if message.dequeue_count <= wanted.get("failures", 0):
            raise RuntimeError("not yet")
        if message.dequeue_count <= wanted.get("kills", 0):
            os.kill(os.getppid(), signal.SIGKILL)  # the host
        if message.dequeue_count <= wanted.get("crashes", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(wanted.get("seconds", 0))
    seen.set(
        json.dumps(
            {
                "body": body,
                "id": message.id,
                "dequeueCount": message.dequeue_count,
                "insertionTime": message.insertion_time.isoformat(),
                "expirationTime": message.expiration_time.isoformat(),
                "popReceipt": message.pop_receipt,
                "invocation": context.invocation_id,
            }
        )
    )


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *", run_on_startup=True)
@app.queue_output(arg_name="seen", queue_name="ticks", connection="AzureWebJobsStorage")
def nightly(timer: func.TimerRequest, seen: func.Out[str]) -> None:
    seen.set(json.dumps({"pastDue": timer.past_due, "next": timer.schedule_status["Next"]}))
