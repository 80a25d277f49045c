// Optional private networking: the app leaves through a subnet of its own and reaches storage by private endpoints.
// Event Grid delivers over the public network, so the app itself stays reachable there.

param name string
param storageAccountId string
param location string
param tags object

@description('Address space; nothing outside is routed to it.')
param addressPrefix string = '10.87.0.0/24'

@description('At least a /27, which each instance of the app takes an address of.')
param appPrefix string = '10.87.0.0/26'

param endpointPrefix string = '10.87.0.64/27'

var appSubnet = 'app'
var endpointSubnet = 'private-endpoints'

module virtualNetwork 'br/public:avm/res/network/virtual-network:0.10.1' = {
  name: 'virtual-network'
  params: {
    name: name
    location: location
    tags: tags
    addressPrefixes: [addressPrefix]
    subnets: [
      {
        name: appSubnet
        addressPrefix: appPrefix
        // Required by Flex Consumption: https://learn.microsoft.com/azure/azure-functions/flex-consumption-how-to
        delegation: 'Microsoft.App/environments'
        // Resource Manager and the registries are public endpoints.
        defaultOutboundAccess: true
      }
      {
        name: endpointSubnet
        addressPrefix: endpointPrefix
        defaultOutboundAccess: false
      }
    ]
    enableTelemetry: false
  }
}

var services = [
  'blob'
  'queue'
  'table'
]

module zones 'br/public:avm/res/network/private-dns-zone:0.8.1' = [
  for service in services: {
    name: 'private-dns-zone-${service}'
    params: {
      name: 'privatelink.${service}.${environment().suffixes.storage}'
      tags: tags
      virtualNetworkLinks: [
        {
          virtualNetworkResourceId: virtualNetwork.outputs.resourceId
        }
      ]
      enableTelemetry: false
    }
  }
]

module endpoints 'br/public:avm/res/network/private-endpoint:0.12.1' = [
  for (service, index) in services: {
    name: 'private-endpoint-${service}'
    params: {
      name: 'pep-${last(split(storageAccountId, '/'))}-${service}'
      location: location
      tags: tags
      subnetResourceId: '${virtualNetwork.outputs.resourceId}/subnets/${endpointSubnet}'
      privateLinkServiceConnections: [
        {
          name: service
          properties: {
            privateLinkServiceId: storageAccountId
            groupIds: [service]
          }
        }
      ]
      privateDnsZoneGroup: {
        privateDnsZoneGroupConfigs: [
          {
            privateDnsZoneResourceId: zones[index].outputs.resourceId
          }
        ]
      }
      enableTelemetry: false
    }
  }
]

output appSubnetId string = '${virtualNetwork.outputs.resourceId}/subnets/${appSubnet}'
