#!/bin/sh
# Looks for what would make the deployment fail half-way, before anything is created. azd runs it; so can you:
#   BASE_REGISTRY_ID=… TEAM_SUBSCRIPTION_IDS=…,… infra/hooks/preprovision.sh
# It changes nothing. It needs the Azure CLI, logged in.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
problems=0
policy=${GROUNDSWELL_POLICY:-$here/policy/rebuilds.yaml}

good() { printf '  ✓ %s\n' "$1"; }
note() { printf '  – %s\n' "$1"; }
bad() { # what is wrong, what to do
    printf '  ✗ %s\n    → %s\n' "$1" "$2" >&2
    problems=$((problems + 1))
}
# azd keeps answers to its own questions in its configuration, not in the environment of hooks.
answer() { # parameter of main.bicep
    command -v azd >/dev/null 2>&1 || return 0
    azd env config get "infra.parameters.$1" 2>/dev/null | tr -d '"'
}
# A value of the policy's top level, or of its identity when indented.
of_policy() { # key
    sed -n "s/^[[:space:]]*$1:[[:space:]]*//p" "$policy" | sed 's/[[:space:]]*#.*//; s/["'"'"']//g; s/[[:space:]]*$//' | head -n 1
}
# Role assignments have rules of their own, so "may write" is read from the caller's effective permissions.
# https://learn.microsoft.com/rest/api/authorization/permissions
may_assign_roles() { # scope
    az rest --method get --url "https://management.azure.com$1/providers/Microsoft.Authorization/permissions?api-version=2022-04-01" \
        --query "length(value[?(contains(actions, '*') || contains(actions, 'Microsoft.Authorization/*') || contains(actions, 'Microsoft.Authorization/roleAssignments/*') || contains(actions, 'Microsoft.Authorization/roleAssignments/write')) && !contains(notActions, 'Microsoft.Authorization/*/Write')])" \
        --output tsv 2>/dev/null
}
check_rights() { # scope, what it is called
    case $(may_assign_roles "$1") in
    '') note "cannot tell whether you may assign roles on $2; the deployment will" ;;
    0) bad "you may not assign roles on $2" "ask for Owner, User Access Administrator or Role Based Access Control Administrator on $1" ;;
    *) good "you may assign roles on $2" ;;
    esac
}
check_providers() { # subscription, providers …
    subscription=$1
    shift
    for provider in "$@"; do
        state=$(az provider show --subscription "$subscription" --namespace "$provider" --query registrationState --output tsv 2>/dev/null)
        [ "$state" = Registered ] || bad "$provider is not registered in subscription $subscription" \
            "az provider register --subscription $subscription --namespace $provider --wait"
    done
}

printf 'Before anything is created\n'
if ! command -v az >/dev/null 2>&1; then
    bad "the Azure CLI (az) is missing" "https://learn.microsoft.com/cli/azure/install-azure-cli"
    exit 1
fi
current=$(az account show --query id --output tsv 2>/dev/null) || current=
if [ -z "$current" ]; then
    bad "the Azure CLI is not logged in" "az login (azd auth login is a login of its own)"
    exit 1
fi
target=${AZURE_SUBSCRIPTION_ID:-$current}
good "logged in"

base=${BASE_REGISTRY_ID:-$(answer baseRegistryId)}
teams=$(printf '%s' "${TEAM_SUBSCRIPTION_IDS:-$(answer teamSubscriptionIds)}" | tr ',' ' ')
private=${PRIVATE_NETWORKING:-$(answer privateNetworking)}

before=$problems
check_providers "$target" Microsoft.Web Microsoft.App Microsoft.Storage Microsoft.ManagedIdentity Microsoft.Insights \
    Microsoft.OperationalInsights Microsoft.EventGrid
[ "$private" != true ] || check_providers "$target" Microsoft.Network
for team in $teams; do
    check_providers "$team" Microsoft.ContainerRegistry Microsoft.EventGrid Microsoft.ManagedIdentity
done
[ "$problems" -ne "$before" ] || good "resource providers are registered"

if [ -z "$base" ]; then
    note "BASE_REGISTRY_ID is not known yet, so it is not checked: azd env set BASE_REGISTRY_ID <ARM id> and run again"
else
    base_subscription=$(printf '%s' "$base" | cut -d/ -f3)
    check_providers "$base_subscription" Microsoft.ContainerRegistry Microsoft.EventGrid
    if az resource show --ids "$base" --query id --output tsv >/dev/null 2>&1; then
        good "the base registry exists"
        check_rights "$base" "the base registry"
    else
        bad "the base registry $base does not exist, or you may not read it" \
            "az acr show --name <name> --query id tells the id"
    fi
    wanted=$(of_policy baseRegistry)
    case $wanted in
    /*) same=$base ;;
    *) same=${base##*/} ;;
    esac
    if [ "$(printf '%s' "$wanted" | tr '[:upper:]' '[:lower:]')" = "$(printf '%s' "$same" | tr '[:upper:]' '[:lower:]')" ]; then
        good "the policy names it"
    else
        bad "the policy says baseRegistry: $wanted, but the deployment is told ${base##*/}" \
            "change baseRegistry in policy/rebuilds.yaml, or BASE_REGISTRY_ID"
    fi
    case $wanted in
    /*) ;;
    *)
        case " $teams " in
        *" $base_subscription "*) ;;
        *) bad "the policy names the base registry by name, but its subscription is none of the team subscriptions" \
            "write its ARM id in policy/rebuilds.yaml: baseRegistry: $base" ;;
        esac
        ;;
    esac
    group=$(of_policy resourceGroup)
    if [ -n "$group" ]; then
        identity_subscription=$(of_policy subscription)
        identity_subscription=${identity_subscription:-$base_subscription}
        if [ "$(az group exists --subscription "$identity_subscription" --name "$group" 2>/dev/null)" = true ]; then
            good "the resource group of the fleet's identity exists"
            check_rights "/subscriptions/$identity_subscription/resourceGroups/$group" "the resource group of the fleet's identity"
        else
            bad "the resource group $group of the fleet's identity does not exist in subscription $identity_subscription" \
                "az group create --subscription $identity_subscription --name $group --location <region>, or change identity in policy/rebuilds.yaml"
        fi
    fi
fi
if [ -z "$teams" ]; then
    note "TEAM_SUBSCRIPTION_IDS is not known yet, so it is not checked"
fi
for team in $teams; do
    check_rights "/subscriptions/$team" "team subscription $team"
done

if [ "$problems" -gt 0 ]; then
    printf '%s to put right first; nothing was created.\n' "$problems" >&2
    exit 1
fi
