#!/bin/sh
# Gives the app its rights on the base registry, in the team subscriptions and where the fleet's identity lives
# (infra/access.bicep). azd runs it after each provision; it can be repeated at any time, and by hand:
#   azd hooks run postprovision
# Without azd, it reads from the environment what infra/main.bicep tells; docs/deployment.md says how to find it:
#   AZURE_FUNCTION_APP_ID APP_PRINCIPAL_ID AZURE_LOCATION BASE_REGISTRY_ID TEAM_SUBSCRIPTION_IDS GRANT_PUSH
# It needs the Azure CLI, logged in as somebody who may assign roles there.
set -u
infra=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=infra/hooks/lib.sh
. "$infra/hooks/lib.sh"

need AZURE_FUNCTION_APP_ID APP_PRINCIPAL_ID DEPLOYED_LOCATION DEPLOYED_BASE_REGISTRY_ID DEPLOYED_TEAM_SUBSCRIPTION_IDS \
    DEPLOYED_GRANT_PUSH
need_az

# An identity that was made a moment ago is not known everywhere yet.
deploy access 3 "${RETRY_SECONDS:-30}" principalId="$APP_PRINCIPAL_ID" baseRegistryId="$DEPLOYED_BASE_REGISTRY_ID" \
    teamSubscriptionIds="$DEPLOYED_TEAM_SUBSCRIPTION_IDS" grantPush="$DEPLOYED_GRANT_PUSH" || fail \
    "the app did not get its rights" \
    "read the error above; you must be allowed to assign roles on the base registry and in the team subscriptions" \
    "then repeat: azd hooks run postprovision, or $0"
printf '  ✓ the app has its rights (infra/app-roles.json)\n'
