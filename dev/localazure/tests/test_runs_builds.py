"""What docker builds do in a run: Dockerfiles, stages, contexts, base images from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.localazure.agent.docker import files_of
from dev.localazure.azure import Azure
from dev.localazure.registry.images import Image, build_image, build_index, public_image
from dev.localazure.tests.task_runs import ACR_PULL, BASE, TEAM, Ended, Scenario, registry_id
from dev.testing.azure import Client

REPOSITORY = "https://github.com/team/app.git"


class Builds(Scenario):
    """Builds a Dockerfile with some files, as a Docker task of the team registry."""

    folder: Path

    async def build(self, dockerfile: str, files: dict[str, str] | None = None, **step: Any) -> Ended:
        """Run a Docker step that tags `app:v1`."""
        for name, text in {"Dockerfile": dockerfile, **(files or {})}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        principal = await self.create_task(
            {
                "type": "Docker",
                "imageNames": ["app:v1"],
                "dockerFilePath": "Dockerfile",
                "contextPath": REPOSITORY,
                **step,
            },
            credentials={},
        )
        assert principal
        return await self.run()

    async def built(self, dockerfile: str, files: dict[str, str] | None = None, **step: Any) -> Image:
        """Run a build that succeeds and return the image."""
        ended = await self.build(dockerfile, files, **step)
        assert ended.status == "Succeeded", ended.log
        return self.image("v1", "app")


@pytest.fixture
async def builds(azure: Azure, owner: Client, tmp_path: Path) -> Builds:
    builds = Builds(azure, owner)
    await builds.set_up()
    builds.folder = tmp_path
    azure.agent.contexts[REPOSITORY] = tmp_path
    return builds


async def test_instructions_become_the_images_configuration(builds: Builds) -> None:
    image = await builds.built(
        "FROM scratch\nARG VERSION=1\nENV A=1 B='two words'\nENV C the rest\nWORKDIR /srv\nWORKDIR app\n"
        'LABEL team=a version="$VERSION"\nEXPOSE 80 53/udp\nVOLUME /data\nUSER nobody\nSTOPSIGNAL SIGINT\n'
        'ENTRYPOINT ["node"]\nCMD server.js\nHEALTHCHECK NONE\n'
    )
    config = image.config["config"]
    assert config["Env"] == ["A=1", "B=two words", "C=the rest"]
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/srv/app", "nobody", "SIGINT")
    assert config["Labels"] == {"team": "a", "version": "1"}
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert (config["Entrypoint"], config["Cmd"]) == (["node"], ["/bin/sh", "-c", "server.js"])
    assert [step["created_by"] for step in image.config["history"]][-1] == "/bin/sh -c #(nop) HEALTHCHECK NONE"


async def test_copy_puts_files_where_docker_puts_them(builds: Builds) -> None:
    files = {"a.txt": "a", "src/b.js": "b", "src/lib/c.js": "c"}
    image = await builds.built(
        "FROM scratch\nWORKDIR /w\nCOPY a.txt /renamed.txt\nCOPY a.txt ./\nCOPY src /code\nCOPY src/*.js a.txt many/\n"
        'COPY ["a.txt", "/with space.txt"]\nADD https://example.com/x /x\n',
        files,
    )
    assert set(files_of(image)) == {
        "renamed.txt", "w/a.txt", "code/b.js", "code/lib/c.js", "w/many/b.js", "w/many/a.txt", "with space.txt",
    }  # fmt: skip
    assert files_of(image)["code/lib/c.js"] == b"c"


async def test_missing_source_of_a_copy_fails_the_build(builds: Builds) -> None:
    ended = await builds.build("FROM scratch\nCOPY missing /\n")
    assert (
        "COPY failed: file not found in build context or excluded by .dockerignore: stat missing: file does not exist"
        in ended.lines
    )
    assert ended.lines[-4] == "failed to run step ID: build: exit status 1"
    assert builds.tags("app") == {}


async def test_stages_hand_files_over(builds: Builds) -> None:
    image = await builds.built(
        "FROM node:15 AS build\nCOPY a /out/a\nRUN make\nFROM scratch\nCOPY --from=build /out /app\n"
        "COPY --from=0 /made-by-run /app/\nCOPY --from=alpine:3 /etc/os-release /os\n",
        {"a": "1"},
    )
    assert files_of(image)["app/a"] == b"1"
    assert b"alpine" in files_of(image)["os"]


async def test_file_that_run_would_have_made_is_skipped_with_a_word(builds: Builds) -> None:
    ended = await builds.build("FROM scratch AS build\nRUN make\nFROM scratch\nCOPY --from=build /dist /app\n")
    assert ended.status == "Succeeded"
    assert " ---> /dist does not exist because localazure does not execute RUN: skipped" in ended.lines
    assert ended.lines.count(" ---> localazure does not execute RUN: skipped") == 1


async def test_dependencies_name_runtime_and_buildtime_images(builds: Builds) -> None:
    ended = await builds.build("FROM golang:1.25 AS build\nFROM alpine\nCOPY --from=build /etc/os-release /\n")
    task = builds.azure.state.get(f"{registry_id('myregistry')}/tasks/helloworldtask")
    assert task
    assert task.properties["step"]["baseImageDependencies"] == [
        {"type": "Runtime", "registry": "registry.hub.docker.com", "repository": "library/alpine", "tag": "latest",
         "digest": public_image("docker.io/library/alpine:latest").digest},
        {"type": "BuildTime", "registry": "registry.hub.docker.com", "repository": "library/golang", "tag": "1.25",
         "digest": public_image("docker.io/library/golang:1.25").digest},
    ]  # fmt: skip
    assert '    tag: "1.25"' in ended.lines


def lies_beneath(image: Image, known: dict[str, Image]) -> str:
    """Tell which image this one was built on: the one whose layers and history it continues for longest."""
    own, matching = image.config, dict[str, int]()
    for name, base in known.items():
        layers, history = base.config["rootfs"]["diff_ids"], base.config["history"]
        if own["rootfs"]["diff_ids"][: len(layers)] == layers and own["history"][: len(history)] == history:
            matching[name] = len(history)
    return max(matching, key=matching.__getitem__)


@pytest.fixture
def bases(builds: Builds) -> dict[str, Image]:
    """A base image, one that adds a layer to it, one that has but another ENV; the tag is on the second."""
    first = build_image({"a": b"1"}, history=["COPY a /", "ENV A=1"], config={"Env": ["A=1"]}, docker=True)
    layer = build_image({"b": b"2"}, base=first, history=["COPY b /"], created="2026-01-01T00:00:00Z")
    other = build_image(base=first, config={"Env": ["A=2"]}, history=["ENV A=2"], created="2026-01-01T00:00:00Z")
    known = {"first": first, "layer": layer, "other": other}
    builds.registry("mybaseregistry").properties["anonymousPullEnabled"] = True
    for name, image in known.items():
        builds.push_base(image, name)
    builds.push_base(layer)
    return known


@pytest.mark.parametrize("expected", ["first", "layer", "other"])
@pytest.mark.parametrize("how", ["by tag", "by digest", "by both", "by argument"])
async def test_image_continues_the_layers_and_the_history_of_the_image_that_from_names(
    builds: Builds, bases: dict[str, Image], expected: str, how: str
) -> None:
    digest = bases[expected].digest
    wanted = {"by tag": f":{expected}", "by digest": f"@{digest}", "by both": f":15-alpine@{digest}"}
    image = await builds.built(
        f"ARG BASE\nFROM {BASE}/baseimages/node{wanted.get(how, '$BASE')}\nENV OWN=1\nCOPY c /c\nRUN make\nCMD run\n",
        {"c": "3"},
        arguments=[{"name": "BASE", "value": f":{expected}"}],
    )
    assert lies_beneath(image, bases) == expected
    base, own = bases[expected].config, image.config
    assert len(own["rootfs"]["diff_ids"]) == len(base["rootfs"]["diff_ids"]) + 1
    steps = own["history"][len(base["history"]) :]
    assert [(step["created_by"].rpartition(") ")[2], step.get("empty_layer", False)) for step in steps] == [
        ("ENV OWN=1", True), ("COPY c /c", False), ("/bin/sh -c make", True), ("CMD run", True),
    ]  # fmt: skip


async def test_image_of_several_stages_continues_what_its_last_stage_is_based_on(
    builds: Builds, bases: dict[str, Image]
) -> None:
    image = await builds.built(
        f"FROM {BASE}/baseimages/node:layer AS build\nCOPY c /c\n"
        f"FROM {BASE}/baseimages/node:other AS base\nENV OWN=1\n"
        "FROM base\nCOPY --from=build /c /c\n",
        {"c": "3"},
    )
    assert lies_beneath(image, bases) == "other"
    assert [step["created_by"].rpartition(") ")[2] for step in image.config["history"][3:]] == [
        "ENV OWN=1", "COPY --from=build /c /c",
    ]  # fmt: skip


async def test_target_ends_the_build_at_its_stage(builds: Builds) -> None:
    image = await builds.built("FROM scratch AS one\nENV A=1\nFROM missing.azurecr.io/x AS two\n", target="one")
    assert image.config["config"]["Env"] == ["A=1"]
    ended = await builds.build("FROM scratch AS one\n", target="three")
    assert "failed to reach build target three in Dockerfile" in ended.lines


async def test_build_arguments_of_the_task_reach_the_dockerfile(builds: Builds) -> None:
    arguments = [{"name": "BASE", "value": "alpine", "isSecret": False}, {"name": "UNUSED", "value": "1"}]
    ended = await builds.build("ARG BASE=busybox\nFROM $BASE\nARG BASE\nENV WAS=$BASE\n", arguments=arguments)
    assert ended.status == "Succeeded"
    assert "WAS=alpine" in builds.image("v1", "app").config["config"]["Env"]
    assert "[Warning] One or more build-args [UNUSED] were not consumed" in ended.lines


async def test_default_in_from_fails_the_scan_though_docker_knows_it(builds: Builds) -> None:
    ended = await builds.build("FROM ${BASE:-alpine}\n")
    assert "failed to run step ID: build: failed to scan dependencies: exit status 1" in ended.lines


async def test_platform_in_from_fails_the_scan(builds: Builds) -> None:
    ended = await builds.build("FROM --platform=linux/amd64 alpine\n")
    assert (
        "Output from dependency scanning: unable to understand line FROM --platform=linux/amd64 alpine" in ended.lines
    )


async def test_run_options_need_buildkit(builds: Builds) -> None:
    ended = await builds.build("FROM alpine\nRUN --mount=type=cache,target=/x true\n")
    assert any(line.startswith("the --mount option requires BuildKit") for line in ended.lines)


async def test_platform_that_the_base_lacks_fails(builds: Builds) -> None:
    builds.push_base(build_index([build_image({}, platform="linux/arm64", docker=True)]))
    ended = await builds.build(f"FROM {BASE}/baseimages/node:15-alpine\n")
    assert any("unauthorized" in line for line in ended.lines)
    principal = await builds.create_granted_task()
    assert principal
    ended = await builds.run()
    assert "no matching manifest for linux/amd64 in the manifest list entries" in ended.lines


async def test_base_in_the_own_registry_needs_no_credential(builds: Builds) -> None:
    builds.azure.registries.push(builds.registry("myregistry"), "base", "1", build_image({"f": b"x"}, docker=True))
    image = await builds.built(f"FROM {TEAM}/base:1\n")
    assert files_of(image) == {"f": b"x"}


async def test_anonymous_pull_needs_no_credential(builds: Builds) -> None:
    builds.registry("mybaseregistry").properties["anonymousPullEnabled"] = True
    await builds.built(f"FROM {BASE}/baseimages/node:15-alpine\n")


async def test_artifact_that_is_no_image_cannot_be_a_base(builds: Builds) -> None:
    chart = build_image({}, docker=True)
    manifest = chart.manifest.replace(b'"layers"', b'"x":1,"layers"')
    config = b"{}"
    digest = builds.azure.registries.put_blob(builds.registry("myregistry"), config)
    manifest = manifest.replace(chart.document["config"]["digest"].encode(), digest.encode())
    builds.azure.registries.push(
        builds.registry("myregistry"), "chart", "1", Image(manifest, chart.media_type, {**chart.blobs, digest: config})
    )
    ended = await builds.build(f"FROM {TEAM}/chart:1\n")
    assert any(line.startswith('Encountered remote "') for line in ended.lines)


@pytest.mark.parametrize(
    ("dockerfile", "line"),
    [
        ("FROM nowhere.azurecr.io/x\n", "dial tcp: lookup nowhere.azurecr.io: no such host"),
        ("FROM scratch\n", "No image was generated. Is your Dockerfile empty?"),
        ("FROM scratch\nFETCH x\n", "dockerfile parse error line 2: unknown instruction: FETCH"),
        ("ENV A=1\nFROM scratch\n", "no build stage in current context"),
        ("FROM scratch\nCOPY a\n", "COPY requires at least two arguments, but only one was provided"),
        ("FROM alpine AS base\nFROM ${MISSING}base oops\n", "unable to understand line FROM ${MISSING}base oops"),
    ],
)
async def test_dockerfile_that_cannot_be_built_fails_with_dockers_words(
    builds: Builds, dockerfile: str, line: str
) -> None:
    ended = await builds.build(dockerfile)
    assert ended.status == "Failed"
    assert any(found.endswith(line) for found in ended.lines)


async def task_file(builds: Builds, text: str, **request: Any) -> Ended:
    (builds.folder / "acb.yaml").write_text(text)
    platform = {"os": "linux", "architecture": "amd64"}
    return await builds.run(
        {"type": "FileTaskRunRequest", "taskFilePath": "acb.yaml", "platform": platform, "sourceLocation": REPOSITORY,
         **request}
    )  # fmt: skip


async def test_task_file_in_a_repository_builds_from_there(builds: Builds) -> None:
    (builds.folder / "web").mkdir()
    (builds.folder / "web" / "Dockerfile").write_text("FROM scratch\nCOPY index.html /\n")
    (builds.folder / "web" / "index.html").write_text("hello")
    ended = await task_file(
        builds,
        "steps:\n  - {id: web, build: '-t {{.Run.Registry}}/web:{{.Run.ID}} ./web'}\n"
        "  - push: ['{{.Run.Registry}}/web:{{.Run.ID}}']\n    when: [web]\n",
    )
    assert ended.status == "Succeeded", ended.log
    assert list(builds.tags("web")) == [ended.id]


async def test_image_of_an_earlier_step_can_be_a_base(builds: Builds) -> None:
    (builds.folder / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    (builds.folder / "child").write_text("FROM local:1\nENV B=2\n")
    ended = await task_file(
        builds,
        "version: v1.1.0\nsteps:\n  - build: -t local:1 .\n  - build: -t $Registry/child:1 -f child .\n"
        "  - push: [$Registry/child:1]\n",
    )
    assert ended.status == "Succeeded", ended.log
    assert builds.image("1", "child").config["config"]["Env"] == ["A=1", "B=2"]


async def test_working_directory_moves_the_context(builds: Builds) -> None:
    (builds.folder / "src").mkdir()
    (builds.folder / "src" / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    ended = await task_file(builds, "workingDirectory: src\nsteps:\n  - build: -t x .\n")
    assert ended.status == "Succeeded", ended.log
    ended = await task_file(builds, "workingDirectory: nowhere\nsteps:\n  - build: -t x .\n")
    assert ended.status == "Failed"


async def test_missing_task_file_fails(builds: Builds) -> None:
    ended = await task_file(builds, "steps: []", taskFilePath="other.yaml")
    assert ended.lines[-4] == "open other.yaml: no such file or directory"


async def test_values_file_of_the_repository_gives_values(builds: Builds) -> None:
    (builds.folder / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    (builds.folder / "values.yaml").write_text("name: web\ntag: one\n")
    ended = await task_file(
        builds, "steps:\n  - build: -t {{.Run.Registry}}/{{.Values.name}}:{{.Values.tag}} .\n"
        "  - push: ['{{.Run.Registry}}/{{.Values.name}}:{{.Values.tag}}']\n",
        valuesFilePath="values.yaml", values=[{"name": "tag", "value": "two"}],
    )  # fmt: skip
    assert ended.status == "Succeeded", ended.log
    assert list(builds.tags("web")) == ["two"]


async def test_push_of_an_image_that_was_not_built_fails(builds: Builds) -> None:
    ended = await task_file(builds, "version: v1.1.0\nsteps:\n  - push: [$Registry/nothing:1]\n")
    assert f"An image does not exist locally with the tag: {TEAM}/nothing" in ended.lines
    assert ended.lines[-4] == "failed to run step ID: acb_step_0: failed to push images successfully"


async def test_push_to_another_registry_needs_push_rights_there(builds: Builds) -> None:
    principal = await builds.create_task()
    builds.azure.grant(principal, ACR_PULL, registry_id("mybaseregistry"))
    (builds.folder / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    ended = await task_file(builds, f"steps:\n  - build: -t {BASE}/x:1 .\n  - push: ['{BASE}/x:1']\n")
    assert ended.status == "Failed"
    ended = await task_file(
        builds, f"steps:\n  - build: -t {BASE}/x:1 .\n  - push: ['{BASE}/x:1']\n",
        credentials={"customRegistries": {BASE: {"identity": "[caller]"}}},
    )  # fmt: skip
    assert ended.status == "Succeeded", ended.log
    assert list(builds.tags("x", "mybaseregistry")) == ["1"]


async def test_command_is_not_executed_and_the_log_says_so(builds: Builds) -> None:
    ended = await task_file(builds, "version: v1.1.0\nsteps:\n  - cmd: bash -c 'echo hi'\n  - cmd: alpine ls\n")
    assert ended.status == "Succeeded"
    assert "localazure does not run containers: skipped mcr.microsoft.com/acr/bash:2ff604c -c 'echo hi'" in ended.lines
    assert "localazure does not run containers: skipped alpine:latest ls" in ended.lines


async def test_public_image_is_pulled_tagged_and_pushed_by_docker_itself(builds: Builds) -> None:
    ended = await task_file(
        builds, "version: v1.1.0\nsteps:\n  - cmd: docker pull docker.io/library/node:15\n"
        "  - cmd: docker tag docker.io/library/node:15 $Registry/node:15\n  - push: [$Registry/node:15]\n",
    )  # fmt: skip
    assert ended.status == "Succeeded", ended.log
    made_up = public_image("docker.io/library/node:15").children[0]
    assert builds.tags("node") == {"15": made_up.digest}
    assert builds.image("15", "node") == made_up
    assert [image["tag"] for image in ended.run["outputImages"]] == ["15"]


async def test_image_that_docker_pulls_and_pushes_again_keeps_its_digest_and_raises_an_event(builds: Builds) -> None:
    text = f"steps:\n  - cmd: docker pull {TEAM}/app:1\n  - cmd: docker push {TEAM}/app:1\n"
    image = build_image({"a": b"1"})
    builds.azure.registries.push(builds.registry("myregistry"), "app", "1", image)
    assert (await task_file(builds, text)).status == "Succeeded"
    before, after = (e["data"] for e in builds.azure.events.published if e.get("subject") == "app:1")
    assert before["target"]["digest"] == after["target"]["digest"] == image.digest
    assert after["request"]["useragent"].startswith("docker/")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (f"pull {BASE}/baseimages/node:15-alpine", 'Error response from daemon: Head "https://'),
        (f"pull {TEAM}/app:none", f"Error response from daemon: manifest for {TEAM}/app:none not found"),
        (f"tag node:15 {TEAM}/node:15", "Error response from daemon: No such image: node:15"),
        (f"push {TEAM}/node:15", f"An image does not exist locally with the tag: {TEAM}/node"),
        ("pull --all-tags node", "localazure knows `docker pull`, `tag` and `push` with names of images only"),
    ],
)
async def test_docker_that_fails_ends_the_run(builds: Builds, arguments: str, line: str) -> None:
    ended = await task_file(builds, f"steps:\n  - cmd: docker {arguments}\n")
    assert ended.status == "Failed"
    assert any(found.startswith(line) for found in ended.lines), ended.log
    assert "failed to run step ID: acb_step_0: exit status 1" in ended.lines


async def test_docker_gives_no_image_a_digest_for_a_name(builds: Builds) -> None:
    target = f"{TEAM}/node@sha256:{'0' * 64}"
    ended = await task_file(builds, f"steps: [cmd: docker pull node:15, cmd: docker tag node:15 {target}]")
    assert ended.status == "Failed"
    assert "refusing to create a tag with a digest reference" in ended.lines


async def test_docker_pushes_with_the_rights_that_the_run_is_logged_in_with(builds: Builds) -> None:
    text = f"steps: [cmd: docker pull node:15, cmd: docker tag node:15 {BASE}/node:15, cmd: docker push {BASE}/node:15]"
    ended = await task_file(builds, text)
    assert ended.status == "Failed"
    assert "failed to run step ID: acb_step_2: exit status 1" in ended.lines
    assert builds.tags("node", "mybaseregistry") == {}


async def test_command_whose_image_may_not_be_pulled_fails(builds: Builds) -> None:
    ended = await task_file(builds, f"steps:\n  - cmd: {BASE}/baseimages/node:15-alpine node\n")
    assert any(line.startswith("docker: Error response from daemon: Head") for line in ended.lines)
    assert "failed to run step ID: acb_step_0: exit status 125" in ended.lines


async def test_step_whose_errors_are_ignored_does_not_end_the_run(builds: Builds) -> None:
    ended = await task_file(
        builds, f"steps:\n  - {{id: bad, cmd: {BASE}/baseimages/node:15-alpine, ignoreErrors: true}}\n  - cmd: bash\n"
    )
    assert ended.status == "Succeeded"
    assert any("Step ID: bad encountered an error: exit status 125" in line for line in ended.lines)


async def test_url_without_git_suffix_is_warned_about_and_has_no_dockerfile(builds: Builds) -> None:
    ended = await task_file(builds, "steps:\n  - build: -t x https://github.com/team/app\n")
    assert any(line.startswith("WARNING: https://github.com/team/app might not be valid") for line in ended.lines)
    assert any("error opening dockerfile: Dockerfile" in line for line in ended.lines)


async def test_unknown_repository_fails_the_scan_as_git_would(builds: Builds) -> None:
    ended = await task_file(builds, "steps:\n  - build: -t x https://github.com/nobody/nothing.git\n")
    assert "Output from dependency scanning: Getting context from Git URL" in ended.lines
    assert any("could not read Username for 'https://github.com'" in line for line in ended.lines)


async def test_context_can_be_added_over_the_control_endpoint(builds: Builds, owner: Client, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    url = "https://dev.azure.com/team/_git/other.git"
    added = await owner.control("POST", "/contexts", {url: str(tmp_path)})
    assert added.body["dev.azure.com/team/_git/other"] == str(tmp_path)
    assert (await owner.control("POST", "/contexts", {url: str(tmp_path / "missing")})).status == 400
    ended = await task_file(builds, f"steps:\n  - build: -t x {url}#main\n")
    assert ended.status == "Succeeded", ended.log


async def test_password_credential_is_a_registry_token_or_refused(builds: Builds) -> None:
    (builds.folder / "Dockerfile").write_text(f"FROM {BASE}/baseimages/node:15-alpine\n")
    owner = builds.azure.state.principals[builds.azure.owner.system_assigned or ""]
    token = builds.azure.registries.exchange(owner, builds.registry("mybaseregistry"))
    for password, status in ((token, "Succeeded"), ("wrong", "Failed")):
        login = {
            "userName": {"type": "Opaque", "value": "00000000-0000-0000-0000-000000000000"},
            "password": {"type": "Opaque", "value": password},
        }
        credentials = {"customRegistries": {BASE: login}}
        ended = await task_file(builds, "steps:\n  - build: -t x .\n", credentials=credentials)
        assert ended.status == status, ended.log
    vault = {"customRegistries": {BASE: {"userName": {"type": "Vaultsecret", "value": "https://v/secrets/u"}}}}
    ended = await task_file(builds, "steps:\n  - build: -t x .\n", credentials=vault)
    assert any("no Key Vault" in line for line in ended.lines)


async def test_quick_run_with_callers_identity_needs_the_callers_rights(builds: Builds) -> None:
    (builds.folder / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    text = "version: v1.1.0\nsteps:\n  - build: -t $Registry/x:1 .\n  - push: [$Registry/x:1]\n"
    credentials = {"sourceRegistry": {"identity": "[caller]"}}
    assert (await task_file(builds, text, credentials=credentials)).status == "Succeeded"
