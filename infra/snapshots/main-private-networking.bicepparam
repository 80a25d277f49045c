// Everything that can be switched on, the longest name of an environment, and ids as people type them.
using '../main.bicep'

param environmentName = 'forty-characters-long-which-is-the-limit'
param location = 'westeurope'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.ContainerRegistry/registries/mybaseregistry'
param teamSubscriptionIds = 'AAAAAAAA-0000-4000-8000-000000000001, bbbbbbbb-0000-4000-8000-000000000002,,aaaaaaaa-0000-4000-8000-000000000001,'
param privateNetworking = true
param grantPush = true
param alertEmail = 'platform@example.com'
param daysWithoutEvent = 7
param storageSku = 'Standard_GZRS'
param alwaysReadyInstances = 1
