"""Azure's answers become permanent or temporary failures, with words that a person can act on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from azure.core import AsyncPipelineClient
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import ContentDecodePolicy, HeadersPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.mgmt.core.exceptions import ARMErrorFormat

from shared.adapters import answers as table
from shared.adapters.answers import Verdict
from shared.adapters.azure_errors import code_of, from_azure, is_missing
from shared.domain.errors import GroundswellError, NotFound, NotPermitted, Patience, PermanentError, TemporaryError

TOKEN = "eyJ0eXAiOiJKV1QifQ.c2VjcmV0"


class Answers:
    """A server that gives one answer to everything, and the SDK's error for it."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"{}", dict[str, str]()
        self.url, self.authorization = "", ""

    async def handle(self, request: web.Request) -> web.Response:
        self.authorization = request.headers["Authorization"]
        return web.Response(status=self.status, body=self.body, headers=self.headers, content_type="application/json")

    async def error(self, status: int, body: object = None, **headers: str) -> HttpResponseError:
        """Send a request as the SDKs do; return what they raise for this answer."""
        self.status, self.headers = status, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        policies = [HeadersPolicy({"Authorization": f"Bearer {TOKEN}"}), ContentDecodePolicy()]
        client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(self.url, policies=policies)
        async with client:
            try:
                response = await client.send_request(HttpRequest("GET", self.url))
            except HttpResponseError as error:
                return error
            return HttpResponseError(response=response, error_format=ARMErrorFormat)


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    answers = Answers()
    app = web.Application()
    app.router.add_get("/", answers.handle)
    server = web.AppRunner(app)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    answers.url = "http://{}:{}/".format(*server.addresses[0])
    yield answers
    await server.cleanup()


def arm(code: str, message: str = "What happened.") -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidInputValue", PermanentError),
        (400, "TasksOperationsNotAllowed", PermanentError),
        (401, "SomethingNew", NotPermitted),
        (403, "AuthorizationFailed", NotPermitted),
        (404, "ResourceNotFound", NotFound),
        (405, "MethodNotAllowed", PermanentError),
        (408, "RequestTimeout", TemporaryError),
        (409, "Conflict", TemporaryError),
        (412, "PreconditionFailed", TemporaryError),
        (423, "Locked", TemporaryError),
        (429, "ResourceRequestsThrottled", TemporaryError),
        (429, "OperationNotAllowed", TemporaryError),
        (503, "ScopeLocked", TemporaryError),
        (500, "InternalServerError", TemporaryError),
        (502, "BadGateway", TemporaryError),
        (503, "ServiceUnavailable", TemporaryError),
        (504, "GatewayTimeout", TemporaryError),
    ],
)
async def test_status_decides_whether_trying_again_may_help(
    status: int, code: str, kind: type[GroundswellError], answers: Answers
) -> None:
    error = await answers.error(status, arm(code))

    turned = from_azure(error, "read task helloworldtask of myregistry")

    assert type(turned) is kind
    assert str(turned).startswith(f"Could not read task helloworldtask of myregistry: {status} {code}: What happened.")
    assert code_of(error) == code


ROLE = "infra/app-roles.json"


@pytest.mark.parametrize(
    ("status", "code", "kind", "patience", "advice"),
    [
        (403, "AuthorizationFailed", NotPermitted, Patience.SETTLING, ROLE),
        (403, "LinkedAuthorizationFailed", NotPermitted, Patience.SETTLING, ROLE),
        (403, "AuthorizationPermissionMismatch", NotPermitted, Patience.SETTLING, ROLE),
        (403, "SomethingNew", NotPermitted, Patience.SETTLING, "If Azure's words do not say otherwise"),
        (401, "SomethingNew", NotPermitted, Patience.SETTLING, "If Azure's words do not say otherwise"),
        (403, "DENIED", NotPermitted, Patience.SETTLING, "infra/app-roles.json"),
        (403, "RequestDisallowedByPolicy", PermanentError, Patience.NONE, "tags in policy/rebuilds.yaml"),
        (403, "requestdisallowedbypolicy", PermanentError, Patience.NONE, "tags in policy/rebuilds.yaml"),
        (403, "DenyAssignmentAuthorizationFailed", PermanentError, Patience.NONE, "deny assignment"),
        (409, "ScopeLocked", PermanentError, Patience.NONE, "Remove the lock"),
        (403, "ScopeLocked", PermanentError, Patience.NONE, "Remove the lock"),
        (409, "ReadOnlyDisabledSubscription", PermanentError, Patience.NONE, "enabled again"),
        (403, "ReadOnlyDisabledSubscription", PermanentError, Patience.NONE, "enabled again"),
        (404, "SubscriptionNotFound", PermanentError, Patience.SETTLING, "GROUNDSWELL_SUBSCRIPTIONS"),
        (409, "MissingSubscriptionRegistration", PermanentError, Patience.SETTLING, "az provider register"),
        (400, "SubscriptionNotRegistered", PermanentError, Patience.SETTLING, "az provider register"),
        (404, "ResourceGroupNotFound", NotFound, Patience.NONE, ""),
        (404, "ParentResourceNotFound", NotFound, Patience.NONE, ""),
        (409, "ResourceGroupBeingDeleted", PermanentError, Patience.NONE, "create it again"),
        (400, "PrincipalNotFound", TemporaryError, Patience.HOUR, "directory does not know the identity"),
        (400, "FailedIdentityOperation", TemporaryError, Patience.HOUR, "does not find the identity"),
        (400, "PrincipalTypeNotSupported", PermanentError, Patience.NONE, "no managed identity"),
        (400, "RoleAssignmentLimitExceeded", PermanentError, Patience.NONE, "4,000"),
        (401, "InvalidAuthenticationTokenTenant", PermanentError, Patience.HOUR, "another tenant"),
        (401, "InvalidAuthenticationToken", PermanentError, Patience.SETTLING, "GROUNDSWELL_ARM_ENDPOINT"),
        (401, "ExpiredAuthenticationToken", TemporaryError, Patience.HOUR, ""),
        (409, "AnotherOperationInProgress", TemporaryError, Patience.DAY, ""),
        (409, "Conflict", TemporaryError, Patience.HOUR, ""),
        (409, "OperationNotAllowed", PermanentError, Patience.NONE, "quota"),
        (403, "QuotaExceeded", PermanentError, Patience.NONE, "quota"),
        (409, "NameNotAvailable", PermanentError, Patience.NONE, "another name"),
        (400, "TasksOperationsNotAllowed", PermanentError, Patience.NONE, "support"),
        (500, "InternalServerError", TemporaryError, Patience.DAY, ""),
    ],
)
async def test_status_and_code_say_for_how_long_to_try_again_and_what_to_do(
    status: int, code: str, kind: type[GroundswellError], patience: Patience, advice: str, answers: Answers
) -> None:
    turned = from_azure(await answers.error(status, arm(code)), "write task x")

    assert (type(turned), turned.patience) == (kind, patience)
    assert advice in str(turned)
    assert (ROLE in str(turned)) == (kind is NotPermitted)


async def test_code_that_is_known_counts_wherever_it_stands_in_the_answer(answers: Answers) -> None:
    inner = {"code": "BadRequest", "details": [{"code": "ScopeLocked", "message": "It is locked."}]}
    body = {"error": {"code": "Conflicted", "message": "It failed.", "details": [inner]}}

    assert "Remove the lock" in str(from_azure(await answers.error(409, body), "write task x"))


ASSIGNMENT = (
    "/providers/Microsoft.Management/managementGroups/corp/providers/Microsoft.Authorization/policyAssignments/t1"
)


@pytest.mark.parametrize(
    "error",
    [
        {
            "message": 'Resource \'x\' was disallowed by policy. Policy identifiers: \'[{"policyAssignment":{"name":'
            f'"Tags for all","id":"{ASSIGNMENT}"}},"policyDefinition":{{"name":"Tags","id":"/d"}}}}]\'.'
        },
        {
            "message": "Resource 'x' was disallowed by policy. See error details for policy resource IDs.",
            "additionalInfo": [
                {
                    "type": "PolicyViolation",
                    "info": {"policyAssignmentDisplayName": "Tags for all", "policyAssignmentId": ASSIGNMENT},
                }
            ],
        },
        {"message": "word " * 500, "additionalInfo": [{"info": {"policyAssignmentId": ASSIGNMENT}}, None, {"info": 1}]},
    ],
    ids=["in-the-message", "in-the-details", "after-many-words"],
)
async def test_azure_policy_is_named_by_its_assignment(error: dict[str, object], answers: Answers) -> None:
    body = {"error": {"code": "RequestDisallowedByPolicy", "target": "x", **error}}
    turned = from_azure(await answers.error(403, body), "write task x")

    name = "t1" if "word" in str(error) else "Tags for all"
    assert f"Azure Policy assignment: {name} ({ASSIGNMENT})." in str(turned)
    assert ROLE not in str(turned)


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("ResourceNotFound", True),
        ("TAG_UNKNOWN", True),
        ("SubscriptionNotFound", False),
        ("InvalidResourceType", False),
    ],
)
async def test_not_every_404_says_that_something_is_missing(code: str, missing: bool, answers: Answers) -> None:
    assert is_missing(await answers.error(404, arm(code))) is missing


def test_every_row_says_where_it_is_documented_and_what_to_do() -> None:
    rows = [*table._CODES.values(), *table._STATUSES.values(), *(meaning for _, meaning in table._SIGN_INS)]
    assert all(row.source.startswith("https://") for row in rows)
    assert all(row.advice.endswith(".") for row in rows if row.verdict in (Verdict.REFUSED, Verdict.DENIED))


async def test_what_azure_says_is_said_once(answers: Answers) -> None:
    turned = from_azure(await answers.error(400, arm("Odd", "It is\r\n  odd.")), "write task x")

    assert str(turned) == "Could not write task x: 400 Odd: It is odd."


async def test_refusal_says_where_the_missing_role_is_named(answers: Answers) -> None:
    turned = from_azure(await answers.error(403, arm("AuthorizationFailed")), "assign AcrPull")

    assert "infra/app-roles.json" in str(turned)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("17", 17.0), ("0", 0.0), ("-5", 0.0), ("1.5", 1.5), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("soon", None)],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_delay_that_azure_asks_for_is_kept(
    status: int, header: str, seconds: float | None, answers: Answers
) -> None:
    turned = from_azure(await answers.error(status, arm("Busy"), **{"Retry-After": header}), "start a run")

    assert isinstance(turned, TemporaryError)
    assert turned.retry_after == seconds


async def test_without_a_wish_of_azures_there_is_no_delay(answers: Answers) -> None:
    turned = from_azure(await answers.error(429, arm("Busy")), "start a run")

    assert isinstance(turned, TemporaryError)
    assert turned.retry_after is None


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"{}", b"[]", b'{"error": "odd"}', b"\xff"])
@pytest.mark.parametrize(("status", "kind"), [(403, NotPermitted), (404, NotFound), (502, TemporaryError)])
async def test_error_without_arms_body_is_judged_by_its_status(
    status: int, kind: type[GroundswellError], body: bytes, answers: Answers
) -> None:
    error = await answers.error(status, body)

    assert type(from_azure(error, "read x")) is kind
    assert str(status) in str(from_azure(error, "read x"))
    assert code_of(error) == ""


async def test_success_that_cannot_be_read_may_be_tried_again(answers: Answers) -> None:
    error = await answers.error(200, b'{"id": "/subscr')

    assert isinstance(from_azure(error, "read registry myregistry"), TemporaryError)


@pytest.mark.parametrize(
    "error",
    [
        ServiceRequestError("Cannot connect to host management.azure.com:443"),
        ServiceResponseError("Connection reset by peer"),
        IncompleteReadError("Connection closed"),
        HttpResponseError("No response"),
        AzureError("Something\nelse"),
    ],
)
def test_no_answer_may_be_tried_again(error: AzureError) -> None:
    turned = from_azure(error, "list the registries")

    assert isinstance(turned, TemporaryError)
    assert turned.retry_after is None
    assert str(turned) == f"Could not list the registries: no usable answer ({' '.join(error.message.split())})."


@pytest.mark.parametrize(
    ("said", "kind", "patience", "advice"),
    [
        ("ManagedIdentityCredential: no endpoint", TemporaryError, Patience.HOUR, ""),
        ("No User Assigned or Delegated Managed Identity found for specified ClientId", PermanentError,
         Patience.SETTLING, "AZURE_CLIENT_ID"),
        ("AADSTS700016: Application with identifier 'x' was not found", PermanentError, Patience.SETTLING,
         "AZURE_CLIENT_ID"),
        ("AADSTS500011: The resource principal named y was not found", PermanentError, Patience.SETTLING,
         "GROUNDSWELL_REGISTRY_AUDIENCE"),
        ("AADSTS7000222: The provided client secret keys are expired.", PermanentError, Patience.NONE, "renew"),
        ("AADSTS53003: Access has been blocked by Conditional Access policies.", PermanentError, Patience.NONE,
         "Conditional access"),
        ("AADSTS90033: A transient error has occurred.", TemporaryError, Patience.DAY, ""),
        ("AADSTS123456: Something new.", TemporaryError, Patience.HOUR, ""),
    ],
)  # fmt: skip
def test_missing_token_says_what_is_wrong_with_the_identity(
    said: str, kind: type[GroundswellError], patience: Patience, advice: str
) -> None:
    turned = from_azure(ClientAuthenticationError(said), "list the registries")

    assert (type(turned), turned.patience) == (kind, patience)
    assert f"no token for the app's identity ({said})" in str(turned)
    assert advice in str(turned)
    assert ROLE not in str(turned)


def test_missing_token_says_that_the_identity_is_at_fault() -> None:
    turned = from_azure(ClientAuthenticationError("ManagedIdentityCredential: no endpoint"), "list the registries")

    assert isinstance(turned, TemporaryError)
    assert "no token for the app's identity (ManagedIdentityCredential: no endpoint)" in str(turned)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_token_of_the_request_is_never_repeated(status: int, answers: Answers) -> None:
    error = await answers.error(status, arm("Odd"), **{"WWW-Authenticate": 'Bearer error="invalid_token"'})

    assert TOKEN in answers.authorization
    assert TOKEN not in str(from_azure(error, "read x"))


async def test_long_words_of_azure_are_cut(answers: Answers) -> None:
    assert len(str(from_azure(await answers.error(400, arm("Odd", "word " * 500)), "read x"))) < 800
