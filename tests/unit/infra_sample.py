"""A small infra/ in which everything agrees, beside the project's own JSON files, for tests to break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MAIN = """\
targetScope = 'subscription'

@minLength(1)
@description('Where.')
param location string
param isPrivate bool = false

var names = loadJsonContent('abbreviations.json')
var roles = any(loadJsonContent('app-roles.json')).assignments

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: '${names.group}groundswell'
  location: location
}

module identity 'br/public:avm/res/managed-identity/user-assigned-identity:0.6.0' = {
  scope: group
  params: {
    name: 'groundswell'
    location: location
  }
}

module storage 'modules/storage.bicep' = if (!isPrivate) {
  scope: group
  params: {
    location: location
    tags: {
      roles: string(length(roles))
    }
  }
}

var computed = {
  teamSubscriptionIds: join(map(['a'], id => toLower(id)), ',')
  clientId: identity.outputs.clientId
  storageAccountName: storage.outputs.name
  applicationInsightsConnectionString: 'c'
  applicationInsightsAuthentication: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
}

module access 'modules/access.bicep' = [
  for (role, index) in filter(roles, role => role.name != 'grantPush' && role.scope != 'deadLetterContainer'): {
    name: 'role-${index}'
    scope: group
    params: {
      principalId: identity.outputs.principalId
      role: role
      kind: role.scope == 'teamSubscriptions' || role.scope == 'baseRegistry' ? 1 : 0
      other: role.scope == 'storageAccount' || role.scope == 'identityResourceGroup'
      last: role.scope == 'applicationInsights'
    }
  }
]

output SETTINGS object = computed
"""
STORAGE = """\
param location string
param tags object = {}

var letters = loadJsonContent('../event-subscriptions.json').deadLetter.container

module account 'br/public:avm/res/storage/storage-account:0.33.0' = {
  params: {
    name: 'groundswell'
    location: location
    tags: tags
    blobServices: { containers: [ { name: letters }, { name: 'deployments' } ] }
    queueServices: { queues: [ { name: 'fan-outs' }, { name: 'rebuild-requests' }, { name: 'run-checks' } ] }
    tableServices: { tables: [ { name: 'ledger' } ] }
  }
}

output name string = account.outputs.name
"""
ACCESS = """\
param principalId string
param role object
param kind int
param other bool
param last bool

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, principalId, role.roleDefinitionId, string(kind), string(other || last))
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.roleDefinitionId)
  }
}
"""
EVENTS = """\
param functionAppId string
param topicName string = 'topic'

var wanted = any(loadJsonContent('event-subscriptions.json'))

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource subscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [
  for one in wanted.subscriptions: if (one.source == 'baseRegistry' || one.source == 'teamSubscriptions') {
    parent: topic
    name: one.name
    properties: {
      destination: {
        endpointType: 'AzureFunction'
        properties: { resourceId: '${functionAppId}/functions/${one.function}' }
      }
      filter: one.filter
      retryPolicy: wanted.retryPolicy
    }
  }
]
"""
FILES = {
    "main.bicep": MAIN,
    "events.bicep": EVENTS,
    "modules/storage.bicep": STORAGE,
    "modules/access.bicep": ACCESS,
    "abbreviations.json": '{"group": "rg-"}',
    "main.parameters.json": '{"parameters": {"location": {"value": "x"}, "isPrivate": {"value": "y"}}}',
    "hooks/postdeploy.sh": "#!/bin/sh\naz deployment group create --template-file infra/events.bicep "
    "--parameters functionAppId=x topicName=y\n",
}


def write(root: Path) -> None:
    """Write the sample into a folder."""
    for name, text in FILES.items():
        path = root / "infra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("app-roles", "app-settings", "event-subscriptions"):
        shutil.copy(ROOT / "infra" / f"{name}.json", root / "infra")
    for name in ("host.json", "local.settings.sample.json"):
        shutil.copy(ROOT / name, root)
    (root / "README.md").write_text(readme())


def readme() -> str:
    """Return a document with the table of settings."""
    rows = ["Settings", "", "| setting | default | meaning |", "|---|---|---|"]
    for setting in json.loads((ROOT / "infra" / "app-settings.json").read_text())["settings"]:
        default = f"`{setting['default']}`" if setting.get("default") else ""
        rows.append(f"| `{setting['name']}` | {'*required*' if setting['required'] else default} | … |")
    return "\n".join([*rows, "", "The end."])
