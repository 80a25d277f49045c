// The storage account: queues, ledger, deployment package, dead letters and what the Functions host keeps.
// It has no usable keys: every reader and writer, the host included, comes with an identity.

param name string
param location string
param tags object

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
param skuName string

@description('Let only private endpoints in, and Event Grid, as a trusted service, to write dead letters.')
param isPrivate bool

@description('Days for which dead letters are kept.')
param deadLetterDays int = 30

var deploymentContainer = 'deployments'
var deadLetterContainer = loadJsonContent('../event-subscriptions.json').deadLetter.container

module account 'br/public:avm/res/storage/storage-account:0.33.0' = {
  name: 'storage-account'
  params: {
    name: name
    location: location
    tags: tags
    skuName: skuName
    kind: 'StorageV2'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    // Not Disabled with private networking: of that, Storage's documents only say that exceptions may still work, and
    // Event Grid's ask for the firewall's exception for trusted services. Deny leaves just that exception.
    // https://learn.microsoft.com/azure/event-grid/managed-service-identity#private-endpoints
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
    blobServices: {
      containerDeleteRetentionPolicyEnabled: true
      containerDeleteRetentionPolicyDays: 7
      deleteRetentionPolicyEnabled: true
      deleteRetentionPolicyDays: 7
      containers: [
        {
          name: deploymentContainer
        }
        {
          name: deadLetterContainer
        }
      ]
    }
    queueServices: {
      queues: [
        {
          name: 'fan-outs'
        }
        {
          name: 'rebuild-requests'
        }
        {
          name: 'run-checks'
        }
      ]
    }
    tableServices: {
      tables: [
        {
          name: 'ledger'
        }
      ]
    }
    managementPolicyRules: [
      {
        name: 'expire-dead-letters'
        type: 'Lifecycle'
        enabled: true
        definition: {
          filters: {
            blobTypes: ['blockBlob']
            prefixMatch: ['${deadLetterContainer}/']
          }
          actions: {
            baseBlob: {
              delete: {
                daysAfterModificationGreaterThan: deadLetterDays
              }
            }
          }
        }
      }
    ]
    enableTelemetry: false
  }
}

output id string = account.outputs.resourceId
output name string = account.outputs.name
output deploymentContainerUrl string = '${account.outputs.primaryBlobEndpoint}${deploymentContainer}'
