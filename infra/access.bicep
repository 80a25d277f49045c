// The app's rights outside its own resource group, from app-roles.json: what infra/hooks/postprovision.sh deploys.
targetScope = 'subscription'

@description('Object id of the app\'s identity.')
param principalId string

@description('ARM id of the base registry.')
param baseRegistryId string

@description('Ids of the team subscriptions, separated by commas.')
param teamSubscriptionIds string

@description('Whether the app may grant push rights in the team subscriptions.')
param grantPush bool

var token = toLower(uniqueString(principalId))
var teamSubscriptions = split(replace(teamSubscriptionIds, ' ', ''), ',')
var baseRegistrySubscription = split(baseRegistryId, '/')[2]
var baseRegistryGroup = split(baseRegistryId, '/')[4]

// The policy says which identity the fleet has and where: it is not asked for again.
// It lives beside the base registry unless the policy names another subscription, as in shared/onboarding.py.
var fleetIdentity = any(loadYamlContent('../policy/rebuilds.yaml').identity)
var hasFleetIdentity = fleetIdentity.type == 'UserAssigned'
var fleetIdentitySubscription = contains(fleetIdentity, 'subscription') ? fleetIdentity.subscription : baseRegistrySubscription
var fleetIdentityGroup = hasFleetIdentity ? fleetIdentity.resourceGroup : baseRegistryGroup

var allRoles = any(loadJsonContent('app-roles.json').assignments)
var roles = filter(allRoles, role => grantPush || role.name != 'grantPush')

module teamSubscriptionRoles 'modules/roles-subscription.bicep' = [
  for id in teamSubscriptions: {
    name: 'groundswell-roles-${token}'
    scope: subscription(id)
    params: {
      principalId: principalId
      roles: filter(roles, role => role.scope == 'teamSubscriptions')
    }
  }
]

module baseRegistryRoles 'modules/roles-registry.bicep' = {
  name: 'groundswell-roles-base-registry-${token}'
  scope: resourceGroup(baseRegistrySubscription, baseRegistryGroup)
  params: {
    principalId: principalId
    roles: filter(roles, role => role.scope == 'baseRegistry')
    registryName: split(baseRegistryId, '/')[8]
  }
}

module fleetIdentityRoles 'modules/roles-resource-group.bicep' = if (hasFleetIdentity) {
  name: 'groundswell-roles-fleet-identity-${token}'
  scope: resourceGroup(fleetIdentitySubscription, fleetIdentityGroup)
  params: {
    principalId: principalId
    roles: filter(roles, role => role.scope == 'identityResourceGroup')
  }
}
