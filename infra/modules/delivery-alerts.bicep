// Alerts on events that do not arrive: nothing in the app can tell of them. They lie beside the topic, because a rule on
// platform metrics belongs to the subscription of what it watches.
// Metrics: https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/microsoft-eventgrid-systemtopics-metrics

param topicId string

@description('Names of the event subscriptions; a topic can have others, which are not ours to watch.')
param eventSubscriptions array
param namePrefix string
param actionGroupId string
param tags object

// severity: 1 error, 2 warning.
var rules = [
  {
    name: 'deliveries-fail'
    text: 'The app refuses events, again and again. 401: the eventgrid_extension key stopped working. Repeat infra/hooks/postdeploy.sh, which writes the event subscriptions anew.'
    metric: 'DeliveryAttemptFailCount'
    // One refusal is ordinary: the first event after idle can come before the host has loaded its key, and is delivered
    // again minutes later. Within an hour, Event Grid tries an event that is always refused six times.
    threshold: 3
    window: 'PT1H'
    severity: 2
  }
  {
    name: 'dead-letters'
    text: 'Events were given up and lie in the container dead-letters. Mend the cause, then ask for what they were about: POST /api/runs with {"baseImage": …} or {"all": true}.'
    metric: 'DeadLetteredCount'
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
  {
    name: 'events-lost'
    text: 'Events were given up and could not be kept either. May the topic write to the container dead-letters? Then ask for everything: POST /api/runs with {"all": true}.'
    metric: 'DroppedEventCount'
    threshold: 0
    window: 'PT15M'
    severity: 1
  }
]

resource alerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for rule in rules: {
    name: '${namePrefix}-${rule.name}'
    location: 'global'
    tags: tags
    properties: {
      description: rule.text
      severity: rule.severity
      enabled: true
      scopes: [topicId]
      targetResourceType: 'Microsoft.EventGrid/systemTopics'
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: rule.name
            metricNamespace: 'Microsoft.EventGrid/systemTopics'
            metricName: rule.metric
            timeAggregation: 'Total'
            operator: 'GreaterThan'
            threshold: rule.threshold
            dimensions: [{ name: 'EventSubscriptionName', operator: 'Include', values: eventSubscriptions }]
          }
        ]
      }
      actions: [{ actionGroupId: actionGroupId }]
    }
  }
]
