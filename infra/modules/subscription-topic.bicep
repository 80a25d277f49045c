// The system topic of one team subscription, in a resource group of its own there.
targetScope = 'subscription'

param groupName string
param topicName string
param topicType string
param location string
param tags object

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

module topic 'system-topic.bicep' = {
  name: 'groundswell-system-topic'
  scope: group
  params: {
    name: topicName
    // Events of a subscription belong to no region.
    location: 'global'
    source: subscription().id
    topicType: topicType
    tags: tags
  }
}
