"""What the build agent makes of task files, command lines and Dockerfiles."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from dev.localazure.agent import context, dependencies, dockerfile, taskfile, templating
from dev.localazure.agent.commandline import build_command, scan_arguments
from dev.localazure.agent.context import Context, Contexts, from_archive, select
from dev.localazure.agent.dependencies import Dependency
from dev.localazure.agent.dockerfile import image_name, scan
from dev.localazure.agent.errors import RunFailed
from dev.localazure.agent.logs import duration

VALUES = {"Run": {"ID": "cf10", "Registry": "myregistry.azurecr.io"}, "Values": {"tag": "15-alpine", "on": True}}
DIGEST = "sha256:" + "0123456789abcdef" * 4


# Aliases and templates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$Registry/app:$ID", "{{.Run.Registry}}/app:{{.Run.ID}}"),
        ("$Registry$ID", "{{.Run.Registry}}{{.Run.ID}}"),
        ("$$ID costs $5", "$ID costs $5"),
        ("$unknown$ID", "$unknown$ID"),
        ("${ID} and $IDs", "${ID} and $IDs"),
    ],
)
def test_alias_is_expanded_where_acr_expands_it(text: str, expected: str) -> None:
    assert templating.expand_aliases(text, VALUES)[0] == expected


def test_alias_section_adds_aliases_and_is_removed() -> None:
    text = "version: v1.1.0\nalias:\n  values:\n    repo: team/{{.Values.tag}}\nsteps:\n  - build: -t $repo ."
    expanded, aliases = templating.expand_aliases(text, VALUES)
    assert expanded == "version: v1.1.0\nsteps:\n  - build: -t team/15-alpine ."
    assert aliases["repo"] == "team/15-alpine"


def test_alias_directive_can_be_another_character() -> None:
    text = "alias:\n  directive: '@'\nsteps: @Registry $Registry"
    assert templating.expand_aliases(text, VALUES)[0] == "steps: {{.Run.Registry}} $Registry"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("directive: ab", "single character"),
        ("directive: a", "may not be alphanumeric"),
        ("values: {a-b: c}", "only support alphanumeric"),
        ("src: [https://example.com/alias.yaml]", "localazure loads no aliases"),
        ("values: [", "alias unmarshaling"),
    ],
)
def test_wrong_alias_section_fails_the_run(section: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        templating.expand_aliases(f"alias:\n  {section}\nsteps: []", VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.Run.Registry}}/app:{{ .Run.ID }}", "myregistry.azurecr.io/app:cf10"),
        ("[{{.Values.missing}}]", "[]"),
        ('{{.Values.missing | default "x"}}{{.Values.tag | default "x"}}', "x15-alpine"),
        ("a {{- .Run.ID -}} b{{/* nothing */}}", "acf10b"),
        ("{{.Values.on}}", "true"),
    ],
)
def test_template_is_rendered_as_go_renders_it(text: str, expected: str) -> None:
    assert templating.render(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{.Run.ID", "unclosed action"),
        ("{{.Values.base-image}}", "failed to parse template"),
        ("{{.Values.missing.deeper}}", "nil pointer"),
    ],
)
def test_malformed_template_fails_the_run(text: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        templating.render(text, VALUES)


def test_value_is_spliced_into_the_command_as_text() -> None:
    rendered = templating.render(
        "build: -t x --build-arg A={{.Values.tag}} .", {"Values": {"tag": "1 --build-arg B=2"}}
    )
    assert build_command(rendered.removeprefix("build: ")).build_args == {"A": "1", "B": "2"}


# Task files


def test_task_file_steps_get_their_defaults() -> None:
    text = "stepTimeout: 90\nenv: [A=1, B=2]\nsteps:\n  - cmd: bash\n    env: [A=3]\n  - {push: [x], id: p}"
    task = taskfile.parse(text)
    first, second = task.steps
    assert (first.id, first.timeout, first.env) == ("acb_step_0", 90, ["A=3", "B=2"])
    assert (second.id, second.network) == ("p", "acb_default_network")
    assert taskfile.parse("steps: [{cmd: bash}]").steps[0].timeout == 600


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps: [", "failed to deserialize task and validate: yaml: line"),
        ("- build", "a mapping with `steps` is expected"),
        ("steps: [{push: x}]", "failed to deserialize task and validate: yaml: unmarshal errors: steps.0.push"),
        ("version: v9\nsteps: []", 'invalid version specified: "v9", the current version is "v1.0.0"'),
        ("secrets: [{id: x, keyvault: y}]\nsteps: []", "no Key Vault"),
    ],
)
def test_malformed_task_file_fails_the_run(text: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        taskfile.parse(text)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("[{id: a}]", "step is missing a cmd, build, or push property"),
        ("[{build: x, cmd: y}]", "single build, cmd, or push"),
        ("[{id: a b, cmd: x}]", "cannot contain spaces"),
        ("[{id: a, cmd: x}, {id: a, cmd: y}]", "a already exists as a vertex"),
        ("[{id: a, cmd: x, when: [b]}, {id: b, cmd: y}]", "b does not exist as a vertex"),
        ("[{id: a, cmd: x, when: [a]}]", "self-referenced"),
        ("[{id: a, cmd: x}, {id: b, cmd: y, when: ['-', a]}]", "immediate execution token"),
    ],
)
def test_malformed_step_fails_the_run(steps: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        taskfile.check(taskfile.parse(f"steps: {steps}"))


# Command lines


def test_build_command_is_read_as_docker_reads_it() -> None:
    text = """-t a:1 --tag=b:2 https://github.com/x/y.git#main:src -f "Docker file" --build-arg=A=1
              --build-arg B --no-cache --build-arg 'C=two words' --label l=v --target run --platform linux/arm64"""
    command = build_command(text)
    assert command.tags == ("a:1", "b:2")
    assert command.build_args == {"A": "1", "C": "two words"}
    assert (command.dockerfile, command.target, command.platform) == ("Docker file", "run", "linux/arm64")
    assert (command.context, command.labels) == ("https://github.com/x/y.git#main:src", {"l": "v"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-t a", "requires exactly 1 argument"),
        ("-t a . b", "requires exactly 1 argument"),
        ("--nonsense .", "unknown flag: --nonsense"),
        ("-t 'a .", "syntax error"),
        (". -f", "expected one argument"),
    ],
)
def test_build_command_that_docker_refuses_fails_the_run(text: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        build_command(text)


def test_scanner_reads_less_of_a_command_line_than_docker() -> None:
    arguments = scan_arguments("-t a:1 --tag=b --build-arg A=1 --build-arg=B=2 -f app.Dockerfile ./src")
    assert (arguments.tags, arguments.build_args) == (("a:1",), ("A=1",))
    assert (arguments.dockerfile, arguments.context) == ("app.Dockerfile", "./src")
    assert scan_arguments("-t a --no-cache https://github.com/x/y.git").context == "."


# Image names and Dockerfiles


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("mybaseregistry.azurecr.io/baseimages/node:15", "mybaseregistry.azurecr.io", "baseimages/node", "15"),
        ("node", "registry.hub.docker.com", "library/node", "latest"),
        ("grafana/grafana:9", "registry.hub.docker.com", "grafana/grafana", "9"),
        (f"mcr.microsoft.com/a/b@{DIGEST}", "mcr.microsoft.com", "a/b", DIGEST),
    ],
)
def test_image_name_is_taken_apart_as_the_scanner_does(
    text: str, registry: str, repository: str, reference: str
) -> None:
    name = image_name(text)
    assert (name.registry, name.repository, name.reference) == (registry, repository, reference)


@pytest.mark.parametrize("text", ["", "/node:15", "a.io/Node:15", "a.io/node:", "a.io/x:1 2", "a.io/x@sha256:1"])
def test_text_that_is_no_image_name_is_refused(text: str) -> None:
    with pytest.raises(RunFailed, match="invalid reference format"):
        image_name(text)


def test_instructions_keep_line_flags_and_continuations() -> None:
    parsed = dockerfile.parse("# escape=`\nFROM a\nRUN one `\n  # why\n  two\ncopy --from=b --chown=1 x y\n")
    assert [(i.line, i.keyword, i.rest) for i in parsed] == [
        (2, "FROM", "a"), (3, "RUN", "one two"), (6, "COPY", "x y"),
    ]  # fmt: skip
    assert parsed[2].flags == {"from": "b", "chown": "1"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("FROM a\nFETCH x", "line 2: unknown instruction: FETCH"), ("FROM", "at least one argument"), ("# x", "empty")],
)
def test_dockerfile_that_docker_refuses_fails_the_run(text: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        dockerfile.parse(text)


def test_variables_are_expanded_as_docker_does() -> None:
    variables = {"A": "1", "EMPTY": ""}
    assert dockerfile.expand("$A ${A}b ${EMPTY:-x} ${A:+set} ${B:+set} \\$A $B.", variables) == "1 1b x set  $A ."


SCENARIO = "ARG REGISTRY_NAME\nFROM ${REGISTRY_NAME}/baseimages/node:15-alpine\nRUN true\n"


def test_scan_finds_the_base_image_that_a_build_argument_names() -> None:
    found = scan(SCENARIO, ["REGISTRY_NAME=mybaseregistry.azurecr.io"], "")
    assert found.runtime.text == "mybaseregistry.azurecr.io/baseimages/node:15-alpine"
    assert found.buildtime == ()


def test_scan_tells_runtime_from_buildtime_images() -> None:
    text = "FROM golang AS build\nFROM alpine:3 as tools\nFROM build AS final\n"
    found = scan(text, [], "")
    assert found.runtime.repository == "library/golang"
    assert [name.text for name in found.buildtime] == ["alpine:3"]
    assert scan(text, [], "tools").runtime.text == "alpine:3"


def test_scan_takes_the_first_default_of_an_argument() -> None:
    assert scan("ARG V=1\nARG V=2\nFROM a.io/x:$V", [], "").runtime.tag == "1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SCENARIO, "invalid reference format"),
        ("FROM ${R:-a.io}/x:1", "invalid reference format"),
        ("FROM --platform=linux/amd64 a.io/x AS y", "unable to understand line FROM --platform"),
        ("FROM --platform=linux/amd64 a.io/x", "unable to understand line FROM --platform"),
        ("FROM", "unable to understand line"),
        ("version: v1.1.0", "unexpected dockerfile format"),
    ],
)
def test_scan_fails_where_acrs_scanner_fails(text: str, problem: str) -> None:
    with pytest.raises(RunFailed, match=problem):
        scan(text, [], "")


def test_scan_refuses_a_build_argument_without_a_value() -> None:
    with pytest.raises(RunFailed, match="cannot be split into 2 tokens"):
        scan(SCENARIO, ["REGISTRY_NAME"], "")


# Contexts


def test_git_url_stands_for_a_folder_with_or_without_suffix(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Dockerfile").write_text("FROM scratch")
    contexts = Contexts()
    contexts["https://dev.azure.com/team/_git/app"] = tmp_path
    contexts["https://GitHub.com/Team/App.git"] = tmp_path
    assert set(contexts.clone("https://github.com/team/app#main").files) == {"src/Dockerfile"}
    cloned = contexts.clone("https://token@github.com/team/app.git#v1:src")
    assert set(cloned.files) == {"Dockerfile"}
    assert len(cloned.revision) == 40


def test_revision_changes_with_the_content(tmp_path: Path) -> None:
    contexts = Contexts()
    contexts["https://github.com/a/b.git"] = tmp_path
    (tmp_path / "file").write_text("1")
    before = contexts.clone("https://github.com/a/b.git").revision
    assert contexts.clone("https://github.com/a/b.git").revision == before
    (tmp_path / "file").write_text("2")
    assert contexts.clone("https://github.com/a/b.git").revision != before


def test_unknown_repository_and_folder_fail_as_git_does() -> None:
    with pytest.raises(RunFailed, match=r"could not read Username for 'https://github\.com'"):
        Contexts().clone("https://github.com/nobody/nothing.git")
    with pytest.raises(RunFailed, match="no such file or directory"):
        Contexts().clone(context.HELLO_WORLD + ".git#main:missing")


def test_only_a_folder_can_be_a_context(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a folder"):
        Contexts()["https://github.com/a/b.git"] = tmp_path / "missing"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (".", {"a.txt", "src/b.js", "src/lib/c.js", "docs/d.md"}),
        ("a.txt", {"a.txt"}),
        ("/src/", {"b.js", "lib/c.js"}),
        ("src/*.js", {"b.js"}),
        ("*.txt", {"a.txt"}),
        ("s*", {"b.js", "lib/c.js"}),
        ("missing", set()),
        ("../secret", set()),
    ],
)
def test_copy_source_selects_what_docker_selects(pattern: str, expected: set[str]) -> None:
    files = {"a.txt": b"a", "src/b.js": b"b", "src/lib/c.js": b"c", "docs/d.md": b"d"}
    assert set(select(files, pattern)) == expected


def test_context_cannot_be_left(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="no such file or directory"):
        Context({"a": b""}).below("../other")


def test_upload_that_is_no_archive_is_refused() -> None:
    with pytest.raises(RunFailed, match="failed to untar context"):
        from_archive(b"not a tar")


# The log's end


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (32, "32s"), (85, "1m25s"), (3600, "1h0m0s")])
def test_duration_is_written_as_in_the_log(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_dependencies_block_is_yaml_with_quoted_numbers() -> None:
    base = image_name("mcr.microsoft.com/node:15")
    found = Dependency(image_name("a.io/x:1.25"), base, (image_name(f"a.io/tools@{DIGEST}"),), "0f98")
    text = dependencies.as_yaml([found.with_digests({base.text: DIGEST})])
    assert '    tag: "1.25"' in text.splitlines()
    assert yaml.safe_load(text) == [
        {
            "image": {"registry": "a.io", "repository": "x", "tag": "1.25", "digest": ""},
            "runtime-dependency": {
                "registry": "mcr.microsoft.com", "repository": "node", "tag": "15", "digest": DIGEST,
            },
            "buildtime-dependency": [{"registry": "a.io", "repository": "tools", "digest": DIGEST}],
            "git": {"git-head-revision": "0f98"},
        }
    ]  # fmt: skip
