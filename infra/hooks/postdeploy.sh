#!/bin/sh
# Phase 2 of the deployment: waits until the functions are there, then subscribes them to events (infra/events.bicep).
# azd runs it after each deploy; it can be repeated at any time, and by hand:
#   azd hooks run postdeploy
# Without azd, it reads from the environment what infra/main.bicep tells; docs/deployment.md says how to find it:
#   AZURE_ENV_NAME AZURE_FUNCTION_APP_ID AZURE_STORAGE_ACCOUNT_ID AZURE_ACTION_GROUP_ID AZURE_LOCATION BASE_REGISTRY_ID
#   TEAM_SUBSCRIPTION_IDS
# WAIT_SECONDS (600) bounds the waiting for functions. It needs the Azure CLI, logged in.
set -u
infra=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=infra/hooks/lib.sh
. "$infra/hooks/lib.sh"

need AZURE_ENV_NAME AZURE_FUNCTION_APP_ID AZURE_STORAGE_ACCOUNT_ID AZURE_ACTION_GROUP_ID DEPLOYED_LOCATION \
    DEPLOYED_BASE_REGISTRY_ID DEPLOYED_TEAM_SUBSCRIPTION_IDS
need_az

subscription=$(printf '%s' "$AZURE_FUNCTION_APP_ID" | cut -d/ -f3)
group=$(printf '%s' "$AZURE_FUNCTION_APP_ID" | cut -d/ -f5)
app=${AZURE_FUNCTION_APP_ID##*/}

# 1. Event Grid refuses a function that does not exist yet. Flex Consumption lists only WarmUp until its triggers are
#    synchronized: https://learn.microsoft.com/azure/azure-functions/functions-deployment-technologies#trigger-syncing
wanted=$(sed -n 's/^.*"function": *"\([^"]*\)".*$/\1/p' "$infra/event-subscriptions.json")
[ -n "$wanted" ] || fail "infra/event-subscriptions.json names no function"
wait_seconds=${WAIT_SECONDS:-600}
started=$(date +%s) told=0
printf 'Waiting for the functions of %s, %s s at most\n' "$app" "$wait_seconds"
while :; do
    listed=$(az functionapp function list --subscription "$subscription" --resource-group "$group" --name "$app" \
        --query '[].name' --output tsv 2>/dev/null | sed 's#.*/##')
    absent=
    for function in $wanted; do
        printf '%s\n' "$listed" | grep -qx "$function" || absent="$absent $function"
    done
    [ -n "$absent" ] || break
    waited=$(($(date +%s) - started))
    if [ "$waited" -ge "$told" ]; then
        printf '  – after %s s not there:%s\n' "$waited" "$absent"
        told=$((waited + 60))
        az rest --method post --url "$AZURE_FUNCTION_APP_ID/syncfunctiontriggers?api-version=2024-04-01" --output none \
            2>/dev/null || printf '  – its triggers could not be synchronized yet\n'
    fi
    [ "$waited" -lt "$wait_seconds" ] || fail "still not there after $wait_seconds s:$absent" \
        "is the code published? azd deploy, or az functionapp deployment source config-zip" \
        "does it start? az functionapp log deployment show, and exceptions in Application Insights" \
        "a build that failed, or a module that cannot be imported, makes all functions vanish" \
        "then repeat: azd hooks run postdeploy, or $0"
    sleep "${POLL_SECONDS:-10}"
done
# shellcheck disable=SC2086
printf '  ✓ %s\n' $wanted

# 2. Azure allows one system topic for each source, so those that exist are used as they are.
existing=
for source in "$DEPLOYED_BASE_REGISTRY_ID" $(subscription_ids "$DEPLOYED_TEAM_SUBSCRIPTION_IDS" | sed 's#^#/subscriptions/#'); do
    source=$(printf '%s' "$source" | tr '[:upper:]' '[:lower:]')
    owner=$(printf '%s' "$source" | cut -d/ -f3)
    topics=$(az resource list --subscription "$owner" --resource-type Microsoft.EventGrid/systemTopics --query '[].id' --output tsv) ||
        fail "cannot list the system topics of subscription $owner" "you need at least Reader there, and Microsoft.EventGrid registered"
    for topic in $topics; do
        of=$(az resource show --ids "$topic" --api-version 2025-02-15 --query properties.source --output tsv | tr '[:upper:]' '[:lower:]')
        [ "$of" = "$source" ] || continue
        kind=$(az resource show --ids "$topic" --api-version 2025-02-15 --query identity.type --output tsv)
        case $kind in
        *SystemAssigned*) ;;
        '' | None)
            printf '  – %s gets a system-assigned identity, with which it writes dead letters\n' "${topic##*/}"
            az rest --method patch --url "$topic?api-version=2025-02-15" \
                --body '{"identity": {"type": "SystemAssigned"}}' --output none ||
                fail "cannot give $topic an identity" "you need EventGrid Contributor there"
            ;;
        *) fail "the system topic $topic has only user-assigned identities" \
            "add a system-assigned one, which Event Grid needs for dead letters behind a storage firewall: in the portal, under Identity" ;;
        esac
        existing="$existing${existing:+,}\"$source\":\"$topic\""
        printf '  – uses the system topic %s\n' "${topic##*/}"
        break
    done
done

# 3. When a subscription is saved, Event Grid looks whether the topic may write dead letters. A fresh identity and its
#    role take up to ten minutes to be known everywhere: https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
printf 'Subscribing %s to events; new roles may take ten minutes to work\n' "$app"
deploy events 10 "${RETRY_SECONDS:-60}" environmentName="$AZURE_ENV_NAME" location="$DEPLOYED_LOCATION" \
    functionAppId="$AZURE_FUNCTION_APP_ID" storageAccountId="$AZURE_STORAGE_ACCOUNT_ID" \
    baseRegistryId="$DEPLOYED_BASE_REGISTRY_ID" teamSubscriptionIds="$DEPLOYED_TEAM_SUBSCRIPTION_IDS" \
    actionGroupId="$AZURE_ACTION_GROUP_ID" existingTopics="{$existing}" || fail \
    "the event subscriptions could not be made" \
    "read the error above; az deployment sub show --name $(deployment_name events) has its details" \
    "then repeat: azd hooks run postdeploy, or $0"
printf 'Events reach %s from\n' "$app"
az deployment sub show --subscription "$subscription" --name "$(deployment_name events)" --output tsv \
    --query '[properties.outputs.baseTopicId.value, properties.outputs.teamTopicIds.value][]' | sed 's/^/  ✓ /'
