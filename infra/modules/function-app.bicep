// The function app on Flex Consumption. Its settings are those of app-settings.json; none is written here.
// Properties: https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan

param name string
param planName string
param location string
param tags object
param identityId string

@description('The blob container that holds the deployment package.')
param deploymentContainerUrl string

@description('The settings of app-settings.json.')
param settings array

@description('The values that settings take from the deployment, by name.')
param computed object

@description('Subnet for outgoing traffic; empty without private networking.')
param subnetId string

@description('Instances that wait for pushes of base images all the time.')
param alwaysReadyInstances int

// The runtime refuses no unknown version early: keep to what CI tests.
var pythonVersion = '3.13'

var ofAzure = filter(settings, setting => contains(setting.where, 'azure'))
var literals = filter(ofAzure, setting => contains(setting, 'value'))
var fromDeployment = filter(ofAzure, setting => contains(setting, 'from'))
var literalSettings = [for setting in literals: { name: setting.name, value: setting.value }]
var computedSettings = [for setting in fromDeployment: { name: setting.name, value: computed[setting.from] }]

module plan 'br/public:avm/res/web/serverfarm:0.7.0' = {
  name: 'plan'
  params: {
    name: planName
    location: location
    tags: tags
    skuName: 'FC1'
    kind: 'functionapp'
    reserved: true
    zoneRedundant: false
    enableTelemetry: false
  }
}

module site 'br/public:avm/res/web/site:0.24.0' = {
  name: 'site'
  params: {
    name: name
    location: location
    // azd publishes to the one resource that has this tag.
    tags: union(tags, { 'azd-service-name': 'app' })
    kind: 'functionapp,linux'
    serverFarmResourceId: plan.outputs.resourceId
    managedIdentities: {
      userAssignedResourceIds: [identityId]
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: deploymentContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: 2048
        maximumInstanceCount: 40
        alwaysReady: alwaysReadyInstances == 0 ? [] : [{ name: 'function:base_image_pushed', instanceCount: alwaysReadyInstances }]
      }
    }
    // Flex Consumption refuses what only other plans have, such as ftpsState: tests/infra/test_resources.py lists it.
    siteConfig: {
      appSettings: concat(literalSettings, computedSettings)
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
    basicPublishingCredentialsPolicies: [
      {
        name: 'ftp'
        allow: false
      }
      {
        name: 'scm'
        allow: false
      }
    ]
    clientAffinityEnabled: false
    httpsOnly: true
    // Event Grid delivers over the public network; the functions' keys and the event's own checks guard it.
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetResourceId: empty(subnetId) ? null : subnetId
    enableTelemetry: false
  }
}

output id string = site.outputs.resourceId
output name string = site.outputs.name
output url string = 'https://${site.outputs.defaultHostname}'
