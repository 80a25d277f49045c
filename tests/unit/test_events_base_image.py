"""Which pushes to the base registry are acted on, and why the others are not."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.event_grid import read
from shared.domain.events import Ignored, ImagePushed, Reason, image_pushed
from shared.domain.images import BaseImage
from tests.builders import event, registry_id, replaced

PUSHED = event("image_pushed")
DIGEST = PUSHED["data"]["target"]["digest"]
INDEX_DIGEST = event("image_pushed_index")["data"]["target"]["digest"]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WRONG = [None, "", 0, 7, 1.5, True, [], ["x"], {}, {"x": 1}, "\x00", "../..", "a b", "x" * 500]


def with_target(**members: Any) -> dict[str, Any]:
    return dict(replaced(PUSHED, "data.target", {**PUSHED["data"]["target"], **members}))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("image_pushed", DIGEST),
        ("image_pushed_v1", DIGEST),
        ("image_pushed_replica", DIGEST),
        ("image_pushed_without_digest", ""),
        ("image_pushed_without_request", DIGEST),
        ("image_pushed_without_media_type", DIGEST),
        ("image_pushed_index", INDEX_DIGEST),
        ("image_pushed_regional_endpoint", DIGEST),
    ],
)
def test_tagged_push_to_the_base_registry_is_accepted(name: str, digest: str) -> None:
    delivered = event(name)

    decision = image_pushed(read(delivered), "mybaseregistry")

    pushed_at = datetime.fromisoformat(delivered["data"]["timestamp"])
    assert decision == ImagePushed(delivered["id"], BaseImage("baseimages/node", "15-alpine", digest), pushed_at)


@pytest.mark.parametrize("timestamp", [None, "yesterday", 7, "2026-11-20T08:15:42"])
def test_time_of_the_event_stands_in_for_a_time_of_the_push_that_cannot_be_read(timestamp: object) -> None:
    delivered = replaced(PUSHED, "data.timestamp", timestamp)

    decision = image_pushed(read(delivered), "mybaseregistry")

    assert isinstance(decision, ImagePushed)
    assert decision.pushed_at == datetime.fromisoformat(delivered["eventTime"])


@pytest.mark.parametrize(
    ("name", "reason", "told"),
    [
        ("image_pushed_without_tag", Reason.UNTAGGED, "baseimages/node@sha256:"),
        ("image_pushed_index_child_amd64", Reason.UNTAGGED, "baseimages/node@sha256:"),
        ("image_pushed_index_child_arm64", Reason.UNTAGGED, "baseimages/node@sha256:"),
        ("image_pushed_referrer", Reason.UNTAGGED, "baseimages/node@sha256:"),
        ("image_pushed_referrers_tag", Reason.ATTACHMENT, "baseimages/node:sha256-"),
        ("image_pushed_cosign_signature", Reason.ATTACHMENT, ".sig"),
        ("image_pushed_cosign_attestation", Reason.ATTACHMENT, ".att"),
        ("image_pushed_other_registry", Reason.OTHER_REGISTRY, "myregistry"),
        ("image_deleted", Reason.OTHER_TYPE, "Microsoft.ContainerRegistry.ImageDeleted"),
        ("chart_pushed", Reason.OTHER_TYPE, "Microsoft.ContainerRegistry.ChartPushed"),
        ("registry_created", Reason.OTHER_TYPE, "Microsoft.Resources.ResourceWriteSuccess"),
    ],
)
def test_event_that_is_no_tagged_push_is_ignored_with_its_reason(name: str, reason: Reason, told: str) -> None:
    decision = image_pushed(read(event(name)), "mybaseregistry")

    assert isinstance(decision, Ignored)
    assert decision.reason is reason
    assert told in decision.detail


def test_replicas_of_one_push_name_the_same_image_under_different_event_ids() -> None:
    first, second = (
        image_pushed(read(event(name)), "mybaseregistry") for name in ("image_pushed", "image_pushed_replica")
    )

    assert isinstance(first, ImagePushed)
    assert isinstance(second, ImagePushed)
    assert first.image == second.image
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("eventType", "microsoft.containerregistry.IMAGEPUSHED"),
        ("topic", registry_id("MyBaseRegistry").replace("resourceGroups", "resourcegroups").upper()),
        ("data.target.mediaType", "Application/vnd.OCI.image.manifest.v1+json"),
        ("data.target.mediaType", "application/vnd.docker.distribution.manifest.list.v2+json"),
        ("subject", ...),
        ("eventTime", "yesterday"),
        ("data.request.host", "attacker.example"),
        ("data.action", "quarantine"),
    ],
)
def test_push_is_known_by_its_topic_and_type_in_any_casing_and_by_nothing_else(path: str, value: Any) -> None:
    assert isinstance(image_pushed(read(replaced(PUSHED, path, value)), "MYbaseregistry"), ImagePushed)


def test_artifact_that_is_no_image_is_ignored() -> None:
    decision = image_pushed(read(with_target(mediaType="application/vnd.acr.helm.chart")), "mybaseregistry")

    assert decision == Ignored(Reason.NOT_AN_IMAGE, "application/vnd.acr.helm.chart")


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path in ("topic", "data", "data.target", "data.target.repository") for value in [..., *WRONG]]
    + [("eventType", value) for value in [..., *WRONG] if not isinstance(value, str)]
    + [("id", value) for value in [..., *WRONG, "ein Ereignis", "\ud800", "x" * 101] if value != "../.."],
)
def test_push_with_a_broken_member_is_malformed(path: str, value: Any) -> None:
    decision = image_pushed(read(replaced(PUSHED, path, value)), "mybaseregistry")

    assert isinstance(decision, Ignored)
    assert decision.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("tag", 15),
        ("tag", ["15-alpine"]),
        ("tag", "15 alpine"),
        ("tag", "$(reboot)"),
        ("tag", "{{.Run.ID}}"),
        ("tag", "-t"),
        ("tag", "x" * 129),
        ("digest", 7),
        ("digest", "sha256:abc"),
        ("digest", f"sha256:{'AB' * 32}"),
        ("digest", f"sha512:{'ab' * 64}"),
        ("digest", f"{DIGEST}\n"),
        ("repository", "Base/Node"),
        ("repository", "baseimages//node"),
        ("repository", "baseimages/node; reboot"),
        ("repository", "a/" * 128 + "a"),
    ],
)
def test_push_that_names_no_real_image_is_malformed(member: str, value: Any) -> None:
    decision = image_pushed(read(with_target(**{member: value})), "mybaseregistry")

    assert isinstance(decision, Ignored)
    assert decision.reason is Reason.MALFORMED
    assert f"data.target.{member}" in decision.detail


@pytest.mark.parametrize("tag", [None, "", 0, [], {}])
def test_push_with_an_empty_tag_counts_as_untagged(tag: Any) -> None:
    assert image_pushed(read(with_target(tag=tag)), "mybaseregistry") == Ignored(
        Reason.UNTAGGED, f"baseimages/node@{DIGEST}"
    )
    assert image_pushed(read(with_target(tag=tag, digest=None)), "mybaseregistry") == Ignored(
        Reason.UNTAGGED, "baseimages/node"
    )


@pytest.mark.parametrize(
    "topic",
    [
        f"{registry_id('mybaseregistry')}/tasks/helloworldtask",
        f"{registry_id('mybaseregistry')}/providers/Microsoft.Authorization/roleAssignments/x",
        registry_id("mybaseregistry").replace("Microsoft.ContainerRegistry", "Microsoft.Storage"),
        registry_id("my-base-registry"),
        f"{registry_id('mybaseregistry')}\n",
        "/subscriptions/x/providers/Microsoft.ContainerRegistry/registries/mybaseregistry",
        "mybaseregistry",
    ],
)
def test_topic_that_is_no_registry_is_malformed(topic: str) -> None:
    decision = image_pushed(read(replaced(PUSHED, "topic", topic)), "mybaseregistry")

    assert decision == Ignored(Reason.MALFORMED, "topic is not the id of a registry")


@given(st.dictionaries(st.text(max_size=9), JSON))
@example({})
def test_no_json_object_makes_the_decision_raise(anything: dict[str, Any]) -> None:
    assert isinstance(image_pushed(read(anything), "mybaseregistry"), Ignored)


@given(
    path=st.sampled_from(
        ["id", "eventType", "topic", "data", "data.target"]
        + [f"data.target.{name}" for name in ("repository", "tag", "digest", "mediaType")]
    ),
    value=JSON,
)
def test_no_json_in_place_of_a_member_makes_the_decision_raise(path: str, value: Any) -> None:
    decision = image_pushed(read(replaced(PUSHED, path, value)), "mybaseregistry")

    assert isinstance(decision, Ignored | ImagePushed)
    if isinstance(decision, ImagePushed):
        assert json.dumps(decision.image.name).isascii()
