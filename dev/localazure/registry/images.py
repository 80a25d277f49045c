"""Makes small valid images, for the build agent, for imports from public registries, for tests and demos."""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from dev.localazure.registry.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of

_EPOCH = "1970-01-01T00:00:00Z"
_OCI_TYPES = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
_DOCKER_TYPES = (
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)


@dataclass(frozen=True)
class Image:
    """An image or an index, ready to push.

    Attributes:
        manifest: The manifest's bytes.
        media_type: The manifest's media type.
        blobs: Configuration and layers by digest. Layers of a base image may be missing if only its manifest and
            configuration were given to `build_image`.
        children: The images of an index.
    """

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    children: tuple[Image, ...] = ()

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest as JSON."""
        document: dict[str, Any] = json.loads(self.manifest)
        return document

    @property
    def config(self) -> dict[str, Any]:
        """The image's configuration as JSON."""
        config: dict[str, Any] = json.loads(self.blobs[self.document["config"]["digest"]])
        return config


def make_layer(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Pack files (path → content) into a layer; the same files give the same bytes.

    Returns:
        The compressed tar and the digest of the uncompressed one (the configuration's `diff_id`).
    """
    names = {str(PurePosixPath("/", path).relative_to("/")): data for path, data in files.items()}
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder + "/")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in sorted(names):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(names[name]), 0o644
            tar.addfile(entry, io.BytesIO(names[name]))
    raw = buffer.getvalue()
    return gzip.compress(raw, mtime=0), "sha256:" + hashlib.sha256(raw).hexdigest()


def build_image(
    files: Mapping[str, bytes] | None = None,
    *,
    base: Image | None = None,
    config: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    platform: str = "linux/amd64",
    history: Sequence[str] = (),
    created: str = _EPOCH,
    docker: bool = False,
) -> Image:
    """Build an image: the base's layers, if there is a base, and one layer with the files, if there are any.

    Args:
        files: Path → content.
        base: Image to build on; its blobs must have the configuration, its layers may be missing.
        config: Changes to the configuration's `config` (`Env`, `Cmd`, `WorkingDir`, `ExposedPorts`, …), merged over
            the base's.
        labels: Labels to add.
        annotations: Annotations of the manifest.
        platform: `os/architecture[/variant]` of an image without a base.
        history: What to say in the history; without files all entries are marked as empty layers, with files the
            first one stands for the layer.
        created: When it was built (ISO 8601).
        docker: Use Docker's media types instead of OCI's (an image on a base has the base's).
    """
    system, architecture, *variant = platform.split("/")
    document: dict[str, Any] = {"layers": []}
    image: dict[str, Any] = {"architecture": architecture, "os": system, "rootfs": {"type": "layers", "diff_ids": []}}
    if variant:
        image["variant"] = variant[0]
    blobs: dict[str, bytes] = {}
    if base is not None:
        docker = base.media_type == DOCKER_MANIFEST
        document["layers"] = list(base.document["layers"])
        image = copy.deepcopy(base.config)
        blobs = {d["digest"]: base.blobs[d["digest"]] for d in document["layers"] if d["digest"] in base.blobs}
    config_type, layer_type = _DOCKER_TYPES if docker else _OCI_TYPES
    image["created"] = created
    settings = {**(image.get("config") or {}), **(config or {})}
    if labels:
        settings["Labels"] = {**(settings.get("Labels") or {}), **labels}
    image["config"] = settings
    steps: list[dict[str, Any]] = [{"created": created, "created_by": step} for step in history]
    if files is not None:
        layer, diff_id = make_layer(files)
        document["layers"].append(_descriptor(layer_type, layer))
        image["rootfs"]["diff_ids"].append(diff_id)
        blobs[digest_of(layer)] = layer
        steps = steps or [{"created": created, "created_by": "COPY files"}]
    for step in steps[1:] if files is not None else steps:
        step["empty_layer"] = True
    image["history"] = [*(image.get("history") or []), *steps]
    config_blob = _json(image)
    blobs[digest_of(config_blob)] = config_blob
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2, "mediaType": media_type, "config": _descriptor(config_type, config_blob), **document,
    }  # fmt: skip
    if annotations:
        manifest["annotations"] = dict(annotations)
    return Image(_json(manifest), media_type, blobs)


def build_index(images: Sequence[Image], *, annotations: Mapping[str, str] | None = None) -> Image:
    """Build an index (or, of Docker images, a manifest list) of images for several platforms."""
    docker = images[0].media_type == DOCKER_MANIFEST
    media_type = DOCKER_LIST if docker else OCI_INDEX
    entries = []
    for image in images:
        config = image.config
        platform = {key: config[key] for key in ("architecture", "os", "variant") if key in config}
        entries.append({**_descriptor(image.media_type, image.manifest), "platform": platform})
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    if annotations:
        document["annotations"] = dict(annotations)
    return Image(_json(document), media_type, {}, tuple(images))


def public_image(name: str) -> Image:
    """Make up the image that a public registry would have under a name such as `docker.io/library/node:15-alpine`.

    There is no internet here, so every name exists, with content that follows from the name alone: a valid index for
    linux/amd64 and linux/arm64 whose only layer says where it claims to come from. The same name always gives the
    same digest.
    """
    repository = name.partition("@")[0].rpartition("/")[2].partition(":")[0]
    release = f"NAME={repository}\nIMAGE={name}\nVARIANT=localazure-synthetic\n".encode()
    return build_index(
        [
            build_image(
                {"etc/os-release": release},
                config={"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
                platform=platform,
                history=[f"localazure: made up in place of {name}"],
            )
            for platform in ("linux/amd64", "linux/arm64")
        ]
    )


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
