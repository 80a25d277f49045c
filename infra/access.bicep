// The app's rights outside its own resource group, from app-roles.json: what infra/hooks/postprovision.sh deploys.
targetScope = 'subscription'

import { subscriptionIds } from 'modules/ids.bicep'

@description('Object id of the app\'s identity.')
param principalId string

@description('ARM id of the base registry.')
param baseRegistryId string

@minLength(36)
@description('Ids of the team subscriptions, separated by commas.')
param teamSubscriptionIds string

@description('Whether the app may grant push rights in the team subscriptions.')
param grantPush bool

@description('The identity of the fleet. The policy says it; it is not asked for again.')
param fleetIdentity object = loadYamlContent('../policy/rebuilds.yaml').identity

var token = toLower(uniqueString(principalId))
var teamSubscriptions = subscriptionIds(teamSubscriptionIds)
var baseRegistrySubscription = split(baseRegistryId, '/')[2]
var baseRegistryGroup = split(baseRegistryId, '/')[4]

// It lives beside the base registry unless the policy names another subscription, as in shared/flows/onboarding.py.
var hasFleetIdentity = fleetIdentity.type == 'UserAssigned'
var fleetIdentitySubscription = fleetIdentity.?subscription ?? baseRegistrySubscription
var fleetIdentityGroup = hasFleetIdentity ? fleetIdentity.resourceGroup : baseRegistryGroup

var roles = filter(loadJsonContent('app-roles.json').assignments, role => grantPush || role.name != 'grantPush')

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
