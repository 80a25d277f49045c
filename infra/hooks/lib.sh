# shellcheck shell=sh
# What the hooks and infra/smoke share. It is read by them, not run; each says where infra/ lies.
: "${infra:?}"

# Git Bash makes paths of Windows out of arguments such as /subscriptions/…: https://github.com/Azure/azure-cli/issues/16317
export MSYS_NO_PATHCONV=1

# Outputs of main.bicep; without azd, what they were made of.
: "${DEPLOYED_LOCATION:=${AZURE_LOCATION:-}}"
: "${DEPLOYED_BASE_REGISTRY_ID:=${BASE_REGISTRY_ID:-}}"
: "${DEPLOYED_TEAM_SUBSCRIPTION_IDS:=${TEAM_SUBSCRIPTION_IDS:-}}"
: "${DEPLOYED_GRANT_PUSH:=${GRANT_PUSH:-}}"

fail() { # what is wrong, what to do …
    printf '✗ %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  → %s\n' "$line" >&2; done
    exit 1
}

az() { # the program, without the carriage returns that it writes on Windows
    az_status=0
    az_said=$(command az "$@") || az_status=$?
    [ -z "$az_said" ] || printf '%s\n' "$az_said" | tr -d '\r'
    return $az_status
}

need_az() {
    command az account show >/dev/null 2>&1
    case $? in
    0) ;;
    127) fail "the Azure CLI (az) is missing" "https://learn.microsoft.com/cli/azure/install-azure-cli" ;;
    *) fail "the Azure CLI is not logged in" "az login (azd auth login is a login of its own)" ;;
    esac
}

missing() { # names of variables …: prints those that are not set
    for name in "$@"; do
        eval "[ -n \"\${$name:-}\" ]" || printf ' %s' "$name"
    done
}

need() { # names of variables …
    absent=$(missing "$@")
    [ -z "$absent" ] || fail "not set:$absent" "azd env get-values lists them; docs/deployment.md says how to find them without azd"
}

subscription_ids() { # a list separated by commas: prints each id once, in lower case, as infra/modules/ids.bicep reads it
    printf '%s\n' "$1" | tr ',[:upper:]' '\n[:lower:]' | tr -d ' \t\r' | awk 'NF && !seen[$0]++'
}

# The app's name ends in what subscription, environment and region make of it. A deployment's name needs the region,
# which cannot change under it, and has 64 characters at most.
deployment_name() { # what is deployed
    printf 'groundswell-%s-%s' "$1" "${AZURE_FUNCTION_APP_ID##*-}"
}

deploy() { # what (access or events), tries, seconds between them, parameters …: fails with the last try
    what=$1 tries=$2 pause=$3 try=1
    shift 3
    # Both files are deployed to the app's subscription and reach into others from there.
    until az deployment sub create --subscription "$(printf '%s' "$AZURE_FUNCTION_APP_ID" | cut -d/ -f3)" --output none \
        --location "$DEPLOYED_LOCATION" --name "$(deployment_name "$what")" --template-file "$infra/$what.bicep" \
        --parameters "$@"; do
        [ "$try" -lt "$tries" ] || return 1
        printf '  – try %s of %s was refused, as above; the next one in %s s (Ctrl-C ends it)\n' "$try" "$tries" "$pause" >&2
        try=$((try + 1))
        sleep "$pause"
    done
}
