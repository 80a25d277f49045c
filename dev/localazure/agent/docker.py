"""The docker engine of one agent: who it is logged in as, and the images that it has built or pulled."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dev.localazure.agent.dockerfile import DOCKER_HUB, ImageName, image_name
from dev.localazure.agent.errors import RunFailed
from dev.localazure.agent.machine import Machine
from dev.localazure.registry import network
from dev.localazure.registry.errors import RegistryError
from dev.localazure.registry.images import Image, public_image
from dev.localazure.state import Principal, Resource

USER_AGENT = (
    "docker/23.0.7+azure-1 go/go1.19.12 git-commit/main kernel/5.15.0-1080-azure os/linux arch/amd64 "
    "UpstreamClient(Docker-Client/20.10.25 (linux))"
)
UNAUTHORIZED = "unauthorized: authentication required, visit https://aka.ms/acr/authorization for more information."


@dataclass(frozen=True)
class Login:
    """How docker is logged in to a registry.

    Attributes:
        principal: With whose rights; None means ACR's own token, which may do everything in the task's registry.
        refused: What the registry says when it refuses the login, or "".
        passes: Its firewall lets this login pass.
    """

    principal: Principal | None
    refused: str = ""
    passes: bool = False


class Docker:
    """Pulls, keeps and pushes images.

    Attributes:
        logins: By registry host.
        images: By reference, with a tag.
        digests: Digest in its registry of each reference that was pulled or pushed.
    """

    def __init__(self, machine: Machine, region: str, logins: Mapping[str, Login], out: Callable[[str], None]) -> None:
        """Start in a region without images; `out` takes lines of output."""
        self._machine, self._region, self._out = machine, region, out
        self.logins = {host.lower(): login for host, login in logins.items()}
        self.images: dict[str, Image] = {}
        self.digests: dict[str, str] = {}

    def _may(self, host: str, registry: Resource, repository: str, action: str) -> bool:
        if action == "pull" and registry.properties.get("anonymousPullEnabled"):
            return True
        login = self.logins.get(host.lower())
        if login is None:
            return False
        return login.principal is None or self._machine.registries.may(login.principal, registry, repository, action)

    def _refusal(self, host: str, registry: Resource, repository: str, action: str) -> str:
        """Return what a registry says to a request of this agent's that it refuses, or ""."""
        login, address = self.logins.get(host.lower()), self._machine.address
        if not (network.admits(registry, address) or (login and login.passes)):
            return f"denied: {network.denial(address)}"
        return "" if self._may(host, registry, repository, action) else UNAUTHORIZED

    def pull(self, name: ImageName, platform: str) -> Image:
        """Pull an image of a platform (`os/architecture[/variant]`), unless it is there already.

        Public registries have an image of every name: there is no internet, so it is made up from the name.

        Raises:
            RunFailed: The registry does not exist, refuses, or does not have the image.
        """
        if name.text in self.images:
            return self.images[name.text]
        found = self._fetch(name)
        self.digests[name.text] = name.digest or found.digest
        image = _choose(found, platform, name)
        self._out(f"{name.reference}: Pulling from {name.repository}")
        layers = [layer["digest"][7:19] for layer in image.document["layers"]]
        for state in ("Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"):
            for layer in layers:
                self._out(f"{layer}: {state}")
        self._out(f"Digest: {found.digest}")
        self._out(f"Status: Downloaded newer image for {name.text}")
        self.images[name.text] = image
        return image

    def _fetch(self, name: ImageName) -> Image:
        host = name.registry
        registry = self._machine.registries.find(host)
        if registry is None:
            if host.endswith(".azurecr.io"):
                raise RunFailed(f'Get "https://{host}/v2/": dial tcp: lookup {host}: no such host')
            public = "docker.io" if host == DOCKER_HUB else host
            separator = "@" if name.digest else ":"
            return public_image(f"{public}/{name.repository}{separator}{name.reference}")
        if refusal := self._refusal(host, registry, name.repository, "pull"):
            raise RunFailed(f'Head "https://{host}/v2/{name.repository}/manifests/{name.reference}": {refusal}')
        try:
            return self._machine.registries.load(registry, name.repository, name.reference, self._region)
        except RegistryError as error:
            raise RunFailed(f"manifest for {name.text} not found: manifest unknown: {error.message}") from error

    def tag(self, source: str, target: str) -> None:
        """Give an image another name.

        Raises:
            RunFailed: There is no such image here, or the new name has a digest.
        """
        name = image_name(source).text
        if name not in self.images:
            raise RunFailed(f"Error response from daemon: No such image: {name}")
        if image_name(target).digest:
            raise RunFailed("refusing to create a tag with a digest reference")
        self.images[image_name(target).text] = self.images[name]

    def push(self, reference: str) -> tuple[ImageName, str]:
        """Push an image; return its name and its digest in the registry.

        Raises:
            RunFailed: There is no such image here, or the registry refuses it.
        """
        name = image_name(reference)
        repository = f"{name.registry}/{name.repository}"
        self._out(f"The push refers to repository [{repository}]")
        image = self.images.get(name.text)
        if image is None:
            raise RunFailed(f"An image does not exist locally with the tag: {repository}")
        registry = self._machine.registries.find(name.registry)
        if registry is None:
            raise RunFailed("denied: requested access to the resource is denied")
        layers = image.document["layers"]
        for layer in layers:
            self._out(f"{layer['digest'][7:19]}: Preparing")
        if refusal := self._refusal(name.registry, registry, name.repository, "push"):
            raise RunFailed(refusal)
        for layer in layers:
            there = self._machine.registries.get_blob(registry, layer["digest"]) is not None
            self._out(f"{layer['digest'][7:19]}: {'Layer already exists' if there else 'Pushed'}")
        try:
            self._machine.registries.push(registry, name.repository, name.tag, image, user_agent=USER_AGENT)
        except RegistryError as error:
            raise RunFailed(f"{error.code.lower()}: {error.message}") from error
        self._out(f"{name.tag}: digest: {image.digest} size: {len(image.manifest)}")
        self.digests[name.text] = image.digest
        return name, image.digest


def _choose(found: Image, platform: str, name: ImageName) -> Image:
    image = found
    if found.children:
        system, architecture, *_ = platform.lower().split("/")
        entries = zip(found.document["manifests"], found.children, strict=True)
        wanted = {"os": system, "architecture": architecture}
        image = next((child for entry, child in entries if wanted.items() <= entry.get("platform", {}).items()), found)
        if image is found:
            raise RunFailed(f"no matching manifest for {platform} in the manifest list entries")
    if "layers" not in image.document or "rootfs" not in image.config:
        raise RunFailed(f'Encountered remote "{image.media_type}"(unknown) when fetching {name.text}')
    return image


def files_of(image: Image) -> dict[str, bytes]:
    """Return the regular files of an image, layer over layer."""
    files: dict[str, bytes] = {}
    for layer in image.document["layers"]:
        data = image.blobs[layer["digest"]]
        raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                if base.startswith(".wh."):
                    files.pop(f"{folder}/{base[4:]}".lstrip("/"), None)
                elif member.isfile() and (content := archive.extractfile(member)):
                    files[member.name.lstrip("./")] = content.read()
    return files
