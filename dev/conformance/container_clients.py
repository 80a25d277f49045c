"""Container clients on the base registry: skopeo, oras, and plain HTTP for what no client would try."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dev.conformance import world as worlds
from dev.conformance.report import Report
from dev.conformance.world import ROOT, Option, Output, World
from dev.localazure.registry.client import RegistryClient
from dev.localazure.registry.images import Image, build_image, build_index
from dev.localazure.registry.manifests import OCI_INDEX
from dev.sandbox import deployment
from dev.sandbox.cloud import ACR_PULL, BASE, BASE_IMAGE, OTHER, REPOSITORY, SUBSCRIPTION, TAG, TEAM, Cloud, registry_id
from dev.sandbox.world import NotYet

SERVER, OTHER_SERVER = f"{BASE}.azurecr.io", f"{OTHER}.azurecr.io"
NO_USER = "00000000-0000-0000-0000-000000000000"
SKOPEO, ORAS, HTTP = "skopeo", "oras", "plain HTTP"
CLIENTS_PYTHON = ROOT / ".venv-conformance" / "bin" / "python"
ROLE = "/providers/Microsoft.Authorization/roleAssignments/5d0b7b2e-3c1f-4e57-9a51-5a2f0d6c7e01"


def write_layout(folder: Path, image: Image, tag: str) -> str:
    """Write an image, or an index with its images, as an OCI layout, and return how skopeo names it.

    https://github.com/opencontainers/image-spec/blob/main/image-layout.md
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for each in (image, *image.children):
        for digest, data in {**each.blobs, each.digest: each.manifest}.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest),
             "annotations": {"org.opencontainers.image.ref.name": tag}}  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{folder}:{tag}"


def images() -> tuple[Image, Image]:
    """Make two base images: one for one platform, and an index for two."""
    config = {"Env": ["NODE_VERSION=15"], "Cmd": ["node"]}
    single = build_image({"etc/os-release": b"NAME=alpine\nPATCH=1\n"}, config=config)
    multi = build_index([
        build_image({"etc/os-release": f"NAME=alpine\nPATCH=2\nARCH={platform}\n".encode()}, config=config,
                    platform=platform)
        for platform in ("linux/amd64", "linux/arm64/v8")
    ])  # fmt: skip
    return single, multi


class Skopeo:
    """Runs skopeo as one principal, with a file of its own for what it has logged in to."""

    def __init__(self, world: World, report: Report, name: str) -> None:
        """Keep the logins under this name."""
        self._world, self._report = world, report
        self.authfile = world.folder / f"{name}-auth.json"
        self._environment = {**world.cloud.environment, "REGISTRY_AUTH_FILE": str(self.authfile)}

    async def __call__(self, *words: str, stdin: str = "") -> Output:
        """Run skopeo."""
        # Signatures are not what is tried here, and not every system has a policy for them.
        command = ["skopeo", "--insecure-policy", *words]
        return await worlds.run(command, self._environment, stdin=stdin.encode(), seconds=60)

    async def does(self, what: str, *words: str, stdin: str = "") -> Output:
        """Run a command that has to succeed, and report it; return what it wrote."""
        output = await self(*words, stdin=stdin)
        self._report.add(SKOPEO, what, [f"exit status {output.status}: {output.last_words}"] if output.status else [])
        return output

    async def is_refused(self, what: str, *words: str, says: str, stdin: str = "") -> None:
        """Run a command that has to fail with these words, and report it."""
        output = await self(*words, stdin=stdin)
        found = []
        if output.status == 0:
            found.append("it succeeded, Azure refuses it")
        elif says not in output.err:
            found.append(f"Azure says {says!r}, localazure: {output.last_words}")
        self._report.add(SKOPEO, f"{what}: refused with {says!r}", found)

    async def log_in(self, what: str, docker: RegistryClient) -> None:
        """Log in with a refresh token, as `az acr login` does."""
        words = ("login", "--username", NO_USER, "--password-stdin", docker.login_server)
        await self.does(what, *words, stdin=await docker.refresh_token())


async def play(world: World, report: Report) -> None:
    """Deploy Groundswell, then do with skopeo what a platform team does in its base registry."""
    cloud = world.cloud
    await deployment.create_base(cloud)
    await deployment.create_registry(cloud, OTHER)
    world.app = await deployment.create_app(cloud)
    await deployment.assign_roles(cloud, world.app["principalId"])
    await world.start_host(0)
    await deployment.subscribe(cloud, world.host)
    await deployment.create_registry(cloud, TEAM, {"base-image-rebuilds": "enabled"})
    skopeo = Skopeo(world, report, "owner")
    await push_and_pull(world, report, skopeo)
    await artifacts(world, report)
    await refuse(world, report, skopeo)
    await confine(world, report)


async def push_and_pull(world: World, report: Report, skopeo: Skopeo) -> None:
    """Copy images into the base registry, which rebuilds the team's image, and look at them there."""
    cloud = world.cloud
    single, multi = images()
    docker = await cloud.docker(BASE)
    await skopeo.is_refused("login with a wrong password", "login", "--username", NO_USER, "--password-stdin", SERVER,
                            stdin="wrong", says="invalid username/password")  # fmt: skip
    await skopeo.log_in(f"login to {SERVER}", docker)

    target = f"docker://{SERVER}/{BASE_IMAGE}"
    await skopeo.does(f"copy an image to {BASE_IMAGE}", "copy",
                      write_layout(world.folder / "single", single, TAG), target)  # fmt: skip
    await rebuilt(world, report, 1, single.digest, "the copy of the image")
    await skopeo.does(f"copy an index of two platforms to {BASE_IMAGE}", "copy", "--all",
                      write_layout(world.folder / "multi", multi, TAG), target)  # fmt: skip
    await rebuilt(world, report, 2, multi.digest, "the copy of the index")

    output = await skopeo("list-tags", f"docker://{SERVER}/{REPOSITORY}")
    compare(report, "list-tags", output, {"Repository": f"{SERVER}/{REPOSITORY}", "Tags": [TAG]})
    output = await skopeo("inspect", "--raw", target)
    report.add(SKOPEO, "inspect --raw of the index: byte by byte as it was pushed",
               [] if output.out.encode() == multi.manifest else [output.last_words])  # fmt: skip
    output = await skopeo("--override-os", "linux", "--override-arch", "arm64", "inspect", target)
    expected = {"Name": f"{SERVER}/{REPOSITORY}", "Digest": multi.digest, "RepoTags": [TAG], "Architecture": "arm64",
                "Os": "linux",
                "Layers": [layer["digest"] for layer in multi.children[1].document["layers"]]}  # fmt: skip
    compare(report, "inspect of the index for arm64", output, expected)
    output = await skopeo("inspect", f"docker://{SERVER}/{REPOSITORY}@{single.digest}")
    compare(report, "inspect by digest of the image whose tag has moved", output,
            {"Digest": single.digest, "Architecture": "amd64"})  # fmt: skip
    await skopeo.does("copy the index back to a folder", "copy", "--all", target, f"oci:{world.folder / 'back'}:{TAG}")
    there = {path.name for path in (world.folder / "back" / "blobs" / "sha256").glob("*")}
    lost = {path.name for path in (world.folder / "multi" / "blobs" / "sha256").glob("*")} - there
    report.add(SKOPEO, "every blob came back", [f"{digest} did not" for digest in sorted(lost)])

    other = await cloud.docker(OTHER)
    await skopeo.log_in(f"login to {OTHER_SERVER}", other)
    mirror = f"docker://{OTHER_SERVER}/mirror/node:1"
    await skopeo.does("copy from one registry to the other", "copy", "--all", target, mirror)
    await skopeo.does("copy to another repository of the same registry", "copy", "--all", target,
                      f"docker://{SERVER}/copies/node:1")  # fmt: skip
    # What docker keeps after a login with an identity token, which is posted to /oauth2/token.
    login = {"auth": base64.b64encode(f"{NO_USER}:".encode()).decode(), "identitytoken": await other.refresh_token()}
    identity = Skopeo(world, report, "identity-token")
    identity.authfile.write_text(json.dumps({"auths": {OTHER_SERVER: login}}))
    await identity.does("inspect with an identity token", "inspect", mirror)
    await skopeo.does("delete an image", "delete", mirror)
    await skopeo.is_refused("inspect a deleted image", "inspect", mirror, says="unknown")
    await skopeo.is_refused("inspect a tag that does not exist", "inspect", f"docker://{SERVER}/{REPOSITORY}:none",
                            says=r'manifest unknown: manifest tagged by \"none\" is not found')  # fmt: skip


async def artifacts(world: World, report: Report) -> None:
    """Push and pull what is no image, with oras."""
    if not CLIENTS_PYTHON.exists():
        report.add(ORAS, "everything", not_run="oras is not installed: run `make conformance`")
        return
    docker = await world.cloud.docker(OTHER)
    command = [str(CLIENTS_PYTHON), str(ROOT / "dev" / "conformance" / "oras_client.py"), OTHER_SERVER]
    token = (await docker.refresh_token()).encode()
    output = await worlds.run(command, world.cloud.environment, folder=world.folder, stdin=token)
    if output.status:
        report.add(ORAS, "everything", [f"exit status {output.status}: {output.last_words}"])
        return
    for what, wrong in json.loads(output.out).items():
        report.add(ORAS, what, [wrong] if wrong else [])


async def rebuilt(world: World, report: Report, count: int, digest: str, what: str) -> None:
    """Report whether this many rebuilds have succeeded by now, the last of them on this digest."""

    async def ended() -> dict[str, Any]:
        runs = await world.cloud.runs()
        if len(runs) < count or "finishTime" not in runs[count - 1]:
            raise NotYet(f"{len(runs)} runs")
        return runs[count - 1]

    run_ = await world.until(f"a rebuild after {what}", ended)
    found = [] if run_["status"] == "Succeeded" else [f"the run ended as {run_['status']}"]
    if digest not in await world.cloud.run_log(run_["runId"]):
        found.append(f"its log does not name the digest {digest}")
    report.add(SKOPEO, f"{what} has rebuilt the team's image", found)


def compare(report: Report, what: str, output: Output, expected: Mapping[str, Any]) -> None:
    """Report whether skopeo printed JSON with these members."""
    try:
        seen = json.loads(output.out)
    except ValueError:
        report.add(SKOPEO, what, [f"exit status {output.status}: {output.last_words}"])
        return
    report.add(SKOPEO, what, [f"{name} is {seen.get(name)!r}, expected {value!r}"
                              for name, value in expected.items() if seen.get(name) != value])  # fmt: skip


async def refuse(world: World, report: Report, owner: Skopeo) -> None:
    """Try what nobody may, what a principal without a role may not, and what AcrPull does not allow."""
    cloud, target = world.cloud, f"docker://{SERVER}/{BASE_IMAGE}"
    source = f"oci:{world.folder / 'single'}:{TAG}"
    nobody = Skopeo(world, report, "nobody")
    await nobody.is_refused("inspect without a login", "inspect", target, says="authentication required")
    await nobody.is_refused("inspect in a registry outside of Azure", "inspect", "docker://registry.example.com/a:b",
                            says="Forbidden")  # fmt: skip

    puller = await cloud.control("POST", "/apps", {"name": "puller"})
    async with Cloud(puller["environment"], 0) as theirs:
        token = await theirs.token("https://containerregistry.azure.net")

        async def their_token() -> str:
            return token

        docker = RegistryClient(theirs.session, SERVER, their_token)
        stranger = Skopeo(world, report, "puller")
        login = ("login", "--username", NO_USER, "--password-stdin", SERVER)
        await stranger.is_refused("login without a role", *login, stdin=token, says="invalid username/password")
        definition = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}"
        role = {"principalId": puller["principalId"], "principalType": "ServicePrincipal",
                "roleDefinitionId": definition}  # fmt: skip
        await cloud.arm("PUT", registry_id(BASE) + ROLE, {"properties": role})
        await stranger.log_in("login with AcrPull", docker)
        await stranger.does("inspect with AcrPull", "inspect", target)
        await stranger.is_refused("copy into the registry with AcrPull", "copy", source, f"docker://{SERVER}/new:1",
                                  says="authentication required")  # fmt: skip
        await stranger.is_refused("delete with AcrPull", "delete", target, says="authentication required")
        await cloud.arm("DELETE", registry_id(BASE) + ROLE)
        await stranger.is_refused(
            "inspect after AcrPull was taken away", "inspect", target, says="authentication required"
        )
    output = await owner("list-tags", f"docker://{SERVER}/new")
    report.add(SKOPEO, "nothing was pushed with AcrPull", [] if output.status else ["the repository exists"])


async def confine(world: World, report: Report) -> None:
    """Try with a token for one repository what lies beyond its scope, over plain HTTP."""
    cloud = world.cloud
    docker = await cloud.docker(BASE)
    token = await docker.access_token(f"repository:{REPOSITORY}:pull")
    single, _ = images()
    manifest = f"/v2/{REPOSITORY}/manifests/{TAG}"
    beyond = (
        ("GET", manifest, SERVER, 200, "pull from its repository"),
        ("GET", f"/v2/{REPOSITORY}/tags/list", SERVER, 200, "list the tags of its repository"),
        ("GET", "/v2/copies/node/manifests/1", SERVER, 401, "pull from another repository"),
        ("GET", "/v2/_catalog", SERVER, 401, "list the repositories"),
        ("GET", f"/acr/v1/{REPOSITORY}/_tags", SERVER, 401, "read metadata of its repository"),
        ("PUT", f"/v2/{REPOSITORY}/manifests/forbidden", SERVER, 401, "push to its repository"),
        ("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SERVER, 401, "upload to its repository"),
        ("DELETE", f"/v2/{REPOSITORY}/manifests/{single.digest}", SERVER, 401, "delete from its repository"),
        ("GET", manifest, OTHER_SERVER, 401, "use it at another registry"),
    )
    for method, path, server, expected, what in beyond:
        headers = {"Authorization": f"Bearer {token}", "Accept": f"{OCI_INDEX}, {single.media_type}",
                   "Content-Type": single.media_type}  # fmt: skip
        data = single.manifest if method == "PUT" else None
        async with cloud.session.request(method, f"https://{server}{path}", headers=headers, data=data) as response:
            challenge = response.headers.get("WWW-Authenticate", "")
            found = [] if response.status == expected else [f"Azure answers {expected}, localazure {response.status}"]
            if expected == 401 and response.status == 401 and not challenge.startswith("Bearer realm="):
                found.append("the answer does not say which token is needed")
        verb = "may" if expected == 200 else "may not"
        report.add(HTTP, f"a token for pull from {REPOSITORY} {verb} {what}", found)


async def run(report: Report) -> None:
    """Run everything in a world of its own."""
    if shutil.which("skopeo") is None:
        report.add(SKOPEO, "everything", not_run="skopeo is not installed")
        return
    async with worlds.azure(Option.USER_ASSIGNED) as world:
        await play(world, report)
