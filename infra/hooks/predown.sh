#!/bin/sh
# Removes what `azd down` does not: event subscriptions, the system topics that were made for them, and the rights of the
# app's identity, all in other resource groups. azd runs it before it deletes the app; by hand, before deleting the group:
#   AZURE_ENV_NAME=… AZURE_FUNCTION_APP_ID=… APP_PRINCIPAL_ID=… BASE_REGISTRY_ID=… TEAM_SUBSCRIPTION_IDS=…,… infra/hooks/predown.sh
# The fleet's identity, the tasks and their grants stay: teams may still want to run them. See docs/deployment.md.
set -u

missing=
for name in AZURE_ENV_NAME AZURE_FUNCTION_APP_ID APP_PRINCIPAL_ID BASE_REGISTRY_ID TEAM_SUBSCRIPTION_IDS; do
    eval "[ -n \"\${$name:-}\" ]" || missing="$missing $name"
done
[ -z "$missing" ] || {
    printf '– nothing is removed outside the resource group, as these are not set:%s\n' "$missing" >&2
    exit 0
}
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

version=2025-02-15
group=${AZURE_FUNCTION_APP_ID%%/providers/*}
subscriptions=$(printf '%s\n' "$BASE_REGISTRY_ID" "$TEAM_SUBSCRIPTION_IDS" | sed 's#^/subscriptions/\([^/]*\)/.*#\1#' | tr ',' '\n' | tr -d ' ' | sort -u)
for subscription in $subscriptions; do
    for topic in $(az resource list --subscription "$subscription" --resource-type Microsoft.EventGrid/systemTopics --query '[].id' --output tsv); do
        for wanted in $(az rest --method get --url "https://management.azure.com$topic/eventSubscriptions?api-version=$version" --output tsv \
            --query "value[?starts_with(properties.destination.properties.resourceId || '', '$AZURE_FUNCTION_APP_ID/')].id"); do
            remove "event subscription ${wanted##*/}" az resource delete --ids "$wanted" --api-version "$version"
        done
        made_for=$(az resource show --ids "$topic" --api-version "$version" --query 'tags."groundswell-environment"' --output tsv)
        others=$(az rest --method get --url "https://management.azure.com$topic/eventSubscriptions?api-version=$version" --query 'length(value)' --output tsv)
        if [ "$made_for" = "$AZURE_ENV_NAME" ] && [ "$others" = 0 ]; then
            remove "system topic ${topic##*/}" az resource delete --ids "$topic" --api-version "$version"
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
