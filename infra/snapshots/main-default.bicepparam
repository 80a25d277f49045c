// What azd deploys when every answer is the ordinary one.
using '../main.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.ContainerRegistry/registries/mybaseregistry'
param teamSubscriptionIds = 'aaaaaaaa-0000-4000-8000-000000000001'
param privateNetworking = false
param grantPush = false
