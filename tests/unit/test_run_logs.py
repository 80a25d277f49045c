"""What a run's log tells about its failure."""

from __future__ import annotations

import pytest

from shared.followup import failure_line, login_refused

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


@pytest.mark.parametrize("code", ["401", "403", "401 Unauthorized", "403 Forbidden", "403 Forbidden, see the log"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_refused_token_is_a_refused_login(code: str, ends: str) -> None:
    assert login_refused(REFUSED.format(code=code).replace("\n", ends))


@pytest.mark.parametrize(
    "line",
    [
        "failed to resolve secrets: failed to get ACR refresh token, exchange API response code: 401",
        "exchange API response code: 403 Forbidden",
        "Failed to get ACR refresh token: status 401",
    ],
)
def test_refused_token_is_known_in_its_other_wordings(line: str) -> None:
    assert login_refused(line)


@pytest.mark.parametrize(
    "log",
    [
        "",
        DENIED_PULL,
        FIREWALL,
        BROKEN_BUILD,
        SUCCEEDED,
        REFUSED.format(code="404 Not Found"),
        REFUSED.format(code="500 Internal Server Error"),
        "failed to get ACR refresh token\nnpm WARN deprecated: 401",
        "RUN curl https://example.com returned 401 Unauthorized",
    ],
)
def test_other_failures_are_no_refused_login(log: str) -> None:
    assert not login_refused(log)


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
