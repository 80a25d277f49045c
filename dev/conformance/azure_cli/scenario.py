"""Microsoft's walk-through of the scenario, command by command, with either kind of identity.

https://learn.microsoft.com/azure/container-registry/container-registry-tasks-cross-registry-authentication
"""

from __future__ import annotations

from dev.conformance.azure_cli.az import Az
from dev.conformance.world import Option
from dev.sandbox.cloud import BASE_IMAGE

# The walk-through's file; its comment asks for the name of the base registry to be filled in.
TASK_FILE = """\
version: v1.1.0
steps:
# Replace mybaseregistry with the name of your registry containing the base image
  - build: -t $Registry/hello-world:$ID https://github.com/Azure-Samples/acr-build-helloworld-node.git#main -f Dockerfile-app --build-arg REGISTRY_NAME=mybaseregistry.azurecr.io
  - push: ["$Registry/hello-world:$ID"]
"""  # noqa: E501
TASK = "--registry myregistry --name helloworldtask"
STAMP = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "
# What Azure prints for the run, in its order; a few lines between these tell of layers and steps.
RUN_LOG = (
    r"Queued a run with ID: c[a-z]\w+$",
    r"Waiting for an agent\.\.\.$",
    STAMP + r"Using acb_vol_[0-9a-f-]{36} as the home volume$",
    STAMP + r"Creating Docker network: acb_default_network, driver: 'bridge'$",
    STAMP + r"Successfully set up Docker network: acb_default_network$",
    STAMP + r"Setting up Docker configuration\.\.\.$",
    STAMP + r"Successfully set up Docker configuration$",
    STAMP + r"Logging in to registry: {team}\.azurecr\.io$",
    STAMP + r"Successfully logged into {team}\.azurecr\.io$",
    STAMP + r"Logging in to registry: mybaseregistry\.azurecr\.io$",
    STAMP + r"Successfully logged into mybaseregistry\.azurecr\.io$",
    STAMP + r"Executing step ID: acb_step_0\. Timeout\(sec\): 600, Working directory: '', "
            r"Network: 'acb_default_network'$",
    STAMP + r"Scanning for dependencies\.\.\.$",
    STAMP + r"Successfully scanned dependencies$",
    STAMP + r"Launching container with name: acb_step_0$",
    r"^Sending build context to Docker daemon  [\d.]+kB$",
    r"^Step \d/\d : FROM \$\{{REGISTRY_NAME\}}/baseimages/node:15-alpine$",
    r"^15-alpine: Pulling from baseimages/node$",
    r"^Successfully built [0-9a-f]{{12}}$",
    r"^Successfully tagged {team}\.azurecr\.io/hello-world:(\w+)$",
    STAMP + r"Successfully executed container: acb_step_0$",
    STAMP + r"Executing step ID: acb_step_1\. Timeout\(sec\): 600, Working directory: '', "
            r"Network: 'acb_default_network'$",
    STAMP + r"Pushing image: {team}\.azurecr\.io/hello-world:\w+, attempt 1$",
    r"^The push refers to repository \[{team}\.azurecr\.io/hello-world\]$",
    STAMP + r"Successfully pushed image: {team}\.azurecr\.io/hello-world:\w+$",
    STAMP + r"Step ID: acb_step_1 marked as successful \(elapsed time in seconds: \d+\.\d{{6}}\)$",
    STAMP + r"The following dependencies were found:$",
    r"^- image:\n    registry: {team}\.azurecr\.io\n    repository: hello-world\n    tag: \w+\n    digest: sha256:",
    r"^  runtime-dependency:\n    registry: mybaseregistry\.azurecr\.io\n    repository: baseimages/node\n"
    r"    tag: 15-alpine\n    digest: sha256:[0-9a-f]{{64}}\n",
    r"^    git-head-revision: [0-9a-f]{{40}}\n\nRun ID: c[a-z]\w+ was successful after (\d+m)?\d+s\n*\Z",
)  # fmt: skip
# ACR's own words when the token exchange refuses the task's identity (Azure/azure-cli#28151).
REFUSED = (
    r"^ERROR: Run failed$",
    r"^failed to unmarshal task before running: failed to resolve secrets: "
    r"failed to get ACR refresh token, exchange API response code: 40[13]",
    r"^Run ID: c[a-z]\w+ failed after \d+s\. Error: failed during run, err: exit status 1$",
)
# The same, from a firewall.
FORBIDDEN = (REFUSED[0], REFUSED[1].replace("40[13]", "403 Forbidden$"), REFUSED[2])


def run_log(team: str) -> tuple[str, ...]:
    """Return what the log of a successful run of a registry's task holds."""
    return tuple(pattern.replace("{team}", team).replace("{{", "{").replace("}}", "}") for pattern in RUN_LOG)


async def prepare(az: Az) -> None:
    """Sign in and create the two registries and the base image."""
    (az.folder / "helloworldtask.yaml").write_text(TASK_FILE)
    await az("login --identity", answer="login")
    await az("group create --name myResourceGroup --location eastus", answer="group")
    create = "acr create --resource-group myResourceGroup --sku Standard"
    await az(f"{create} --name mybaseregistry", answer="registry")
    await az(f"{create} --name myregistry", answer="team_registry")
    await az(f"acr import --name mybaseregistry --source docker.io/library/node:15-alpine --image {BASE_IMAGE}",
             answer="")  # fmt: skip


async def create_identity(az: Az) -> None:
    """Create the user-assigned identity and keep its three ids in variables."""
    names = "--resource-group myResourceGroup --name myACRTasksId"
    await az(f"identity create {names}", answer="identity")
    for variable, field in (("resourceID", "id"), ("principalID", "principalId"), ("clientID", "clientId")):
        await az.variable(variable, f"identity show {names} --query {field} --output tsv")


async def play(az: Az, option: Option) -> None:
    """Play the whole walk-through, with a run before the grant and the credential."""
    await prepare(az)
    create = f"acr task create {TASK} --context /dev/null --file helloworldtask.yaml --assign-identity"
    if option is Option.USER_ASSIGNED:
        await create_identity(az)
        await az(f"{create} {az.names['resourceID']}", answer="task")
        identity = az.names["clientID"]
    else:
        await az(create, answer="system_task")
        await az.variable("principalID", f"acr task show {TASK} --query identity.principalId --output tsv")
        identity = "[system]"
    await az.variable("baseregID", "acr show --name mybaseregistry --query id --output tsv")
    add = f"acr task credential add {TASK} --login-server mybaseregistry.azurecr.io --use-identity {identity}"
    run = f"acr task run {TASK}"
    if option is Option.USER_ASSIGNED:
        await az(run, fails=True, says=[r"^ERROR: Run failed$", r"unauthorized: authentication required", REFUSED[2]])
    else:
        await az(add, answer="credential_hidden")
        await az(run, fails=True, says=REFUSED, silent=["was successful"])
    await az(f"role assignment create --assignee {az.names['principalID']} --scope {az.names['baseregID']} "
             "--role acrpull", answer="role_assignment")  # fmt: skip
    if option is Option.USER_ASSIGNED:
        await az(add, answer="credential_hidden")
    await az(run, says=run_log("myregistry"), silent=["Run failed"])
    await az("acr repository show-tags --name myregistry --repository hello-world --output tsv", answer="<run>\n")
