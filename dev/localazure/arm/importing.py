"""importImage: copies an image from another registry.

https://learn.microsoft.com/rest/api/container-registry/registries/import-image. It raises no `ImagePushed`: Azure
promises none (https://github.com/Azure/acr/issues/459), so nothing may rest on one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from dev.localazure.arm.operations import REGISTRY_RESULT, Operations
from dev.localazure.call import Answer, Call
from dev.localazure.errors import ArmError
from dev.localazure.gateway import Gateway
from dev.localazure.registry.errors import RegistryError, manifest_unknown
from dev.localazure.registry.images import Image, public_image
from dev.localazure.registry.manifests import is_digest, is_repository, is_tag
from dev.localazure.registry.service import RegistryService
from dev.localazure.state import Principal, Resource, State, new_guid

# Registries on the internet that are stood in for; see `images.public_image`.
PUBLIC_REGISTRIES = (
    "docker.io", "registry-1.docker.io", "registry.hub.docker.com", "mcr.microsoft.com", "quay.io", "ghcr.io",
    "gcr.io", "registry.k8s.io", "public.ecr.aws",
)  # fmt: skip


@dataclass(frozen=True)
class _Import:
    """One accepted request."""

    operation: str
    registry: Resource
    caller: Principal
    source: dict[str, Any]
    repository: str
    reference: str
    tags: tuple[tuple[str, str], ...]
    untagged: tuple[str, ...]
    force: bool


def register(gateway: Gateway, operations: Operations, registries: RegistryService) -> None:
    """Register the operation."""
    gateway.route(
        "POST",
        "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries/{registry}"
        "/importImage",
        "Microsoft.ContainerRegistry/registries/importImage/action",
        partial(_import_image, operations, registries),
    )


async def _import_image(operations: Operations, registries: RegistryService, call: Call) -> Answer:
    """Accept an import: 202, and a location to poll until it has succeeded or failed."""
    job = _read(call)

    async def work() -> dict[str, str]:
        try:
            _copy(call.core.state, registries, job)
        except RegistryError as error:
            raise _refused(job, error) from error
        return {"status": "Succeeded"}

    path = REGISTRY_RESULT.format(
        sub=call.params["sub"], location=job.registry.location.upper(), operation=job.operation
    )
    targets = [f"{repository}:{tag}" for repository, tag in job.tags] + list(job.untagged)
    pending = {**dict.fromkeys(targets, "Pending"), "status": "Accepted"}
    operation = operations.start(path, work, pending=pending)
    return Answer(202, None, {"location": operations.url(operation, call.api_version)})


def _read(call: Call) -> _Import:
    body = call.object_body()
    source = body.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("sourceImage"), str):
        raise _invalid("The source and its sourceImage are required.")
    if bool(source.get("resourceId")) == bool(source.get("registryUri")):
        raise _invalid("The source needs either a resourceId or a registryUri.")
    mode = body.get("mode") or "NoForce"
    if mode not in ("NoForce", "Force"):
        raise _invalid(f"The mode '{mode}' is not one of NoForce, Force.")
    repository, reference = _split(source["sourceImage"])
    untagged = tuple(body.get("untaggedTargetRepositories") or ())
    tags = [_split(str(tag)) for tag in body.get("targetTags") or ()]
    if not tags and not untagged:
        if is_digest(reference):
            raise _invalid("A source image given by digest needs targetTags or untaggedTargetRepositories.")
        tags = [(repository, reference)]
    for name, tag in tags:
        if not is_repository(name) or not is_tag(tag):
            raise _invalid(f"The target tag '{name}:{tag}' is invalid.")
    for name in untagged:
        if not is_repository(name):
            raise _invalid(f"The target repository '{name}' is invalid.")
    return _Import(
        f"registries-{new_guid()}", call.resource(), call.principal, source, repository, reference, tuple(tags),
        untagged, mode == "Force",
    )  # fmt: skip


def _split(image: str) -> tuple[str, str]:
    """Split `repository[:tag|@digest]`; without either the tag is `latest`."""
    repository, separator, digest = image.partition("@")
    if separator:
        return repository, digest
    head, slash, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    return head + slash + name, tag or "latest"


def _invalid(message: str) -> ArmError:
    return ArmError(400, "InvalidParameters", message)


def _failed(job: _Import, status: int, code: str, resource: str, message: str) -> ArmError:
    return ArmError(status, code, f"Operation {job.operation} failed. Resource {resource} {message}")


def _refused(job: _Import, error: RegistryError) -> ArmError:
    words = {401: "Unauthorized Unauthorized", 403: "Forbidden Forbidden", 404: "NotFound Not Found"}
    body = {"errors": [{"code": error.code, "message": error.message, "detail": error.detail}]}
    text = f"Invalid message {words.get(error.status, 'BadRequest Bad Request')} {json.dumps(body)}"
    return _failed(job, 400, "InvalidParameters", job.source.get("resourceId") or job.source["registryUri"], text)


def _copy(state: State, service: RegistryService, job: _Import) -> None:
    registry = job.registry
    if state.get(registry.id) is not registry:
        raise _failed(job, 404, "NotFound", registry.id, "does not exist.")
    if not job.force:
        # All targets are checked before anything is copied.
        for repository, tag in job.tags:
            if service.get_manifest(registry, repository, tag) is not None:
                name = f"{repository}:{tag}"
                text = f"{name} Tag {name} already exists in target registry."
                raise _failed(job, 409, "Conflict", registry.id, text)
    image = _fetch(state, service, job)
    copied: set[str] = set()
    for repository, reference in (*job.tags, *((name, image.digest) for name in job.untagged)):
        if repository in copied:
            service.put_manifest(registry, repository, reference, image.media_type, image.manifest, raises_event=False)
        else:
            service.push(registry, repository, reference, image, raises_event=False)
            copied.add(repository)


def _fetch(state: State, service: RegistryService, job: _Import) -> Image:
    """Read the source image with the rights of the caller or of the credentials in the request.

    A registry named by `resourceId` is read as the caller. One named by `registryUri` without credentials is read
    anonymously, whoever calls (https://github.com/Azure/azure-cli/issues/15089).
    """
    uri = str(job.source.get("registryUri") or "")
    if not uri:
        source = state.get(job.source["resourceId"])
        if source is None or "loginServer" not in source.properties:
            text = "does not exist or it does not have `properties.loginServer`."
            raise _failed(job, 400, "InvalidParameters", job.source["resourceId"], text)
        allowed = service.may(job.caller, source, job.repository, "pull")
    else:
        host = uri.removeprefix("https://").rstrip("/").lower()
        if host in PUBLIC_REGISTRIES:
            if is_digest(job.reference):
                raise manifest_unknown(job.reference)
            return public_image(f"{host}/{job.repository}:{job.reference}")
        source = service.find(host)
        if source is None:
            raise _failed(job, 400, "InvalidParameters", uri, "No such host is known.")
        credentials = job.source.get("credentials") or {}
        if credentials.get("password"):
            reader = service.auth.log_in(str(credentials.get("username") or ""), credentials["password"], source)
            allowed = service.may(reader, source, job.repository, "pull")
        else:
            allowed = bool(source.properties.get("anonymousPullEnabled"))
    if not allowed:
        text = "authentication required, visit https://aka.ms/acr/authorization for more information."
        detail = [{"Type": "repository", "Name": job.repository, "Action": "pull"}]
        raise RegistryError(401, "UNAUTHORIZED", text, detail)
    return service.load(source, job.repository, job.reference)
