"""What Azure's refusals mean: one table by status and code. Pure data and look-ups.

Each row says whether it passes by itself or a person must act, for how long to try again all the same, what to do,
and where that is documented. Everything that fails asks this table (through `shared.adapters.azure_errors`): whether a
queue message goes back or is set aside, and how an HTTP request is answered.

A code that is not here falls back on its status, cautiously: it is tried again only as long as that does little harm,
and its advice claims nothing that Azure did not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from shared.domain.errors import Patience

_LEARN = "https://learn.microsoft.com"
_ERRORS = f"{_LEARN}/azure/azure-resource-manager/troubleshooting/common-deployment-errors"
_REGISTRATION = f"{_LEARN}/azure/azure-resource-manager/troubleshooting/error-register-resource-provider"
_AZURE_POLICY = f"{_LEARN}/azure/azure-resource-manager/troubleshooting/error-policy-requestdisallowedbypolicy"
_QUOTA = f"{_LEARN}/azure/azure-resource-manager/troubleshooting/error-resource-quota"
_LOCKS = f"{_LEARN}/azure/azure-resource-manager/management/lock-resources"
_DISABLED = f"{_LEARN}/azure/cost-management-billing/manage/subscription-disabled"
_RBAC = f"{_LEARN}/azure/role-based-access-control/troubleshooting"
_RBAC_LIMITS = f"{_LEARN}/azure/role-based-access-control/troubleshoot-limits"
_DENY = f"{_LEARN}/azure/role-based-access-control/deny-assignments"
_STORAGE = f"{_LEARN}/rest/api/storageservices/common-rest-api-error-codes"
_ENTRA = f"{_LEARN}/entra/identity-platform/reference-error-codes"
_IDENTITY = "https://aka.ms/azsdk/python/identity/managedidentitycredential/troubleshoot"
_RETRIES = f"{_LEARN}/python/api/azure-core/azure.core.pipeline.policies.retrypolicy"
_THROTTLING = f"{_LEARN}/azure/azure-resource-manager/management/request-limits-and-throttling"
_RPC = "https://github.com/Azure/azure-resource-manager-rpc/blob/master/v1.0/common-api-details.md"


class Verdict(Enum):
    """Who can change it."""

    PASSES = "it passes by itself"
    REFUSED = "a person must act"
    DENIED = "a person must act: a right is missing"
    MISSING = "what was asked for does not exist"


@dataclass(frozen=True)
class Meaning:
    """What an answer means.

    Attributes:
        advice: What to do, for people; "" where Azure's own words say it.
        source: Where it is documented or on record.
    """

    verdict: Verdict
    patience: Patience
    advice: str
    source: str


def _passes(source: str, advice: str = "", patience: Patience = Patience.DAY) -> Meaning:
    return Meaning(Verdict.PASSES, patience, advice, source)


def _refused(source: str, advice: str, patience: Patience = Patience.NONE) -> Meaning:
    return Meaning(Verdict.REFUSED, patience, advice, source)


def _denied(source: str, advice: str, patience: Patience = Patience.SETTLING) -> Meaning:
    return Meaning(Verdict.DENIED, patience, advice, source)


def _missing(source: str, advice: str = "") -> Meaning:
    return Meaning(Verdict.MISSING, Patience.NONE, advice, source)


_ROLE = (
    "Give the app's identity the role named in infra/app-roles.json for this scope; "
    "one that was given a moment ago takes up to ten minutes to work."
)
_PROVIDER = "Register that resource provider in the subscription (az provider register), and wait some minutes."
_CLOUD = "Check that GROUNDSWELL_ARM_ENDPOINT and AZURE_AUTHORITY_HOST name the cloud of this subscription."
_APP_IDENTITY = (
    "Assign the identity whose client id AZURE_CLIENT_ID holds to the app; leave the setting empty for the app's "
    "system-assigned identity."
)

_CODES: dict[str, Meaning] = {
    code.lower(): meaning
    for codes, meaning in (
        # -- rights ----------------------------------------------------------------------------------------------------
        # ARM cannot tell a role that is missing from one that does not work yet: "If access was recently granted …".
        ("AuthorizationFailed", _denied(_RBAC, _ROLE)),
        ("LinkedAuthorizationFailed", _denied(_ERRORS, f"{_ROLE} Check that the linked resource exists.")),
        ("DenyAssignmentAuthorizationFailed", _refused(
            _DENY, "A deny assignment forbids it, and no role overrides that: have the app's identity excluded.")),
        # -- Azure Policy, locks, subscriptions ------------------------------------------------------------------------
        ("RequestDisallowedByPolicy", _refused(
            _AZURE_POLICY, "If the policy demands tags, set them under tags in policy/rebuilds.yaml; "
            "otherwise have the resource exempted or the assignment changed.")),
        ("RequestDisallowedByAzure", _refused(
            "https://github.com/microsoft/foundry-toolkit/issues/649",
            "Azure does not allow this in the region: ask its support.")),
        ("ScopeLocked", _refused(
            # https://github.com/Azure/azure-sdk-for-java/issues/2560: 409, also for a POST that only reads.
            _LOCKS, "Remove the lock from the scope that is named: ReadOnly forbids task writes, grants and runs.")),
        ("ReadOnlyDisabledSubscription", _refused(
            # Wording and code: https://github.com/microsoft/vscode-azureappservice/issues/1646.
            _DISABLED, "Have the subscription enabled again, or take it out of GROUNDSWELL_SUBSCRIPTIONS.")),
        ("DisallowedOperation", _refused(
            "https://github.com/SpecterOps/AzureHound/issues/65",
            "A subscription of this kind holds no resources: take it out of GROUNDSWELL_SUBSCRIPTIONS.")),
        ("SubscriptionNotFound InvalidSubscriptionId", _refused(
            # Also what a caller sees who holds no role in the subscription (yet).
            _ERRORS, "Check the id in GROUNDSWELL_SUBSCRIPTIONS or the policy, and that the app's identity holds its "
            "roles there; one that was given a moment ago takes up to ten minutes to work.", Patience.SETTLING)),
        ("MissingSubscriptionRegistration SubscriptionNotRegistered NoRegisteredProviderFound "
         "InvalidSubscriptionRegistrationState MissingRegistrationForLocation", _refused(
            _REGISTRATION, _PROVIDER, Patience.SETTLING)),
        ("InvalidResourceType InvalidResourceNamespace", _refused(
            _ERRORS, f"This cloud does not know the resource type. {_CLOUD}")),
        # -- what is not there -----------------------------------------------------------------------------------------
        ("ResourceNotFound ParentResourceNotFound NotFound", _missing(_ERRORS)),
        ("ResourceGroupNotFound", _missing(_ERRORS)),
        ("ResourceGroupBeingDeleted", _refused(_ERRORS, "The resource group is being deleted: create it again.")),
        ("LinkedInvalidPropertyId", _refused(_ERRORS, "The id of a linked resource in the policy is wrong.")),
        # -- role assignments and identities ---------------------------------------------------------------------------
        ("PrincipalNotFound", _passes(
            _RBAC, "The directory does not know the identity yet, or it was deleted.", Patience.HOUR)),
        ("FailedIdentityOperation", _passes(
            "https://github.com/Azure/azure-policy/issues/1311",
            "Azure does not find the identity yet, or it was deleted.", Patience.HOUR)),
        ("PrincipalTypeNotSupported UnmatchedPrincipalType", _refused(
            "https://github.com/MicrosoftDocs/azure-dev-docs/issues/717",
            "What the task runs as is no managed identity: let identity in the policy name one.")),
        ("RoleAssignmentLimitExceeded", _refused(
            _RBAC_LIMITS, "The subscription has all its 4,000 role assignments: delete some that nobody needs, or let "
            "the policy name one user-assigned identity for all.")),
        ("RoleAssignmentUpdateNotPermitted", _refused(
            _RBAC, "A role assignment of this name exists for somebody else: delete it.")),
        ("RoleDefinitionDoesNotExist InvalidRoleDefinitionId", _refused(
            "https://github.com/Azure/azure-cli/issues/21961", f"The role does not exist in this cloud. {_CLOUD}")),
        # -- tokens ----------------------------------------------------------------------------------------------------
        ("ExpiredAuthenticationToken", _passes(_ERRORS, patience=Patience.HOUR)),
        ("InvalidAuthenticationToken AuthenticationFailed InvalidAuthenticationTokenAudience", _refused(
            "https://github.com/JetBrains/azure-tools-for-intellij/issues/16",
            f"Azure does not accept the token of the app's identity. {_CLOUD}", Patience.SETTLING)),
        ("InvalidAuthenticationTokenTenant", _refused(
            # "could take time to propagate (up to an hour)": https://github.com/Azure/BatchExplorer/issues/2052.
            _ERRORS, "The subscription belongs to another tenant than the app's identity: take it out of "
            "GROUNDSWELL_SUBSCRIPTIONS and deploy an app of its own there.", Patience.HOUR)),
        # -- conflicts, quotas, names ----------------------------------------------------------------------------------
        ("AnotherOperationInProgress", _passes(_ERRORS)),
        ("OperationNotAllowed", _refused(_ERRORS, "The registry's SKU or a quota does not allow it.")),
        ("QuotaExceeded ResourceQuotaExceeded", _refused(_QUOTA, "Have the quota raised.")),
        ("NameNotAvailable AlreadyInUse AlreadyExists", _refused(
            f"{_LEARN}/rest/api/containerregistry/registries/check-name-availability",
            "Give it another name in the policy.")),
        ("PropertyChangeNotAllowed InvalidResourceLocation", _refused(
            _ERRORS, "What is there under this name cannot be changed into what the policy wants: delete it.")),
        ("TasksOperationsNotAllowed", _refused(
            "https://github.com/Azure-Samples/azure-search-openai-demo/issues/2220", "The subscription may not run ACR "
            "Tasks (those with free credit may not): ask Azure's support to allow it.")),
        ("TooManyRequests SubscriptionRequestsThrottled TenantRequestsThrottled ResourceRequestsThrottled",
         _passes(_THROTTLING)),
        # -- the registry's own answers --------------------------------------------------------------------------------
        ("DENIED UNAUTHORIZED", _denied("https://aka.ms/acr/authorization", _ROLE)),
        # -- the app's storage -----------------------------------------------------------------------------------------
        ("AuthorizationPermissionMismatch InsufficientAccountPermissions", _denied(_STORAGE, _ROLE)),
        ("AuthorizationFailure", _refused(
            _STORAGE, "The storage account's firewall keeps the app out: let it in.", Patience.SETTLING)),
        ("AccountIsDisabled", _refused(_DISABLED, "Have the subscription of the storage account enabled again.")),
        ("KeyBasedAuthenticationNotPermitted", _refused(
            _STORAGE, "Reach the storage account with the app's identity: AzureWebJobsStorage__accountName.")),
        ("AccountBeingCreated QueueBeingDeleted TableBeingDeleted ServerBusy OperationTimedOut", _passes(_STORAGE)),
    )
    for code in codes.split()
}  # fmt: skip

_STATUSES: dict[int, Meaning] = {
    # For a role that does not work yet some services answer 401.
    401: _denied(_RBAC, "If Azure's words do not say otherwise: " + _ROLE),
    403: _denied(_RBAC, "If Azure's words do not say otherwise: " + _ROLE),
    404: _missing(_RPC),
    408: _passes(_RETRIES),
    # Most conflicts pass within minutes; one that does not is for a person.
    409: _passes(_RPC, patience=Patience.HOUR),
    412: _passes(_RPC, patience=Patience.HOUR),
    423: _passes(_RPC, patience=Patience.HOUR),
    425: _passes(_RPC, patience=Patience.HOUR),
    429: _passes(_THROTTLING),
}
_FIREWALL = "https://aka.ms/acr/firewall"
_FIREWALLED = _refused(
    _FIREWALL,
    "Let the app's address through the registry's firewall, or lead a private endpoint there: docs/deployment.md, "
    '"A registry behind a firewall".',
)
_SERVER = _passes(_RETRIES)
_OTHER = _refused(_RPC, "")
NO_ANSWER = _passes(_RETRIES)
"""What it means that there was no answer, or none that could be read."""

# No token for the app's identity. Entra's numbers may change, as its reference says: those that are not here fall back
# on trying for an hour.
_SIGN_INS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"temporarily_unavailable|server_error|AADSTS(50033|50087|90006|90012|90024|90033|90055)\b", _passes(_ENTRA)),
        # https://github.com/Azure-Samples/azure-search-openai-demo/issues/2148
        (r"No (User Assigned or Delegated )?(Managed Identity|MSI) found|Identity not found|"
         r"Unable to load the proper Managed Identity", _refused(_IDENTITY, _APP_IDENTITY, Patience.SETTLING)),
        (r"AADSTS(700016|70001|7000112|700213|70021)\b", _refused(
            _ENTRA, f"Entra does not know the app's identity, or it is disabled. {_APP_IDENTITY}", Patience.SETTLING)),
        (r"AADSTS(90002|50001|500011|70011)\b", _refused(
            _ENTRA, f"Entra does not know the tenant or what the token is for. {_CLOUD} So must "
            "GROUNDSWELL_REGISTRY_AUDIENCE.", Patience.SETTLING)),
        (r"AADSTS(70002|7000215|7000222|50012)\b", _refused(
            _ENTRA, "The credential of the app's identity is wrong or has run out: renew it.")),
        (r"AADSTS(53003|50105|65001)\b", _refused(
            _ENTRA, "Conditional access or consent keeps the app's identity out: have it let in.")),
    )
)  # fmt: skip
_NO_TOKEN = _passes(_IDENTITY, patience=Patience.HOUR)


def meaning_of(status: int, codes: Iterable[str] = (), said: str = "") -> Meaning:
    """Return what an answer means.

    Args:
        status: HTTP status; below 400 for an operation that was accepted and failed later.
        codes: Azure's codes, the outermost first: the first that the table knows counts.
        said: The answer's text: a registry has one code for its firewall and for a missing right.
    """
    # Whatever code comes with them, these say that the moment was wrong, not the request.
    if status in (408, 425, 429):
        return _STATUSES[status]
    if status >= 500:
        return _SERVER
    if status == 403 and _FIREWALL in said:
        return _FIREWALLED
    known = next((_CODES[code.lower()] for code in codes if code.lower() in _CODES), None)
    if known:
        return known
    return NO_ANSWER if status < 400 else _STATUSES.get(status, _OTHER)


def meaning_of_sign_in(text: str) -> Meaning:
    """Return what it means that there was no token for the app's identity, by what the credentials said."""
    return next((meaning for pattern, meaning in _SIGN_INS if pattern.search(text)), _NO_TOKEN)
