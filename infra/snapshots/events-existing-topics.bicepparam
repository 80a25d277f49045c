// The base registry and one of two team subscriptions have a topic already.
using '../events.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param functionAppId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Web/sites/func-abcdefghijklm'
param storageAccountId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Storage/storageAccounts/stabcdefghijklm'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/Platform/providers/Microsoft.ContainerRegistry/registries/MyBaseregistry'
param teamSubscriptionIds = 'AAAAAAAA-0000-4000-8000-000000000001,bbbbbbbb-0000-4000-8000-000000000002'
param actionGroupId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Insights/actionGroups/ag-abcdefghijklm'
param existingTopics = {
  '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourcegroups/platform/providers/microsoft.containerregistry/registries/mybaseregistry': '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.EventGrid/systemTopics/theirs'
  '/subscriptions/aaaaaaaa-0000-4000-8000-000000000001': '/subscriptions/aaaaaaaa-0000-4000-8000-000000000001/resourceGroups/audit/providers/Microsoft.EventGrid/systemTopics/audit'
}
