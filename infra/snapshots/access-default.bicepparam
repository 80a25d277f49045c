// One team subscription, one identity for the fleet.
using '../access.bicep'

param principalId = 'cccccccc-0000-4000-8000-000000000003'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.ContainerRegistry/registries/mybaseregistry'
param teamSubscriptionIds = 'aaaaaaaa-0000-4000-8000-000000000001'
param grantPush = false
param fleetIdentity = {
  type: 'UserAssigned'
  name: 'fleet'
  resourceGroup: 'fleet'
}
