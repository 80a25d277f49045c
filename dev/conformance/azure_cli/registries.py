"""Registries, role assignments and ABAC, after the scenario with a system-assigned identity."""

from __future__ import annotations

from dev.conformance.azure_cli.az import ANSWERS, Az
from dev.conformance.azure_cli.scenario import FORBIDDEN, REFUSED, TASK, create_identity, run_log

CREATE = "acr create --resource-group myResourceGroup --sku Standard"
ABAC = "--registry abacregistry"


async def play(az: Az) -> None:
    """Look at registries and role assignments, change and delete them; then ABAC."""
    await _look(az)
    await _refusals(az)
    await _assignments(az)
    await _abac(az)
    await _delete(az)


async def _look(az: Az) -> None:
    await az("acr show --name mybaseregistry", answer="registry")
    await az("acr list --resource-group myResourceGroup", answer=[ANSWERS["registry"], ANSWERS["team_registry"]])
    await az("acr list --output table", says=[r"^NAME +RESOURCE GROUP +LOCATION +SKU +LOGIN SERVER +CREATION DATE +"])
    await az(
        "acr update --name myregistry --tags base-image-rebuilds=enabled --admin-enabled true "
        "--query '{tags:tags,admin:adminUserEnabled,state:provisioningState}'",
        answer={"tags": {"base-image-rebuilds": "enabled"}, "admin": True, "state": "Succeeded"},
    )
    await az(
        "acr repository show --name myregistry --repository hello-world --query '{tags:tagCount,name:imageName}'",
        answer={"tags": 1, "name": "hello-world"},
    )
    await az("account show", answer="account")


async def _refusals(az: Az) -> None:
    await az("acr check-name --name myregistry", answer="name_taken")
    await az("acr check-name --name freeregistry", answer="name_free")
    await az(
        "acr create --resource-group nogroup --name otherregistry --sku Standard",
        fails=True,
        says=[r"^ERROR: \(ResourceGroupNotFound\) Resource group 'nogroup' could not be found\.$"],
    )
    await az.ask("group create --name otherGroup --location eastus")
    await az(
        "acr create --resource-group otherGroup --name myregistry --sku Standard",
        fails=True,
        says=[
            r"^ERROR: \(RegistryNameAlreadyInUse\) The registry name myregistry is already in use\. You can check if "
            r"the name is already claimed using following API: https://aka\.ms/acr/check-name-availability$"
        ],
    )
    await az(
        f"{CREATE} --name labelled --dnl-scope ResourceGroupReuse --query loginServer",
        answer="labelled-<label>.azurecr.io",
    )
    await az("acr task list --registry nosuchregistry", fails=True, says=[r"could not be found in subscription"])


async def _assignments(az: Az) -> None:
    base, principal = az.names["baseregID"], az.names["principalID"]
    await az(f"role assignment list --scope {base}", answer="role_assignments")
    await az(f"role assignment list --assignee {principal} --all --query [].roleDefinitionName", answer=["AcrPull"])
    await az(
        f"role assignment create --assignee {principal} --scope {base} --role acrpull",
        answer=ANSWERS["role_assignments"][0],
    )
    await az(f"role assignment delete --assignee {principal} --role acrpull --scope {base}", answer="")
    await az(f"role assignment list --scope {base}", answer=[])
    await az(f"acr task run {TASK}", fails=True, says=REFUSED, silent=["was successful"])


async def _abac(az: Az) -> None:
    await az(
        f"{CREATE} --name abacregistry --role-assignment-mode rbac-abac",
        answer="abac_registry",
        says=[r"ACR Tasks within the registry that do not have an assigned identity for source registry access"],
    )
    team = str(await az.ask("acr show --name abacregistry --query id --output tsv")).strip()
    create = f"acr task create {ABAC} --context /dev/null --file helloworldtask.yaml --query credentials"
    await az(
        f"{create} --name withoutsource",
        answer="",
        says=[r"does not have data plane permissions to the source registry"],
    )
    await az(f"acr task run {ABAC} --name withoutsource", fails=True, says=[REFUSED[0], REFUSED[-1]])
    await create_identity(az)
    user = az.names["resourceID"]
    await az(f"{create} --name usertask --assign-identity {user} --source-acr-auth-id {user}", answer="source_user")
    task = f"{ABAC} --name helloworldtask"
    await az(f"{create} --name helloworldtask --assign-identity --source-acr-auth-id [system]", answer="source_system")
    principal = str(await az.ask(f"acr task show {task} --query identity.principalId --output tsv")).strip()
    az.names["principalID"] = principal
    grant = f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
    await az(f"{grant} --scope {az.names['baseregID']} --role acrpull", answer="role_assignment")
    await az(
        f"acr task credential add {task} --login-server mybaseregistry.azurecr.io --use-identity [system]",
        answer="credential_hidden",
    )
    await az(f"acr task run {task}", fails=True, says=REFUSED)
    # The AcrPush of registries without ABAC is not honoured here.
    await az(f"{grant} --scope {team} --role AcrPush --query principalId", answer=principal)
    await az(f"acr task run {task}", fails=True, says=REFUSED)
    await az(
        f"{grant} --scope {team} --role 'Container Registry Repository Writer' --query principalId", answer=principal
    )
    await az(f"acr task run {task}", says=run_log("abacregistry"))
    await _firewall(az, task)


async def _firewall(az: Az, task: str) -> None:
    """Put the base registry behind a firewall, and let tasks pass.

    https://learn.microsoft.com/azure/container-registry/manage-network-bypass-policy-for-tasks
    """
    await az("acr update --name mybaseregistry --sku Premium --query sku.name", answer="Premium")
    await az(
        "acr update --name mybaseregistry --public-network-enabled false --allow-trusted-services true --query "
        "'{access:publicNetworkAccess,bypass:networkRuleBypassOptions,tasks:networkRuleBypassAllowedForTasks}'",
        answer={"access": "Disabled", "bypass": "AzureServices", "tasks": False},
    )
    await az(f"acr task run {task}", fails=True, says=FORBIDDEN, silent=["was successful"])
    version = "--api-version 2025-11-01"
    by_name = (
        "--namespace Microsoft.ContainerRegistry --resource-type registries --name mybaseregistry "
        f"--resource-group myResourceGroup {version}"
    )
    by_id = f"--ids {az.names['baseregID']} {version}"
    flag = "properties.networkRuleBypassAllowedForTasks"
    await az(f"resource show {by_name} --query {flag}", answer=False)
    await az(f"resource update {by_name} --set {flag}=true --query {flag}", answer=True)
    await az(f"acr task run {task}", says=run_log("abacregistry"))
    await az(f"resource update {by_id} --set {flag}=false --query {flag}", answer=False)
    await az(f"resource update {by_id} --set {flag}=true --query {flag}", answer=True)
    await az(
        "acr update --name mybaseregistry --allow-trusted-services false --query networkRuleBypassOptions",
        answer="None",
    )
    await az(f"resource show {by_id} --query name", answer="mybaseregistry")
    await az(f"acr task run {task}", fails=True, says=FORBIDDEN, silent=["was successful"])


async def _delete(az: Az) -> None:
    await az("acr delete --name abacregistry --yes", answer="")
    await az("acr show --name abacregistry", fails=True, says=[r"could not be found in subscription"])
    await az("acr list --query 'sort([].name)'", answer=["labelled", "mybaseregistry", "myregistry"])
