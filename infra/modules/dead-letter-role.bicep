// Lets a system topic write dead letters: a right on one container, for the topic's identity.

param principalId string
param storageAccountName string
param container string

// Storage Blob Data Contributor: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage
var role = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = {
  name: '${storageAccountName}/default/${container}'
}

resource assignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(deadLetters.id, principalId, role)
  scope: deadLetters
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    description: 'Groundswell: events that could not be delivered are kept here.'
  }
}
