// Roles of app-roles.json whose scope is Application Insights.

@description('Object id of the app\'s identity.')
param principalId string

@description('Entries of app-roles.json.')
param roles array

param applicationInsightsName string

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in roles: {
    name: guid(applicationInsights.id, principalId, role.roleDefinitionId)
    scope: applicationInsights
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
