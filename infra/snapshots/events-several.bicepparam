// Several team subscriptions, in mixed casing, and the longest names.
using '../events.bicep'

param environmentName = 'forty-characters-long-which-is-the-limit'
param location = 'westeurope'
param functionAppId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Web/sites/func-abcdefghijklm'
param storageAccountId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Storage/storageAccounts/stabcdefghijklm'
param baseRegistryId = '/subscriptions/eeeeeeee-0000-4000-8000-000000000009/resourceGroups/platform/providers/Microsoft.ContainerRegistry/registries/fiftycharacterslongasthenameofaregistryisallowed50'
param teamSubscriptionIds = 'AAAAAAAA-0000-4000-8000-000000000001, bbbbbbbb-0000-4000-8000-000000000002'
param actionGroupId = '/subscriptions/dddddddd-0000-4000-8000-000000000008/resourceGroups/rg-prod/providers/Microsoft.Insights/actionGroups/ag-abcdefghijklm'
