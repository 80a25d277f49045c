#!/bin/sh
# Gives the app its rights on the base registry, in the team subscriptions and where the fleet's identity lives
# (infra/access.bicep). azd runs it after each provision; it can be repeated at any time, and by hand:
#   azd hooks run postprovision
# Without azd, it reads the same values from the environment (they are outputs of infra/main.bicep):
#   AZURE_ENV_NAME AZURE_LOCATION AZURE_FUNCTION_APP_ID APP_PRINCIPAL_ID BASE_REGISTRY_ID TEAM_SUBSCRIPTION_IDS GRANT_PUSH
# It needs the Azure CLI, logged in as somebody who may assign roles there.
set -u
infra=$(cd "$(dirname "$0")/.." && pwd)

fail() { # what is wrong, what to do …
    printf '✗ %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  → %s\n' "$line" >&2; done
    exit 1
}

missing=
for name in AZURE_ENV_NAME AZURE_LOCATION AZURE_FUNCTION_APP_ID APP_PRINCIPAL_ID BASE_REGISTRY_ID TEAM_SUBSCRIPTION_IDS GRANT_PUSH; do
    eval "[ -n \"\${$name:-}\" ]" || missing="$missing $name"
done
[ -z "$missing" ] || fail "not set:$missing" "azd env get-values lists them; docs/deployment.md says how to find them without azd"
command -v az >/dev/null 2>&1 || fail "the Azure CLI (az) is missing" "https://learn.microsoft.com/cli/azure/install-azure-cli"
az account show >/dev/null 2>&1 || fail "the Azure CLI is not logged in" "az login"

# An identity that was made a moment ago is not known everywhere yet.
tries=0
until az deployment sub create --subscription "$(printf '%s' "$AZURE_FUNCTION_APP_ID" | cut -d/ -f3)" \
    --location "$AZURE_LOCATION" --name "groundswell-access-$AZURE_ENV_NAME" --template-file "$infra/access.bicep" \
    --output none --parameters principalId="$APP_PRINCIPAL_ID" baseRegistryId="$BASE_REGISTRY_ID" \
    teamSubscriptionIds="$TEAM_SUBSCRIPTION_IDS" grantPush="$GRANT_PUSH"; do
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || fail "the app did not get its rights" \
        "read the error above; you must be allowed to assign roles on the base registry and in the team subscriptions" \
        "then repeat: azd hooks run postprovision, or $0"
    sleep "${RETRY_SECONDS:-30}"
done
printf '  ✓ the app has its rights (infra/app-roles.json)\n'
