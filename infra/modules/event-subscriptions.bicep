// The event subscriptions of one system topic, with what event-subscriptions.json says of them, and alerts on what they
// fail to deliver.

param topicName string

@description('Entries of event-subscriptions.json that belong to this topic\'s source.')
param subscriptions array
param eventDeliverySchema string
param retryPolicy object
param deadLetterContainer string
param functionAppId string
param storageAccountId string
param actionGroupId string
param alertPrefix string
param tags object

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

var topicRoles = loadJsonContent('../app-roles.json').topicAssignments
// Two environments can listen to one source.
var token = take(uniqueString(functionAppId), 6)

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
    name: '${wanted.name}-${token}'
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
      filter: wanted.filter
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

module alerts 'delivery-alerts.bicep' = {
  name: 'groundswell-delivery-alerts-${uniqueString(topic.id)}'
  params: {
    topicId: topic.id
    eventSubscriptions: [for wanted in subscriptions: '${wanted.name}-${token}']
    namePrefix: '${alertPrefix}-${take(uniqueString(topic.id), 6)}'
    actionGroupId: actionGroupId
    tags: tags
  }
}
