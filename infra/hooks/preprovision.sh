#!/bin/sh
# Looks for what would make the deployment fail half-way, before anything is created. azd runs it; so can you:
#   BASE_REGISTRY_ID=… TEAM_SUBSCRIPTION_IDS=…,… infra/hooks/preprovision.sh
# It changes nothing. It needs the Azure CLI, logged in.
set -u
infra=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=infra/hooks/lib.sh
. "$infra/hooks/lib.sh"
project=${infra%/*}
problems=0
policy=${GROUNDSWELL_POLICY:-$project/policy/rebuilds.yaml}

good() { printf '  ✓ %s\n' "$1"; }
note() { printf '  – %s\n' "$1"; }
bad() { # what is wrong, what to do
    printf '  ✗ %s\n    → %s\n' "$1" "$2" >&2
    problems=$((problems + 1))
}
# azd keeps answers to its own questions in its configuration, not in the environment of hooks.
answer() { # parameter of main.bicep
    command -v azd >/dev/null 2>&1 || return 0
    if said=$(azd env config get "infra.parameters.$1" 2>&1); then
        printf '%s' "$said" | tr -d '"\r'
    elif ! printf '%s' "$said" | grep -q 'no value at path'; then
        note "the answer for $1 cannot be asked of azd (1.23.4 or newer can), so it is not checked" >&2
    fi
}
# Prints what the policy says, each on a line of its own: that it could be read, base registry, type, resource group and
# subscription of the identity. Fails where no Python can read YAML. The app's own reading is stricter.
read_policy() {
    for python in python3 python "$project/.venv/bin/python" "$project/.venv/Scripts/python.exe"; do
        "$python" -c 'import yaml' >/dev/null 2>&1 || continue
        "$python" -c '
import sys, yaml
try:
    policy = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
    identity = policy["identity"]
    print("read", policy["baseRegistry"], *(identity.get(key, "") for key in ("type", "resourceGroup", "subscription")), sep="\n")
except Exception as error:
    sys.exit(str(error) or repr(error))
' "$policy" 2>&1 | tr -d '\r'
        return 0
    done
    return 1
}
# Role assignments have rules of their own, so "may write" is read from the caller's effective permissions.
# https://learn.microsoft.com/rest/api/authorization/permissions
may_assign_roles() { # scope
    az rest --method get --url "$1/providers/Microsoft.Authorization/permissions?api-version=2022-04-01" \
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
asked=
check_providers() { # subscription, providers …: each once
    subscription=$1
    shift
    for provider in "$@"; do
        case $asked in *" $subscription/$provider "*) continue ;; esac
        asked="$asked $subscription/$provider "
        state=$(az provider show --subscription "$subscription" --namespace "$provider" --query registrationState --output tsv 2>/dev/null)
        [ "$state" = Registered ] || bad "$provider is not registered in subscription $subscription" \
            "az provider register --subscription $subscription --namespace $provider --wait"
    done
}

printf 'Before anything is created\n'
need_az
target=${AZURE_SUBSCRIPTION_ID:-$(az account show --query id --output tsv)}
good "logged in"

base=${BASE_REGISTRY_ID:-$(answer baseRegistryId)}
typed=${TEAM_SUBSCRIPTION_IDS:-$(answer teamSubscriptionIds)}
private=${PRIVATE_NETWORKING:-$(answer privateNetworking)}
teams=$(subscription_ids "$typed")

[ "$(printf '%s' "${AZURE_ENV_NAME:-}" | wc -c)" -le 40 ] ||
    bad "the name of the environment, $AZURE_ENV_NAME, is longer than 40 characters" "azd env new <a shorter name>"

# 1. What was typed.
if [ -z "$typed" ]; then
    note "TEAM_SUBSCRIPTION_IDS is not known yet, so it is not checked"
else
    given=$(printf '%s\n' "$typed" | tr ',' '\n' | wc -l)
    named=$(printf '%s\n' "$typed" | tr ',' '\n' | tr -d ' \t\r' | grep -c .)
    if [ "$given" -ne "$named" ]; then
        bad "TEAM_SUBSCRIPTION_IDS has an empty entry: a comma too many" "azd env set TEAM_SUBSCRIPTION_IDS $(printf '%s' "$teams" | tr '\n' ',')"
    elif [ "$named" -ne "$(printf '%s\n' "$teams" | wc -l)" ]; then
        bad "TEAM_SUBSCRIPTION_IDS names a subscription twice" "azd env set TEAM_SUBSCRIPTION_IDS $(printf '%s' "$teams" | tr '\n' ',')"
    fi
fi
for team in $teams; do
    printf '%s\n' "$team" | grep -Eqx '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' ||
        bad "$team in TEAM_SUBSCRIPTION_IDS is no id of a subscription" "az account list --query '[].{name: name, id: id}' --output table"
done
if [ -z "$base" ]; then
    note "BASE_REGISTRY_ID is not known yet, so it is not checked: azd env set BASE_REGISTRY_ID <ARM id> and run again"
elif ! printf '%s\n' "$base" | grep -Eiqx '/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ContainerRegistry/registries/[^/]+'; then
    bad "$base in BASE_REGISTRY_ID is no ARM id of a registry" "az acr show --name <name> --query id --output tsv tells it"
fi
[ "$problems" -eq 0 ] || {
    printf '%s to put right first; nothing was created.\n' "$problems" >&2
    exit 1
}
base_subscription=$(printf '%s' "$base" | cut -d/ -f3 | tr '[:upper:]' '[:lower:]')

# 2. What the policy says. Without a way to read YAML it stays unread: a guess would be worse.
wanted='' kind='' group='' identity_subscription=''
if said=$(read_policy); then
    if [ "$(printf '%s\n' "$said" | sed -n 1p)" = read ]; then
        wanted=$(printf '%s\n' "$said" | sed -n 2p)
        kind=$(printf '%s\n' "$said" | sed -n 3p)
        group=$(printf '%s\n' "$said" | sed -n 4p)
        identity_subscription=$(printf '%s\n' "$said" | sed -n 5p)
        identity_subscription=${identity_subscription:-$base_subscription}
    else
        bad "the policy cannot be read: $(printf '%s' "$said" | tr '\n' ' ')" "mend $policy; it needs baseRegistry and identity with its type"
    fi
else
    note "the policy was not read, as no python3 with PyYAML was found: whether it names this base registry, and the resource group of the fleet's identity, are not checked"
fi

# 3. Resource providers, where something of theirs is made.
before=$problems
check_providers "$target" Microsoft.Web Microsoft.Storage Microsoft.ManagedIdentity Microsoft.Insights \
    Microsoft.OperationalInsights Microsoft.EventGrid
# The subnet of the app is delegated to Microsoft.App.
[ "$private" != true ] || check_providers "$target" Microsoft.Network Microsoft.App
for one in $(subscription_ids "$base_subscription,$typed"); do
    check_providers "$one" Microsoft.ContainerRegistry Microsoft.EventGrid Microsoft.Insights
done
[ "$kind" != UserAssigned ] || [ -z "$identity_subscription" ] || check_providers "$identity_subscription" Microsoft.ManagedIdentity
[ "$problems" -ne "$before" ] || good "resource providers are registered"

# 4. The base registry, and what the policy says of it.
if [ -n "$base" ]; then
    if az resource show --ids "$base" --query id --output tsv >/dev/null 2>&1; then
        good "the base registry exists"
        check_rights "$base" "the base registry"
    else
        bad "the base registry $base does not exist, or you may not read it" \
            "az acr show --name <name> --query id tells the id"
    fi
fi
if [ -n "$base" ] && [ -n "$wanted" ]; then
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
        printf '%s\n' "$teams" | grep -qx "$base_subscription" ||
            bad "the policy names the base registry by name, but its subscription is none of the team subscriptions" \
                "write its ARM id in policy/rebuilds.yaml: baseRegistry: $base"
        ;;
    esac
fi
if [ -n "$group" ] && [ -n "$identity_subscription" ]; then
    if [ "$(az group exists --subscription "$identity_subscription" --name "$group" 2>/dev/null)" = true ]; then
        good "the resource group of the fleet's identity exists"
        check_rights "/subscriptions/$identity_subscription/resourceGroups/$group" "the resource group of the fleet's identity"
    else
        bad "the resource group $group of the fleet's identity does not exist in subscription $identity_subscription" \
            "az group create --subscription $identity_subscription --name $group --location <region>, or change identity in policy/rebuilds.yaml"
    fi
fi
for team in $teams; do
    check_rights "/subscriptions/$team" "team subscription $team"
done

if [ "$problems" -gt 0 ]; then
    printf '%s to put right first; nothing was created.\n' "$problems" >&2
    exit 1
fi
