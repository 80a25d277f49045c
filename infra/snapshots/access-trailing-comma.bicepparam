// A list that ends in a comma: the app gets nothing on its own subscription.
using '../access.bicep'

param principalId = 'cccccccc-0000-4000-8000-000000000003'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.ContainerRegistry/registries/mybaseregistry'
param teamSubscriptionIds = 'aaaaaaaa-0000-4000-8000-000000000001,'
param grantPush = true
param fleetIdentity = {
  type: 'UserAssigned'
  name: 'fleet'
  resourceGroup: 'fleet'
}
