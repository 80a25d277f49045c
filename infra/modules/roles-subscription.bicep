// Roles of app-roles.json whose scope is a team subscription.
targetScope = 'subscription'

@description('Object id of the app\'s identity.')
param principalId string

@description('Entries of app-roles.json.')
param roles array

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(subscription().id, principalId, role.roleDefinitionId)
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
