// The event subscriptions of one system topic, with what event-subscriptions.json says of them.

param topicName string

@description('Entries of event-subscriptions.json that belong to this topic\'s source.')
param subscriptions array
param eventDeliverySchema string
param retryPolicy object
param deadLetterContainer string
param functionAppId string
param storageAccountId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

var topicRoles = any(loadJsonContent('../app-roles.json').topicAssignments)

module deadLetterRoles 'roles-container.bicep' = {
  name: 'groundswell-dead-letters-${uniqueString(topic.id)}'
  scope: resourceGroup(split(storageAccountId, '/')[2], split(storageAccountId, '/')[4])
  params: {
    principalId: topic.identity.principalId
    roles: filter(topicRoles, role => role.scope == 'deadLetterContainer')
    storageAccountName: split(storageAccountId, '/')[8]
    containerName: deadLetterContainer
  }
}

resource eventSubscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [
  for wanted in subscriptions: {
    parent: topic
    // Two environments can listen to one source.
    name: '${wanted.name}-${take(uniqueString(functionAppId), 6)}'
    properties: {
      destination: {
        endpointType: 'AzureFunction'
        properties: {
          resourceId: '${functionAppId}/functions/${wanted.function}'
          // The functions take one event at a time; a batch would be redelivered whole when one of it fails.
          maxEventsPerBatch: 1
          preferredBatchSizeInKilobytes: 1
        }
      }
      // In brackets, because parsers of static checkers take .filter for the function.
      filter: wanted['filter']
      eventDeliverySchema: eventDeliverySchema
      retryPolicy: retryPolicy
      deadLetterWithResourceIdentity: {
        identity: {
          type: 'SystemAssigned'
        }
        deadLetterDestination: {
          endpointType: 'StorageBlob'
          properties: {
            resourceId: storageAccountId
            blobContainerName: deadLetterContainer
          }
        }
      }
    }
    dependsOn: [
      deadLetterRoles
    ]
  }
]
