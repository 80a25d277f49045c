#!/bin/sh
# Phase 2 of the deployment: waits until the functions are there, then subscribes them to events (infra/events.bicep).
# azd runs it after each deploy; it can be repeated at any time, and by hand:
#   azd hooks run postdeploy
# Without azd, it reads the same values from the environment (they are outputs of infra/main.bicep):
#   AZURE_ENV_NAME AZURE_LOCATION AZURE_FUNCTION_APP_ID AZURE_STORAGE_ACCOUNT_ID BASE_REGISTRY_ID TEAM_SUBSCRIPTION_IDS
# WAIT_SECONDS (600) bounds the waiting. It needs the Azure CLI, logged in.
set -u
infra=$(cd "$(dirname "$0")/.." && pwd)

fail() { # what is wrong, what to do …
    printf '✗ %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  → %s\n' "$line" >&2; done
    exit 1
}

missing=
for name in AZURE_ENV_NAME AZURE_LOCATION AZURE_FUNCTION_APP_ID AZURE_STORAGE_ACCOUNT_ID BASE_REGISTRY_ID TEAM_SUBSCRIPTION_IDS; do
    eval "[ -n \"\${$name:-}\" ]" || missing="$missing $name"
done
[ -z "$missing" ] || fail "not set:$missing" "azd env get-values lists them; docs/deployment.md says how to find them without azd"
command -v az >/dev/null 2>&1 || fail "the Azure CLI (az) is missing" "https://learn.microsoft.com/cli/azure/install-azure-cli"
az account show >/dev/null 2>&1 || fail "the Azure CLI is not logged in" "az login"

subscription=$(printf '%s' "$AZURE_FUNCTION_APP_ID" | cut -d/ -f3)
group=$(printf '%s' "$AZURE_FUNCTION_APP_ID" | cut -d/ -f5)
app=${AZURE_FUNCTION_APP_ID##*/}

# 1. Event Grid refuses a function that does not exist yet.
wanted=$(sed -n 's/^.*"function": *"\([^"]*\)".*$/\1/p' "$infra/event-subscriptions.json")
[ -n "$wanted" ] || fail "infra/event-subscriptions.json names no function"
deadline=$(($(date +%s) + ${WAIT_SECONDS:-600}))
printf 'Waiting for the functions of %s\n' "$app"
while :; do
    listed=$(az functionapp function list --subscription "$subscription" --resource-group "$group" --name "$app" \
        --query '[].name' --output tsv 2>/dev/null | sed 's#.*/##')
    absent=
    for function in $wanted; do
        printf '%s\n' "$listed" | grep -qx "$function" || absent="$absent $function"
    done
    [ -n "$absent" ] || break
    [ "$(date +%s)" -lt "$deadline" ] || fail "still not there after ${WAIT_SECONDS:-600} s:$absent" \
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
seen=
for source in "$BASE_REGISTRY_ID" $(printf '%s' "$TEAM_SUBSCRIPTION_IDS" | tr ',' '\n' | sed 's#^ *#/subscriptions/#; s# *$##'); do
    source=$(printf '%s' "$source" | tr '[:upper:]' '[:lower:]')
    case " $seen " in *" $source "*) continue ;; esac
    seen="$seen $source"
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
            az rest --method patch --url "https://management.azure.com$topic?api-version=2025-02-15" \
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

# 3. A fresh identity is not known everywhere for some minutes, so that its role may be refused at first.
tries=0
until az deployment sub create --subscription "$subscription" --location "$AZURE_LOCATION" \
    --name "groundswell-events-$AZURE_ENV_NAME" --template-file "$infra/events.bicep" --output none \
    --parameters environmentName="$AZURE_ENV_NAME" location="$AZURE_LOCATION" functionAppId="$AZURE_FUNCTION_APP_ID" \
    storageAccountId="$AZURE_STORAGE_ACCOUNT_ID" baseRegistryId="$BASE_REGISTRY_ID" \
    teamSubscriptionIds="$TEAM_SUBSCRIPTION_IDS" existingTopics="{$existing}"; do
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || fail "the event subscriptions could not be made" "read the error above; az deployment sub show --name groundswell-events-$AZURE_ENV_NAME has its details" \
        "then repeat: azd hooks run postdeploy, or $0"
    sleep "${RETRY_SECONDS:-60}"
done
printf 'Events reach %s from\n' "$app"
az deployment sub show --subscription "$subscription" --name "groundswell-events-$AZURE_ENV_NAME" --output tsv \
    --query '[properties.outputs.baseTopicId.value, properties.outputs.teamTopicIds.value][]' | sed 's/^/  ✓ /'
