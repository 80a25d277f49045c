#!/bin/sh
# Removes what `azd down` does not: event subscriptions, the system topics that were made for them with their alerts and
# resource groups, and the rights of the app's identity. azd runs it before it deletes the app; by hand, before deleting
# the group:
#   AZURE_ENV_NAME=… AZURE_FUNCTION_APP_ID=… APP_PRINCIPAL_ID=… BASE_REGISTRY_ID=… TEAM_SUBSCRIPTION_IDS=…,… infra/hooks/predown.sh
# The fleet's identity, the tasks and their grants stay: teams may still want to run them. See docs/deployment.md.
set -u
infra=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=infra/hooks/lib.sh
. "$infra/hooks/lib.sh"

absent=$(missing AZURE_ENV_NAME AZURE_FUNCTION_APP_ID APP_PRINCIPAL_ID DEPLOYED_BASE_REGISTRY_ID DEPLOYED_TEAM_SUBSCRIPTION_IDS)
[ -z "$absent" ] || {
    printf '– nothing is removed outside the resource group, as these are not set:%s\n' "$absent" >&2
    exit 0
}
need_az
left=0
remove() { # what it is, command …
    what=$1
    shift
    if "$@" >/dev/null; then
        printf '  ✓ removed %s\n' "$what"
    else
        printf '  ✗ still there: %s\n' "$what" >&2
        left=$((left + 1))
    fi
}
ours="\"groundswell-environment\" == '$AZURE_ENV_NAME'"

version=2025-02-15
group=${AZURE_FUNCTION_APP_ID%%/providers/*}
base_subscription=$(printf '%s' "$DEPLOYED_BASE_REGISTRY_ID" | cut -d/ -f3)
for subscription in $(subscription_ids "$base_subscription,$DEPLOYED_TEAM_SUBSCRIPTION_IDS"); do
    for alert in $(az resource list --subscription "$subscription" --resource-type Microsoft.Insights/metricAlerts --output tsv \
        --query "[?tags.$ours].id"); do
        remove "alert ${alert##*/}" az resource delete --ids "$alert" --api-version 2018-03-01
    done
    for topic in $(az resource list --subscription "$subscription" --resource-type Microsoft.EventGrid/systemTopics --query '[].id' --output tsv); do
        for wanted in $(az rest --method get --url "$topic/eventSubscriptions?api-version=$version" --output tsv \
            --query "value[?starts_with(properties.destination.properties.resourceId || '', '$AZURE_FUNCTION_APP_ID/')].id"); do
            remove "event subscription ${wanted##*/}" az resource delete --ids "$wanted" --api-version "$version"
        done
        made_for=$(az resource show --ids "$topic" --api-version "$version" --query 'tags."groundswell-environment"' --output tsv)
        others=$(az rest --method get --url "$topic/eventSubscriptions?api-version=$version" --query 'length(value)' --output tsv)
        if [ "$made_for" = "$AZURE_ENV_NAME" ] && [ "$others" = 0 ]; then
            remove "system topic ${topic##*/}" az resource delete --ids "$topic" --api-version "$version"
        fi
    done
    # The resource group that was made for the topic, unless somebody put something else into it.
    for made in $(az group list --subscription "$subscription" --query "[?tags.$ours].name" --output tsv); do
        if [ "$(az resource list --subscription "$subscription" --resource-group "$made" --query 'length(@)' --output tsv)" = 0 ]; then
            remove "resource group $made" az group delete --subscription "$subscription" --name "$made" --yes
        fi
    done
    # Those on its own storage vanish with the resource group.
    for assignment in $(az role assignment list --subscription "$subscription" --all --output tsv \
        --query "[?principalId == '$APP_PRINCIPAL_ID' && !starts_with(id, '$group/')].id"); do
        remove "role assignment ${assignment##*/}" az role assignment delete --ids "$assignment"
    done
done
if [ "$left" -gt 0 ]; then
    printf '%s left; remove them by hand, or repeat: azd hooks run predown\n' "$left" >&2
    exit 1
fi
