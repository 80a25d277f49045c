"""What a run's log tells about its failure, and what follows from a refused login."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain import network
from shared.domain.conditions import Condition, Kind
from shared.domain.refusals import Judgement, Refusal, Refused, failure_line, judge, read

REFUSED = """\
2026/11/20 08:16:02 Alias support enabled for version >= 1.1.0, please see https://aka.ms/acr/tasks/task-aliases
2026/11/20 08:16:02 Creating Docker network: acb_default_network, driver: 'bridge'
failed to unmarshal task before running: failed to resolve secrets: failed to get ACR refresh token, \
exchange API response code: {code}
Run ID: cf10 failed after 3s. Error: failed during run, err: exit status 1
"""
DENIED_PULL = """\
2026/11/20 08:16:05 Launching container with name: build
Step 1/5 : FROM mybaseregistry.azurecr.io/baseimages/node:15-alpine
Error response from daemon: Get "https://mybaseregistry.azurecr.io/v2/baseimages/node/manifests/15-alpine": \
unauthorized: authentication required, visit https://aka.ms/acr/authorization for more information.
2026/11/20 08:16:07 Container failed during run: build. No retries remaining.
failed to run step ID: build: exit status 1

Run ID: cf11 failed after 5s. Error: failed during run, err: exit status 1
"""
FIREWALL = """\
2026/11/20 08:16:02 Logging in to registry: mybaseregistry.azurecr.io
failed to login, ran out of retries: failed to set docker credentials: Error response from daemon: \
Get "https://mybaseregistry.azurecr.io/v2/": denied: client with IP '203.0.113.9' is not allowed access. \
Refer https://aka.ms/acr/firewall to grant access.
: exit status 1
Run ID: cf12 failed after 5s. Error: failed during run, err: exit status 1
"""
DENIED_BY_FIREWALL_IN_A_STEP = """\
2026/11/20 08:16:02 Executing step ID: build. Timeout(sec): 600, Working directory: '', Network: ''
Step 1/5 : FROM other.azurecr.io/node:15
Head "https://other.azurecr.io/v2/node/manifests/15": denied: client with IP '203.0.113.9' is not allowed access. \
Refer https://aka.ms/acr/firewall to grant access.
2026/11/20 08:16:07 Container failed during run: build. No retries remaining.
failed to run step ID: build: exit status 1

Run ID: cf14 failed after 5s. Error: failed during run, err: exit status 1
"""
BROKEN_BUILD = """\
2026/11/20 08:16:05 Launching container with name: build
Step 4/5 : RUN npm install
The command '/bin/sh -c npm install' returned a non-zero code: 1
2026/11/20 08:19:21 Container failed during run: build. No retries remaining.
failed to run step ID: build: exit status 1

Run ID: cun failed after 49s. Error: failed during run, err: exit status 1
"""
SUCCEEDED = """\
2026/11/20 08:16:52 Successfully logged into mybaseregistry.azurecr.io
2026/11/20 08:17:10 Step ID: push marked as successful (elapsed time in seconds: 1.829038)

Run ID: cf13 was successful after 40s
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("code", "by"),
    [
        ("401", Refusal.TOKEN),
        ("401 Unauthorized", Refusal.TOKEN),
        ("403", Refusal.FORBIDDEN),
        ("403 Forbidden", Refusal.FORBIDDEN),
        ("403 Forbidden, see the log", Refusal.FORBIDDEN),
    ],
)
def test_refused_token_is_told_from_one_that_a_firewall_stopped(code: str, by: Refusal, ends: str) -> None:
    assert read(REFUSED.format(code=code).replace("\n", ends)) == Refused(by)


@pytest.mark.parametrize(
    ("line", "by"),
    [
        ("failed to resolve secrets: failed to get ACR refresh token, exchange API response code: 401", Refusal.TOKEN),
        ("exchange API response code: 403 Forbidden", Refusal.FORBIDDEN),
        ("Failed to get ACR refresh token: status 401", Refusal.TOKEN),
    ],
)
def test_refused_token_is_known_in_its_other_wordings(line: str, by: Refusal) -> None:
    assert read(line) == Refused(by)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("log", "host"),
    [
        (FIREWALL, "mybaseregistry.azurecr.io"),
        (FIREWALL.replace("mybaseregistry", "MyRegistry"), "myregistry.azurecr.io"),
        (DENIED_BY_FIREWALL_IN_A_STEP, "other.azurecr.io"),
        ("denied: client with IP '2001:db8::1' is not allowed access. Refer https://aka.ms/acr/firewall", ""),
    ],
)
def test_address_that_a_firewall_does_not_admit_is_told_with_the_registry(log: str, host: str, ends: str) -> None:
    assert read(log.replace("\n", ends)) == Refused(Refusal.FIREWALL, host)


LOGIN = "failed to login, ran out of retries: failed to set docker credentials: Error response from daemon: "
RESOLVE = "failed to unmarshal task before running: failed to resolve secrets: "


@pytest.mark.parametrize(
    "log",
    [
        "",
        DENIED_PULL,
        BROKEN_BUILD,
        SUCCEEDED,
        REFUSED.format(code="404 Not Found"),
        REFUSED.format(code="429 Too Many Requests"),
        REFUSED.format(code="500 Internal Server Error"),
        REFUSED.format(code="503 Service Unavailable; retry after 401 s"),
        "failed to get ACR refresh token\nnpm WARN deprecated: 401",
        "RUN curl https://example.com returned 401 Unauthorized",
        f'{LOGIN}Get "https://mybaseregistry.azurecr.io/v2/": unauthorized: authentication required',
        f'{LOGIN}Get "https://mybaseregistry.azurecr.io/v2/": unauthorized: Token expired (401)',
        f'{LOGIN}Get "https://nosuch.azurecr.io/v2/": dial tcp: lookup nosuch.azurecr.io: no such host',
        f'{LOGIN}Get "https://mybaseregistry.azurecr.io/v2/": x509: certificate signed by unknown authority',
        f'{LOGIN}Get "https://mybaseregistry.azurecr.io/v2/": net/http: TLS handshake timeout',
        f"{RESOLVE}unable to send the request to get ACR refresh token: Post "
        '"https://nosuch.azurecr.io/oauth2/exchange": dial tcp: lookup nosuch.azurecr.io: no such host',
        f"{RESOLVE}unable to get ARM token: adal: Refresh request failed. Status Code = '401'. Response body: {{}}",
        f"{RESOLVE}unable to get ARM token: adal: Refresh request failed. Status Code = '403'. Response body: {{}}",
        "toomanyrequests: You have reached your pull rate limit. https://www.docker.com/increase-rate-limit",
        # A step's own words, before it fails for a reason of its own.
        "2026/11/20 08:16:05 Executing step ID: test. Timeout(sec): 600\n"
        "exchange API response code: 401 Unauthorized\nfailed to run step ID: test: exit status 1",
        "client with IP '203.0.113.9' is not allowed access\n" + "npm WARN deprecated\n" * 20 + BROKEN_BUILD,
    ],
)
def test_other_failures_are_no_refused_login(log: str) -> None:
    assert read(log) is None


OPEN = Condition(Kind.NETWORK, True, network.OPEN, "No firewall.")
BYPASSED = Condition(Kind.NETWORK, True, network.BYPASSED, "Tasks pass.")
CLOSED = Condition(Kind.NETWORK, False, "Firewall", "Run `az …`.")
UNCLEAR = Condition(Kind.NETWORK, None, "NotChecked", "Look at the rules.")
WELL = (Condition(Kind.GRANT, True, "Assigned", ""), Condition(Kind.CREDENTIAL, None, "NotChecked", ""))
BROKEN = (Condition(Kind.GRANT, False, "Missing", ""),)
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
FRESH, OLD = NOW - timedelta(minutes=5), NOW - timedelta(days=730)


def test_line_of_a_build_is_no_refused_login_when_the_part_before_it_is_left_out() -> None:
    log = "curl: exchange API response code: 401\nRun ID: cf10 failed after 3h. Error: failed during run\n"
    assert read(log)
    assert read(f"[The first 5000000 bytes are left out; for the whole log: az acr task logs]\n{log}") is None


def judged(by: Refusal, reach: Condition, others: tuple[Condition, ...], granted: datetime | None) -> Judgement:
    return judge(by, reach, others, granted, at=NOW, patience=timedelta(minutes=15))


@pytest.mark.parametrize("reach", [OPEN, BYPASSED, CLOSED, UNCLEAR])
def test_late_grant_is_waited_for_whatever_the_network(reach: Condition) -> None:
    assert judged(Refusal.TOKEN, reach, WELL, FRESH) == Judgement(True)
    assert judged(Refusal.TOKEN, reach, WELL, None) == Judgement(True)


@pytest.mark.parametrize("by", [Refusal.TOKEN, Refusal.FORBIDDEN])
def test_grant_of_long_ago_is_not_late(by: Refusal) -> None:
    judgement = judged(by, OPEN, WELL, OLD)
    assert not judgement.repeat
    assert "has its roles since 2024-11-20 09:00 UTC" in judgement.advice
    assert "`az " in judgement.advice


@pytest.mark.parametrize("granted", [FRESH, OLD, None])
@pytest.mark.parametrize("others", [WELL, BROKEN])
@pytest.mark.parametrize("reach", [CLOSED, UNCLEAR])
@pytest.mark.parametrize("by", [Refusal.FORBIDDEN, Refusal.FIREWALL])
def test_firewall_is_not_tried_again_and_its_condition_says_what_to_do(
    by: Refusal, reach: Condition, others: tuple[Condition, ...], granted: datetime | None
) -> None:
    assert judged(by, reach, others, granted) == Judgement(False, reach.message)


@pytest.mark.parametrize("by", [Refusal.FORBIDDEN, Refusal.FIREWALL])
def test_firewall_that_should_let_the_task_pass_is_not_tried_again(by: Refusal) -> None:
    judgement = judged(by, BYPASSED, WELL, FRESH)
    assert not judgement.repeat
    assert judgement.advice.startswith("Tasks pass. ")


@pytest.mark.parametrize("by", list(Refusal))
def test_what_a_repeat_puts_right_is_repeated(by: Refusal) -> None:
    assert judged(by, OPEN, BROKEN, OLD).repeat
    assert judged(by, BYPASSED, BROKEN, OLD).repeat


def test_forbidden_token_without_a_firewall_counts_as_a_late_grant() -> None:
    assert judged(Refusal.FORBIDDEN, OPEN, WELL, FRESH).repeat


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (REFUSED.format(code="401 Unauthorized"), "exchange API response code: 401 Unauthorized"),
        (DENIED_PULL, "unauthorized: authentication required"),
        (FIREWALL, "client with IP '203.0.113.9' is not allowed access"),
        (BROKEN_BUILD, "Container failed during run: build. No retries remaining."),
        ("Run ID: cf10 failed after 3s. Error: failed during run, err: exit status 1", "failed during run"),
    ],
)
def test_reason_of_a_failure_is_one_line_of_the_log(log: str, line: str) -> None:
    said = failure_line(log.replace("\n", "\r\n"))

    assert line in said
    assert "\n" not in said
    assert said == said.strip()


@pytest.mark.parametrize("log", ["", "\n\n", SUCCEEDED])
def test_log_without_a_failure_gives_no_reason(log: str) -> None:
    assert failure_line(log) == ""


def test_endless_line_is_cut() -> None:
    assert len(failure_line(f"error: {'x' * 5000}")) == 500
