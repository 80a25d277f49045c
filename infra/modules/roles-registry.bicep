// Roles of app-roles.json whose scope is the base registry.

@description('Object id of the app\'s identity.')
param principalId string

@description('Entries of app-roles.json.')
param roles array

param registryName string

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: registryName
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(registry.id, principalId, role.roleDefinitionId)
    scope: registry
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
