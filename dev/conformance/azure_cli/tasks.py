"""The other commands for tasks and runs, on what the scenario with a user-assigned identity has left."""

from __future__ import annotations

import shutil

from dev.conformance.azure_cli.az import ANSWERS, Az
from dev.conformance.azure_cli.scenario import REFUSED, TASK, run_log
from dev.conformance.world import ROOT

REGISTRY = "--registry myregistry"
CREDENTIAL = f"{TASK} --login-server mybaseregistry.azurecr.io"


async def play(az: Az) -> None:
    """Look at the task and its runs, change them, delete them."""
    await _look(az)
    await _update(az)
    await _credentials(az)
    await _identities(az)
    await _values(az)
    await _cancel(az)
    await _delete(az)


async def _look(az: Az) -> None:
    await az(f"acr task show {TASK}", answer="task_after_run")
    await az(f"acr task list {REGISTRY}", answer="tasks")
    await az(
        f"acr task list {REGISTRY} --output table",
        says=[
            r"^NAME +PLATFORM +STATUS +SOURCE REPOSITORY +TRIGGERS *$",
            r"^helloworldtask +linux +Enabled +BASE_IMAGE *$",
        ],
    )
    runs = await az.ask(f"acr task list-runs {TASK}")
    az.names["runID"], az.names["failedID"] = (run["runId"] for run in runs)
    await az(f"acr task list-runs {TASK}", answer="runs")
    await az(f"acr task list-runs {REGISTRY} --run-status Failed --top 5", answer=[ANSWERS["run_failed"]])
    await az(
        f"acr task list-runs {REGISTRY} --top 1 --output table",
        says=[
            r"^RUN ID +TASK +PLATFORM +STATUS +TRIGGER +STARTED +DURATION *$",
            r"^\w+ +helloworldtask +linux +Succeeded +Manual +\S+Z +00:00:\d\d *$",
        ],
    )
    await az(f"acr task show-run {REGISTRY} --run-id {az.names['runID']}", answer="run_succeeded")
    await az(f"acr task show-run {REGISTRY} --run-id {az.names['failedID']}", answer="run_failed")
    await az(f"acr task logs {REGISTRY} --run-id {az.names['runID']}", says=run_log("myregistry")[2:])
    await az(f"acr task update-run {REGISTRY} --run-id {az.names['runID']} --no-archive false", answer="run_archived")


async def _update(az: Az) -> None:
    shown = (
        "--query '{timeout:timeout,trigger:trigger.baseImageTrigger.status,credentials:credentials.customRegistries}'"
    )
    await az(
        f"acr task update {TASK} --file helloworldtask.yaml --timeout 900 --base-image-trigger-enabled false {shown}",
        answer={"timeout": 900, "trigger": "Disabled", "credentials": {"mybaseregistry.azurecr.io": None}},
    )
    await az(
        f"acr task update {TASK} --platform linux/arm --query platform",
        answer={"os": "linux", "architecture": "arm", "variant": None},
    )
    await az(f"acr task update {TASK} --platform linux/amd64 --status Disabled --query status", answer="Disabled")
    await az(f"acr task update {TASK} --status Enabled --query status", answer="Enabled")


async def _credentials(az: Az) -> None:
    await az(f"acr task credential list {TASK}", answer="credential_user")
    await az(f"acr task credential update {CREDENTIAL} --use-identity [system]", answer="credential_hidden")
    await az(f"acr task credential list {TASK}", answer="credential_system")
    await az(f"acr task run {TASK}", fails=True, says=[REFUSED[0], REFUSED[-1]])
    await az(f"acr task credential remove {CREDENTIAL}", answer={})
    await az(
        f"acr task credential add {TASK} --login-server test.example.com --username testuser --password random "
        "--use-identity [system]",
        answer={"test.example.com": None},
    )
    await az(f"acr task credential list {TASK}", answer="credential_password")
    await az(f"acr task credential remove {TASK} --login-server test.example.com", answer={})
    await az(f"acr task run {TASK}", fails=True, says=[REFUSED[0], r"unauthorized: authentication required"])
    await az(f"acr task credential add {CREDENTIAL} --use-identity {az.names['clientID']}", answer="credential_hidden")


async def _identities(az: Az) -> None:
    user = az.names["resourceID"]
    await az(f"acr task identity show {TASK}", answer="identity_user")
    await az(f"acr task identity assign {TASK} --identities [system] {user} --query identity", answer="identity_both")
    await az(f"acr task identity remove {TASK} --identities [system] --query identity", answer="identity_user")
    await az(f"acr task identity remove {TASK} --identities [all] --query identity", answer="")
    await az(f"acr task identity show {TASK}", answer={})
    await az(f"acr task identity assign {TASK} --query identity", answer="identity_system")
    await az(f"acr task identity assign {TASK} --identities {user} --query identity", answer="identity_user")


async def _values(az: Az) -> None:
    shutil.copy(ROOT / "policy" / "tasks" / "helloworldtask.yaml", az.folder / "valuestask.yaml")
    task = f"{REGISTRY} --name valuestask"
    await az(
        f"acr task create {task} --context /dev/null --file valuestask.yaml --assign-identity {az.names['resourceID']} "
        "--set image=some-world --set registryName=mybaseregistry.azurecr.io "
        "--set contextUrl=https://github.com/Azure-Samples/acr-build-helloworld-node.git#main "
        "--query step.values[0]",
        answer={"isSecret": False, "name": "image", "value": "some-world"},
    )
    await az(
        f"acr task credential add {task} --login-server mybaseregistry.azurecr.io "
        f"--use-identity {az.names['clientID']}",
        answer="credential_hidden",
    )
    await az(f"acr task run {task} --set image=other-world", says=[r"was successful after"])
    await az("acr repository list --name myregistry", answer=["hello-world", "other-world"])


async def _cancel(az: Az) -> None:
    await az.world.cloud.control("PATCH", "/settings", {"agent": {"pace": 30}})
    await az(f"acr task run {TASK} --no-wait", says=[r"Queued a run with ID: c\w+$"])
    run = await az.ask(f"acr task list-runs {REGISTRY} --top 1 --query [0].runId --output tsv")
    await az(f"acr task cancel-run {REGISTRY} --run-id {run.strip()}", answer="")
    await az.world.cloud.control("PATCH", "/settings", {"agent": {"pace": 0.2}})
    await az(f"acr task show-run {REGISTRY} --run-id {run.strip()} --query status", answer="Canceled")


async def _delete(az: Az) -> None:
    await az(f"acr task delete {TASK} --yes", answer="")
    await az(f"acr task show {TASK}", fails=True, says=[r"^ERROR: \(ResourceNotFound\) The Resource "])
    await az(f"acr task list {REGISTRY} --query [].name", answer=["valuestask"])
