// Roles of app-roles.json whose scope is the resource group of the fleet's identity.

@description('Object id of the app\'s identity.')
param principalId string

@description('Entries of app-roles.json.')
param roles array

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(resourceGroup().id, principalId, role.roleDefinitionId)
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
