// Roles of app-roles.json whose scope is the container of dead letters, for the identity of a system topic.

@description('Object id of the topic\'s identity.')
param principalId string

@description('Entries of app-roles.json.')
param roles array

param storageAccountName string
param containerName string

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = {
  name: '${storageAccountName}/default/${containerName}'
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(container.id, principalId, role.roleDefinitionId)
    scope: container
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.roleDefinitionId)
      description: 'Groundswell: ${role.why}'
    }
  }
]
