// Roles of app-roles.json whose scope is the app's storage account.

@description('Object id of the app\'s identity.')
param principalId string

@description('Entries of app-roles.json.')
param roles array

param storageAccountName string

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageAccountName
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(account.id, principalId, role.roleDefinitionId)
    scope: account
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.roleDefinitionId)
      description: 'Groundswell: ${role.why}'
      condition: role.?condition
      conditionVersion: role.?conditionVersion
    }
  }
]
