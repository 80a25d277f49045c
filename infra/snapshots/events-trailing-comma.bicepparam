// A list that ends in a comma: nothing listens to the subscription of the app.
using '../events.bicep'

param environmentName = 'prod'
param location = 'westeurope'
param functionAppId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Web/sites/func-abcdefghijklm'
param storageAccountId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Storage/storageAccounts/stabcdefghijklm'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.ContainerRegistry/registries/mybaseregistry'
param teamSubscriptionIds = 'aaaaaaaa-0000-4000-8000-000000000001,'
param actionGroupId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Insights/actionGroups/ag-abcdefghijklm'
