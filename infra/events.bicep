// What makes events reach the functions, once these exist. infra/hooks/postdeploy.sh waits for them, looks for system
// topics that exist already (Azure allows one for each source) and deploys this file.
// https://learn.microsoft.com/azure/event-grid/system-topics
targetScope = 'subscription'

import { subscriptionIds } from 'modules/ids.bicep'

@minLength(1)
@maxLength(40)
@description('Name of the environment, as in main.bicep.')
param environmentName string

@description('Region of the resource groups that are made for the team subscriptions\' system topics.')
param location string

@description('ARM id of the function app.')
param functionAppId string

@description('ARM id of the storage account that takes dead letters.')
param storageAccountId string

@description('ARM id of the base registry.')
param baseRegistryId string

@minLength(36)
@description('Ids of the team subscriptions, separated by commas.')
param teamSubscriptionIds string

@description('ARM id of the action group that hears of deliveries that fail.')
param actionGroupId string

@description('System topics that exist already: ARM id of the source in lower case → ARM id of the topic. Each has a system-assigned identity.')
param existingTopics object = {}

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(functionAppId))
// Not azd's tag: these resources lie in other groups, which are not azd's to delete.
var tags = { 'groundswell-environment': environmentName }
var settings = loadJsonContent('event-subscriptions.json')
var fromBaseRegistry = filter(settings.subscriptions, wanted => wanted.source == 'baseRegistry')
var fromTeams = filter(settings.subscriptions, wanted => wanted.source == 'teamSubscriptions')
var alertPrefix = '${abbreviations.insightsMetricAlerts}${environmentName}'
var topics = 'Microsoft.EventGrid/systemTopics'

var baseRegistrySubscription = split(baseRegistryId, '/')[2]
var baseRegistryGroup = split(baseRegistryId, '/')[4]
var existingBaseTopic = existingTopics[?toLower(baseRegistryId)]
// A registry's name can have 50 characters, as can a topic's.
var newBaseTopicId = '/subscriptions/${baseRegistrySubscription}/resourceGroups/${baseRegistryGroup}/providers/${topics}/${take('${abbreviations.eventGridSystemTopics}${split(baseRegistryId, '/')[8]}', 50)}'
var baseTopicId = existingBaseTopic ?? newBaseTopicId

var teamGroup = '${abbreviations.resourcesResourceGroups}${environmentName}-events'
var teamTopicName = '${abbreviations.eventGridSystemTopics}subscription-${token}'
var teams = [
  for id in subscriptionIds(teamSubscriptionIds): {
    id: id
    isNew: existingTopics[?'/subscriptions/${id}'] == null
    topicId: existingTopics[?'/subscriptions/${id}'] ?? '/subscriptions/${id}/resourceGroups/${teamGroup}/providers/${topics}/${teamTopicName}'
  }
]
var teamsWithoutTopic = filter(teams, team => team.isNew)

resource baseRegistry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: split(baseRegistryId, '/')[8]
  scope: resourceGroup(baseRegistrySubscription, baseRegistryGroup)
}

module baseTopic 'modules/system-topic.bicep' = if (existingBaseTopic == null) {
  name: 'groundswell-base-topic-${token}'
  scope: resourceGroup(baseRegistrySubscription, baseRegistryGroup)
  params: {
    name: split(baseTopicId, '/')[8]
    location: baseRegistry.location
    source: baseRegistryId
    topicType: fromBaseRegistry[0].topicType
    tags: tags
  }
}

module baseSubscriptions 'modules/event-subscriptions.bicep' = {
  name: 'groundswell-base-events-${token}'
  scope: resourceGroup(split(baseTopicId, '/')[2], split(baseTopicId, '/')[4])
  params: {
    topicName: split(baseTopicId, '/')[8]
    subscriptions: fromBaseRegistry
    eventDeliverySchema: settings.eventDeliverySchema
    retryPolicy: settings.retryPolicy
    deadLetterContainer: settings.deadLetter.container
    functionAppId: functionAppId
    storageAccountId: storageAccountId
    actionGroupId: actionGroupId
    alertPrefix: alertPrefix
    tags: tags
  }
  dependsOn: [
    baseTopic
  ]
}

module teamTopics 'modules/subscription-topic.bicep' = [
  for team in teamsWithoutTopic: {
    name: 'groundswell-team-topic-${token}'
    scope: subscription(team.id)
    params: {
      groupName: teamGroup
      topicName: teamTopicName
      topicType: fromTeams[0].topicType
      location: location
      tags: tags
    }
  }
]

module teamEventSubscriptions 'modules/event-subscriptions.bicep' = [
  for team in teams: {
    name: 'groundswell-team-events-${token}'
    scope: resourceGroup(split(team.topicId, '/')[2], split(team.topicId, '/')[4])
    params: {
      topicName: split(team.topicId, '/')[8]
      subscriptions: fromTeams
      eventDeliverySchema: settings.eventDeliverySchema
      retryPolicy: settings.retryPolicy
      deadLetterContainer: settings.deadLetter.container
      functionAppId: functionAppId
      storageAccountId: storageAccountId
      actionGroupId: actionGroupId
      alertPrefix: alertPrefix
      tags: tags
    }
    dependsOn: [
      teamTopics
    ]
  }
]

output baseTopicId string = baseTopicId
output teamTopicIds array = [for team in teams: team.topicId]
