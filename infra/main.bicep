// Phase 1: what lives in a resource group of its own. What reaches into other groups and subscriptions is apart, because
// `azd down` deletes each resource group that this deployment touched (https://github.com/Azure/azure-dev/issues/2916):
// access.bicep gives the app its rights there, events.bicep subscribes it to events once its functions exist.
// See docs/deployment.md.
targetScope = 'subscription'

import { subscriptionIds } from 'modules/ids.bicep'

@minLength(1)
@maxLength(40)
@description('Name of the environment, e.g. prod. Names of resources and deployments, which have 64 characters at most, are derived from it.')
param environmentName string

@minLength(1)
@metadata({ azd: { type: 'location' } })
@description('Region of the function app and its storage. It must offer Flex Consumption.')
param location string

@minLength(100)
@description('ARM id of the base registry: /subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.ContainerRegistry/registries/<name>.')
param baseRegistryId string

@minLength(36)
@description('Ids of the subscriptions with team registries, separated by commas.')
param teamSubscriptionIds string

@description('Keep storage off the public network: virtual network, private endpoints, private DNS zones. Costs extra.')
param privateNetworking bool

@description('Is any team registry in ABAC mode (repository permissions)? Then the app may also grant push rights, in every team subscription.')
param grantPush bool

@description('Address for alerts. Empty: alerts show in the portal only.')
param alertEmail string = ''

@minValue(1)
@description('Raise an alert when no base image was heard of for this many days.')
param daysWithoutEvent int = 14

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
@description('Replication of the storage account. Losing it loses history only: docs/operations.md.')
param storageSku string = 'Standard_LRS'

@minValue(0)
@description('Instances that wait for pushes of base images all the time. They are billed while they wait: docs/costs-and-limits.md.')
param alwaysReadyInstances int = 0

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var storageName = '${abbreviations.storageStorageAccounts}${token}'

var roles = loadJsonContent('app-roles.json').assignments
var teamSubscriptions = join(subscriptionIds(teamSubscriptionIds), ',')

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: '${abbreviations.resourcesResourceGroups}${environmentName}'
  location: location
  tags: tags
}

// The app's own identity: the one principal that app-roles.json gives rights to.
module identity 'br/public:avm/res/managed-identity/user-assigned-identity:0.6.0' = {
  name: 'groundswell-identity'
  scope: group
  params: {
    name: '${abbreviations.managedIdentityUserAssignedIdentities}${token}'
    location: location
    tags: tags
    enableTelemetry: false
  }
}

module storage 'modules/storage.bicep' = {
  name: 'groundswell-storage'
  scope: group
  params: {
    name: storageName
    location: location
    tags: tags
    skuName: storageSku
    isPrivate: privateNetworking
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'groundswell-monitoring'
  scope: group
  params: {
    workspaceName: '${abbreviations.operationalInsightsWorkspaces}${token}'
    applicationInsightsName: '${abbreviations.insightsComponents}${token}'
    location: location
    tags: tags
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  name: 'groundswell-network'
  scope: group
  params: {
    name: '${abbreviations.networkVirtualNetworks}${token}'
    storageAccountId: storage.outputs.id
    location: location
    tags: tags
  }
}

// What each value that app-settings.json takes "from" the deployment is.
var computed = {
  applicationInsightsAuthentication: 'ClientId=${identity.outputs.clientId};Authorization=AAD'
  applicationInsightsConnectionString: monitoring.outputs.connectionString
  clientId: identity.outputs.clientId
  storageAccountName: storage.outputs.name
  teamSubscriptionIds: teamSubscriptions
}

module functionApp 'modules/function-app.bicep' = {
  name: 'groundswell-function-app'
  scope: group
  params: {
    name: '${abbreviations.webSitesFunctions}${token}'
    planName: '${abbreviations.webServerFarms}${token}'
    location: location
    tags: tags
    identityId: identity.outputs.resourceId
    deploymentContainerUrl: storage.outputs.deploymentContainerUrl
    settings: loadJsonContent('app-settings.json').settings
    computed: computed
    alwaysReadyInstances: alwaysReadyInstances
    subnetId: network.?outputs.appSubnetId ?? ''
  }
  dependsOn: [
    storageRoles
  ]
}

// The app's rights in its own group: app-roles.json. The others are in access.bicep.

module storageRoles 'modules/roles-storage.bicep' = {
  name: 'groundswell-roles-storage'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    roles: filter(roles, role => role.scope == 'storageAccount')
    storageAccountName: storage.outputs.name
  }
}

module applicationInsightsRoles 'modules/roles-application-insights.bicep' = {
  name: 'groundswell-roles-application-insights'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    roles: filter(roles, role => role.scope == 'applicationInsights')
    applicationInsightsName: monitoring.outputs.applicationInsightsName
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'groundswell-alerts'
  scope: group
  params: {
    namePrefix: '${abbreviations.insightsScheduledQueryRules}${environmentName}'
    actionGroupName: '${abbreviations.insightsActionGroups}${token}'
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    email: alertEmail
    daysWithoutEvent: daysWithoutEvent
    location: location
    tags: tags
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'groundswell-workbook'
  scope: group
  params: {
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    displayName: 'Groundswell ${environmentName}'
    location: location
    tags: tags
  }
}

// azd keeps these in its environment, where the hooks read them, and `azd down` takes them away. So none has the name of
// an answer: what was deployed is DEPLOYED_….
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = functionApp.outputs.name
output AZURE_FUNCTION_APP_ID string = functionApp.outputs.id
output AZURE_STORAGE_ACCOUNT_ID string = storage.outputs.id
output APP_PRINCIPAL_ID string = identity.outputs.principalId
output GROUNDSWELL_URL string = functionApp.outputs.url
output AZURE_ACTION_GROUP_ID string = alerts.outputs.actionGroupId
output DEPLOYED_LOCATION string = location
output DEPLOYED_BASE_REGISTRY_ID string = baseRegistryId
output DEPLOYED_TEAM_SUBSCRIPTION_IDS string = teamSubscriptions
output DEPLOYED_GRANT_PUSH bool = grantPush
