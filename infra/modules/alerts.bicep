// Alert rules over the metrics and requests of the app, and whom they reach.
// The metrics' names and attributes: docs/observability.md. Limits of log search alerts:
// https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-types#log-alerts

param namePrefix string
param actionGroupName string
param applicationInsightsName string

@description('Empty: no one is written to.')
param email string
param daysWithoutEvent int
param location string
param tags object

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

// severity: 1 error, 2 warning, 3 informational.
var rules = [
  {
    name: 'poison-queue'
    title: 'Messages were set aside'
    text: 'A poison queue is not empty: rebuilds wait for somebody. Mend the cause, then POST /api/rebuilds/replay. Time-outs and crashes of queue functions show here alone.'
    severity: 1
    query: 'customMetrics | where name == "groundswell.queue.messages" | extend queue = tostring(customDimensions.queue) | where queue endswith "-poison" | project timestamp, queue, messages = valueMax'
    column: 'messages'
    aggregation: 'Maximum'
    dimension: 'queue'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT15M'
  }
  {
    name: 'failed-rebuilds'
    title: 'Rebuilds failed'
    text: 'A run failed, or a rebuild was set aside. GET /api/registries/<registry> says why.'
    severity: 2
    query: 'customMetrics | where name == "groundswell.rebuilds" | extend outcome = tostring(customDimensions.outcome), registry = tostring(customDimensions.registry) | where outcome in ("failed", "set-aside") | project timestamp, registry, rebuilds = valueSum'
    column: 'rebuilds'
    aggregation: 'Total'
    dimension: 'registry'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT15M'
  }
  {
    name: 'failing-parts'
    title: 'A part of the fleet fails'
    text: 'A subscription, a task or the base registry has failed for some time while the others went on. The reason stands in the logs, and in the answer to POST /api/runs.'
    severity: 2
    query: 'customMetrics | where name == "groundswell.parts.failed" | extend part = strcat(tostring(customDimensions.part), " ", tostring(customDimensions.name)) | project timestamp, part, failures = valueSum'
    column: 'failures'
    aggregation: 'Total'
    dimension: 'part'
    operator: 'GreaterThan'
    // The timer looks every five minutes. What fails once and works again is nobody's concern.
    threshold: 3
    window: 'PT30M'
    frequency: 'PT15M'
  }
  {
    name: 'throttling'
    title: 'Resource Manager throttles'
    text: 'Groundswell follows the limits that Resource Manager announces; many refusals mean that something else uses them up.'
    severity: 3
    query: 'customMetrics | where name == "groundswell.arm.throttled" | extend subscription = tostring(customDimensions.subscription) | project timestamp, subscription, refusals = valueSum'
    column: 'refusals'
    aggregation: 'Total'
    dimension: 'subscription'
    operator: 'GreaterThan'
    threshold: 20
    window: 'PT30M'
    frequency: 'PT30M'
  }
  {
    name: 'function-failures'
    title: 'Functions fail'
    text: 'Invocations end with errors. A broken policy or setting fails every one of them, with a sentence that names it.'
    severity: 2
    // 4xx is the caller's mistake. The host writes no request for a queue message; the app does.
    query: 'requests | where success == false and resultCode !startswith "4" | project timestamp, operation = operation_Name, failures = itemCount'
    column: 'failures'
    aggregation: 'Total'
    dimension: 'operation'
    operator: 'GreaterThan'
    threshold: 5
    window: 'PT15M'
    frequency: 'PT15M'
  }
  {
    name: 'no-event'
    title: 'No event of a push for days'
    text: 'Nothing was heard of a pushed base image for days. Check the event subscriptions, and whether base images are still pushed.'
    severity: 3
    query: 'customMetrics | where name == "groundswell.push.age" | project timestamp, days = valueMax / 86400'
    column: 'days'
    aggregation: 'Minimum'
    dimension: ''
    operator: 'GreaterThan'
    threshold: daysWithoutEvent
    window: 'PT1H'
    frequency: 'PT1H'
  }
  {
    name: 'silent'
    title: 'Groundswell is silent'
    text: 'Its timer runs every five minutes and was not heard of for an hour. Is the app stopped, or can it not start?'
    severity: 1
    // Of the last two days, the longest that a rule can look back. A new deployment has a day to be heard of.
    query: 'customMetrics | where name == "groundswell.queue.messages" | summarize last = max(timestamp) | where last < ago(1h) or (isnull(last) and now() > datetime(__CREATED__) + 1d) | extend timestamp = ago(5m)'
    column: ''
    aggregation: 'Count'
    dimension: ''
    operator: 'GreaterThan'
    threshold: 0
    window: 'P2D'
    frequency: 'PT15M'
  }
]

module actionGroup 'br/public:avm/res/insights/action-group:0.8.0' = {
  name: 'action-group'
  params: {
    name: actionGroupName
    groupShortName: 'groundswell'
    tags: tags
    emailReceivers: empty(email) ? [] : [{ name: 'email', emailAddress: email, useCommonAlertSchema: true }]
    enableTelemetry: false
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: '${namePrefix}-${rule.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: 'Groundswell: ${rule.title}'
      description: rule.text
      severity: rule.severity
      enabled: true
      scopes: [applicationInsights.id]
      evaluationFrequency: rule.frequency
      windowSize: rule.window
      autoMitigate: true
      // The tables are empty until the first telemetry arrives.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: replace(rule.query, '__CREATED__', applicationInsights.properties.CreationDate)
            timeAggregation: rule.aggregation
            metricMeasureColumn: empty(rule.column) ? null : rule.column
            operator: rule.operator
            threshold: rule.threshold
            dimensions: empty(rule.dimension) ? [] : [{ name: rule.dimension, operator: 'Include', values: ['*'] }]
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [actionGroup.outputs.resourceId]
      }
    }
  }
]

output actionGroupId string = actionGroup.outputs.resourceId
