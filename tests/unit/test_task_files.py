"""Task files are templates: what ACR takes is taken, and the local agent reads them alike."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.localazure.agent import taskfile, templating
from dev.localazure.agent.errors import RunFailed
from shared.adapters.task_file import problem

VALUES = {"contextUrl": "https://github.com/contoso/shop.git#main", "image": "shop"}
RUN = {
    "Values": VALUES,
    "Build": {"ID": "cf1"},
    "Run": {"ID": "cf1", "Registry": "myregistry.azurecr.io", "Date": "20261122-093000z", "Commit": "", "Branch": ""},
    "Secrets": {"password": "x"},
}

RENDERED = {
    "a registry in front of a command": "steps:\n  - cmd: {{.Run.Registry}}/bash:3.0 echo hi\n",
    "a list in flow style": "steps:\n  - push: [ {{.Run.Registry}}/a, {{ .Run.Registry }}/b:{{.Run.ID}} ]\n",
    "a folded command": "steps:\n  - cmd: >-\n      {{.Run.Registry}}/buildx build\n      {{.Values.contextUrl}}\n",
    "aliases": "version: v1.1.0\nsteps:\n  - build: -t $Registry/a:$ID-$Date .\n  - push:\n    - $Registry/a:$ID-$Date",
    "a value with a default": 'steps:\n  - cmd: {{.Values.tool | default "bash"}} -c {{ default `x` .Values.image }}\n',
    "a default from another value": "steps:\n  - cmd: {{.Values.tool | default .Values.image}}\n",
    "a template in the aliases": 'version: v1.1.0\nalias:\n  values:\n    base: {{.Values.base | default "mcr"}}\n'
    "steps:\n  - cmd: docker pull $base/dotnet/sdk\n    retries: 3\n",
    "an alias of another sign": "version: v1.1.0\nalias:\n  directive: '@'\nsteps:\n  - cmd: @Registry/bash\n",
    "an alias for a key": "version: v1.1.0\nalias:\n  values:\n    how: cmd\nsteps:\n  - $how: bash echo\n",
    "comments and trimmed blanks": "{{- /* what }} is it */ -}}\nsteps:\n  - cmd: bash {{- .Run.ID -}} {{/* on */}}\n",
    "a template in a comment": "version: v1.1.0\n# {{ .Values.image | upper\nsteps:\n  # {{end}}\n  - cmd: bash\n",
    "a value that nobody gives": "steps:\n  - cmd: bash echo {{.Values.missing}}\n{{.Values.missing}}",
    "the root by its name": "steps:\n  - cmd: bash echo {{$.Run.ID}} {{.Build.ID}}\n",
    "an action over lines": "steps:\n  - cmd: bash {{\n  .Values.image\n  }}\n",
    "a second document": "steps: [{cmd: bash}]\n---\nnotes: [",
    "a date that is none": "until: 2026-13-45\nsteps: [{cmd: bash}]",
    "a tag of YAML's": "notes: !ours {a: 1}\nsteps: [{cmd: !text bash}]",
    "an anchor": "both: &both {timeout: 60}\nsteps:\n  - cmd: bash\n    <<: *both\n",
    "a key that ACR does not know": "version: v1.1.0\nsteps: [{cmd: bash, someday: true}]",
    "a version in quotes": "'version': \"v1.1.0\"\nalias: {directive: '@'}\nsteps: [{cmd: bash}]",
}
"""What ACR takes and both of us can render."""

BELIEVED = {
    "a condition": "steps:\n{{if .Values.fast}}\n  - cmd: bash\n{{else}}\n  - cmd: az\n{{end}}",
    "a condition in a line": "steps:\n  - cmd: bash {{- if eq .Values.image `shop` }} --fast{{ end }}\n",
    "a loop": 'steps:\n{{range $i, $name := split "," .Values.names}}\n  - cmd: bash {{$name}}\n{{end}}',
    "steps from a loop alone": "{{with .Values.all}}{{.}}{{end}}",
    "a function of sprig's": "steps:\n  - cmd: bash {{.Values.image | trimPrefix `s` | upper}}\n",
    "a secret in base64": "volumes:\n  - secret:\n      key: {{.Values.key | b64enc}}\nsteps:\n  - cmd: bash\n",
    "a variable": '{{$name := "bash"}}steps:\n  - cmd: {{$name}}\n',
    "a nested call": 'steps:\n  - cmd: bash {{default (printf "%s-x" .Run.ID) .Values.missing}}\n',
    "a template of its own": '{{define "step"}}{cmd: bash}{{end}}steps: [{{template "step"}}]',
    "all values as JSON": "steps:\n  - cmd: bash echo {{.ValuesJSON | quote}}\n",
    "aliases from elsewhere": "version: v1.1.0\nalias:\n  src: [https://example.com/alias.yaml]\nsteps: $steps\n",
    "a value below a value": "steps:\n  - cmd: {{.Values.image.name}}\n",
}
"""What ACR may take, and only ACR can tell."""

REFUSED = {
    "no steps": ("version: v1.1.0\nstep: [{cmd: bash}]", "has no steps"),
    "a Dockerfile": ("FROM node:15\nRUN echo {{.Run.ID}}\n", "has no steps"),
    "nothing but a comment": ("# {{.Values.image}}\n", "has no steps"),
    "no YAML once rendered": ("steps:\n  - cmd: {{.Run.ID}}: x: y\n", "is not YAML"),
    "a list that is not closed": ("steps: [{{.Run.ID}}", "is not YAML"),
    "an action that is not closed": ("steps:\n  - cmd: bash {{.Run.ID}\n", "not closed"),
    "a text that is not closed": ('steps:\n  - cmd: bash {{"x}}\n', "not closed"),
    "an action in a comment of old": ("version: v1.0.0\n# {{ oops\nsteps: [{cmd: bash}]", "not closed"),
    "a condition without an end": ("steps:\n{{if .Values.fast}}\n  - cmd: bash\n", "{{end}}"),
    "an end without a beginning": ("steps:\n  - cmd: bash\n{{end}}\n", "{{end}}"),
    "an alias sign of two": ("version: v1.1.0\nalias: {directive: ab}\nsteps: [{cmd: bash}]", "directive"),
    "an alias with a dash": ("version: v1.1.0\nalias: {values: {a-b: c}}\nsteps: [{cmd: bash}]", "alias"),
}


def locally(text: str) -> taskfile.TaskFile:
    """Read a task file as the local agent does."""
    if templating.version_of(text) >= "v1.1.0":
        text, _ = templating.expand_aliases(templating.strip_comments(text), RUN)
    return taskfile.parse(templating.render(text, RUN))


@pytest.mark.parametrize("case", RENDERED)
def test_task_file_that_acr_renders_to_steps_is_taken_here_and_by_the_local_agent(case: str) -> None:
    assert problem(RENDERED[case], VALUES) == ""
    assert locally(RENDERED[case]).steps


@pytest.mark.parametrize("case", BELIEVED)
def test_task_file_whose_templates_only_acr_can_evaluate_is_believed(case: str) -> None:
    assert problem(BELIEVED[case], VALUES) == ""
    with pytest.raises(RunFailed, match=r"localazure (renders|loads)|nil pointer"):
        locally(BELIEVED[case])


@pytest.mark.parametrize("case", REFUSED)
def test_task_file_that_acr_refuses_in_any_case_is_refused_with_its_reason(case: str) -> None:
    text, reason = REFUSED[case]

    assert reason in problem(text, VALUES)
    with suppress(RunFailed):
        assert not locally(text).steps


def test_value_that_breaks_the_task_file_is_seen() -> None:
    text = "steps:\n  - cmd: bash\n{{.Values.more}}\n"

    assert problem(text, {}) == ""
    assert "is not YAML" in problem(text, {"more": "x"})


@given(st.text(alphabet="{}-. |\"'`$/*#:\n[]stepscmdValuesRunID", max_size=80))
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    assert isinstance(problem(f"steps:\n  - cmd: {text}", VALUES), str)


def test_what_the_local_agent_runs_is_never_refused() -> None:
    everything: list[Any] = [*RENDERED.values(), *BELIEVED.values(), *(text for text, _ in REFUSED.values())]

    for text in everything:
        try:
            runs = bool(locally(text).steps)
        except RunFailed:
            continue
        assert not runs or problem(text, VALUES) == "", text
