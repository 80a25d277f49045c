"""One run on one agent: from its definition to images in the registry, told in the words of ACR's log."""

from __future__ import annotations

import base64
import posixpath
from dataclasses import dataclass, field
from typing import Any

import yaml

from dev.localazure.agent import context, credentials, dockercli, taskfile, templating
from dev.localazure.agent.build import Build
from dev.localazure.agent.commandline import ScanArguments, build_command, scan_arguments
from dev.localazure.agent.context import Context
from dev.localazure.agent.definition import Definition, docker_step
from dev.localazure.agent.dependencies import Dependency, as_yaml
from dev.localazure.agent.docker import Docker, Login
from dev.localazure.agent.dockerfile import ImageName, image_name, scan
from dev.localazure.agent.errors import RunFailed, TimedOut
from dev.localazure.agent.logs import RunLog
from dev.localazure.agent.machine import Machine
from dev.localazure.agent.taskfile import NETWORK, Step, TaskFile
from dev.localazure.clock import iso
from dev.localazure.state import Resource, new_guid

_PUSH_ATTEMPTS = 3


@dataclass
class StepRecord:
    """How a step went."""

    id: str
    seconds: float = 0.0
    status: str = "successful"
    dependencies: list[Dependency] = field(default_factory=list)


class Execution:
    """Executes one run.

    Attributes:
        outputs: The images pushed so far, as a run's `outputImages` shows them.
        dependencies: What was built and from what, once all steps have succeeded.
    """

    def __init__(self, machine: Machine, registry: Resource, run_id: str, definition: Definition, log: RunLog) -> None:
        """Prepare to execute a run of a registry."""
        self._machine, self._registry, self._run_id = machine, registry, run_id
        self._definition, self._log = definition, log
        self._login_server: str = registry.properties["loginServer"]
        self._home = f"acb_vol_{new_guid()}"
        self._source = Context()
        self._spent = 0.0
        self._docker = Docker(machine, registry.location, {}, log.raw)
        self.outputs: list[dict[str, str]] = []
        self.dependencies: list[Dependency] = []

    async def execute(self) -> None:
        """Do the work.

        Raises:
            RunFailed: It went wrong; the message is the log's last line but one.
            TimedOut: It took longer than the task's timeout.
        """
        step, say = self._definition["step"], self._log.say
        if step.get("contextPath"):
            say("Downloading source code...")
            await self._work()
            self._source = self._download(step["contextPath"])
            say("Finished downloading source code")
        say(f"Using {self._home} as the home volume")
        # A quick build is not a task file: it has no network, and its errors lack a prefix.
        prefix = "" if step["type"] == "Docker" else "failed to unmarshal task before running: "
        task, aliases = self._load()
        await self._work()
        try:
            logins = credentials.resolve(self._machine, self._registry, self._definition)
        except RunFailed as error:
            raise RunFailed(f"{prefix}{error}") from error
        taskfile.check(task)
        await self._set_up(task, logins)
        records = [await self._step(step, aliases) for step in task.steps]
        self._summarize(records)

    async def _work(self, limit: float = float("inf")) -> None:
        """Let the time pass that a piece of work takes.

        Only this counts against timeouts, not what the clock does: a test that moves the clock by a day must not
        time out the run that happens to be at work.

        Raises:
            RunFailed: The step's timeout (`limit`, in seconds) is shorter.
            TimedOut: The task's timeout is.
        """
        left = self._definition["timeout"] - self._spent
        seconds = min(self._machine.pace, left, limit)
        self._spent += seconds
        await self._machine.clock.sleep(seconds)
        if left < min(self._machine.pace, limit):
            raise TimedOut
        if limit < self._machine.pace:
            raise RunFailed("context deadline exceeded")

    def _download(self, location: str) -> Context:
        """Return the run's source: a git repository, or an archive that was uploaded before."""
        try:
            if context.is_url(location):
                return self._machine.contexts.clone(location)
            archive = self._machine.blobs.read(self._machine.source_path(self._registry, location))
            if archive is None:
                raise RunFailed(f"blob {location} does not exist")
            return context.from_archive(archive)
        except RunFailed as error:
            raise RunFailed(f"failed to download source code: {error}") from error

    def _values(self) -> dict[str, Any]:
        """Return what templates can refer to."""
        definition, step = self._definition, self._definition["step"]
        platform = definition["platform"]
        text: str | bytes = ""
        if step.get("encodedValuesContent"):
            text = base64.b64decode(step["encodedValuesContent"])
        elif step.get("valuesFilePath"):
            text = self._read(step["valuesFilePath"])
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RunFailed(f"unable to render task: failed to deserialize values: {error}") from error
        own = {item["name"]: item.get("value") or "" for item in step.get("values") or []}
        return {
            "Values": {**(values if isinstance(values, dict) else {}), **own},
            "Build": {"ID": self._run_id},
            "Run": {
                "ID": self._run_id, "Commit": "", "Repository": "", "Branch": "", "GitTag": "", "TriggeredBy": "",
                "Registry": self._login_server, "RegistryName": self._login_server.partition(".")[0],
                "Date": f"{self._machine.clock.now():%Y%m%d-%H%M%Sz}", "SharedVolume": self._home,
                "OS": (platform.get("os") or "linux").lower(), "OSVersion": "",
                "Architecture": platform.get("architecture") or "amd64", "TaskName": definition["task"],
            },
        }  # fmt: skip

    def _read(self, path: str) -> str:
        data = self._source.files.get(posixpath.normpath(path).lstrip("/"))
        if data is None:
            raise RunFailed(f"open {path}: no such file or directory")
        return data.decode()

    def _load(self) -> tuple[TaskFile, dict[str, str]]:
        """Return the steps, and the aliases that a `cmd` may use."""
        step, values = self._definition["step"], self._values()
        if step["type"] == "Docker":
            command, tags = docker_step(step, self._login_server)
            build = Step(id="build", build=templating.render(command, values), timeout=28800)
            tags = [templating.render(tag, values) for tag in tags]
            push = Step(id="push", push=tags, timeout=3600)
            return TaskFile(steps=[build, push] if tags and step.get("isPushEnabled") else [build]), {}
        if step["type"] == "FileTask":
            text = self._read(step["taskFilePath"])
        else:
            text = base64.b64decode(step["encodedTaskContent"]).decode()
        aliases: dict[str, str] = {}
        if templating.version_of(text) >= "v1.1.0":
            self._log.say(
                "Alias support enabled for version >= 1.1.0, please see https://aka.ms/acr/tasks/task-aliases for more "
                "information."
            )
            text, aliases = templating.expand_aliases(templating.strip_comments(text), values)
        return taskfile.parse(templating.render(text, values)), aliases

    async def _set_up(self, task: TaskFile, logins: dict[str, Login]) -> None:
        say = self._log.say
        if any(step.network == NETWORK for step in task.steps):
            say(f"Creating Docker network: {NETWORK}, driver: 'bridge'")
            say(f"Successfully set up Docker network: {NETWORK}")
        say("Setting up Docker configuration...")
        await self._work()
        say("Successfully set up Docker configuration")
        for host, login in logins.items():
            say(f"Logging in to registry: {host}")
            await self._work()
            if login.refused:
                raise RunFailed(
                    "failed to login, ran out of retries: failed to set docker credentials: Error response from "
                    f'daemon: Get "https://{host}/v2/": {login.refused}\n: exit status 1'
                )
            say(f"Successfully logged into {host}")
        self._docker = Docker(self._machine, self._registry.location, logins, self._log.raw)

    async def _step(self, step: Step, aliases: dict[str, str]) -> StepRecord:
        say, record, started = self._log.say, StepRecord(step.id), self._machine.clock.now()
        say(
            f"Executing step ID: {step.id}. Timeout(sec): {step.timeout}, Working directory: "
            f"'{step.working_directory}', Network: '{step.network}'"
        )
        try:
            if step.build:
                await self._build(step, record)
            elif step.push:
                await self._push(step)
            else:
                await self._command(step, aliases)
        except RunFailed as error:
            if not step.ignore_errors:
                raise RunFailed(f"failed to run step ID: {step.id}: {error}") from error
            say(f"Step ID: {step.id} encountered an error: {error}, but is set to ignore errors. Continuing...")
        record.seconds = (self._machine.clock.now() - started).total_seconds()
        return record

    async def _build(self, step: Step, record: StepRecord) -> None:
        say, arguments = self._log.say, scan_arguments(step.build)
        lower = arguments.context.lower()
        if "github" in lower and ".git" not in lower:
            say(f"WARNING: {lower} might not be valid context. Valid Git repositories should end with .git.")
        say("Scanning for dependencies...")
        await self._work(step.timeout)
        try:
            source, dockerfile = self._find(arguments, step)
            found = scan(dockerfile, arguments.build_args, arguments.target)
            images: list[ImageName | None] = [image_name(tag.strip("'\"")) for tag in arguments.tags]
        except RunFailed as error:
            say(f"Output from dependency scanning: {error}")
            raise RunFailed("failed to scan dependencies: exit status 1") from error
        say("Successfully scanned dependencies")
        record.dependencies = [
            Dependency(image, found.runtime, found.buildtime, source.revision) for image in images or [None]
        ]
        say(f"Launching container with name: {step.id}")
        size = sum(1024 + -len(data) % 512 + len(data) for data in source.files.values()) + 1024
        self._log.raw(f"Sending build context to Docker daemon  {size / 1000:.4g}kB")
        try:
            build = Build(
                build_command(step.build), source.files, self._docker, self._log.raw,
                created=self._now(), buildkit="DOCKER_BUILDKIT=1" in step.env,
            )  # fmt: skip
            build.run(dockerfile)
        except RunFailed as error:
            raise self._container_failed(step, str(error)) from error
        say(f"Successfully executed container: {step.id}")

    def _now(self) -> str:
        return iso(self._machine.clock.now(), zulu=True)

    def _container_failed(self, step: Step, output: str, status: int = 1) -> RunFailed:
        self._log.raw(output)
        self._log.say(f"Container failed during run: {step.id}. No retries remaining.")
        return RunFailed(f"exit status {status}")

    def _find(self, arguments: ScanArguments, step: Step) -> tuple[Context, str]:
        """Return the build context and the text of the Dockerfile."""
        path = arguments.dockerfile
        if context.is_url(arguments.context):
            source = Context()
            if context.is_git_url(arguments.context):
                try:
                    source = self._machine.contexts.clone(arguments.context)
                except RunFailed as error:
                    raise RunFailed(
                        f"Getting context from Git URL\nunable to git clone to {step.id}: {error}"
                    ) from error
            path, where = path or "Dockerfile", source
        else:
            where = self._source.below(step.working_directory)
            source = where.below(arguments.context)
            path = path or posixpath.normpath(posixpath.join(arguments.context, "Dockerfile"))
        data = where.files.get(posixpath.normpath(path).lstrip("/"))
        if data is None:
            raise RunFailed(f"error opening dockerfile: {path}, error: open {path}: no such file or directory")
        return source, data.decode()

    async def _push(self, step: Step) -> None:
        for reference in dict.fromkeys(image_name(image).text for image in step.push):
            for attempt in range(1, _PUSH_ATTEMPTS + 1):
                self._log.say(f"Pushing image: {reference}, attempt {attempt}")
                await self._work(step.timeout)
                try:
                    name, digest = self._docker.push(reference)
                except RunFailed as error:
                    self._log.raw(str(error))
                    continue
                self._log.say(f"Successfully pushed image: {reference}")
                self.outputs.append(
                    {"registry": name.registry, "repository": name.repository, "tag": name.tag, "digest": digest}
                )
                break
            else:
                raise RunFailed("failed to push images successfully")

    async def _command(self, step: Step, aliases: dict[str, str]) -> None:
        """Go through the motions of a `cmd` step: its image must be there for the run, but no container starts.

        Only the docker CLI does its work.
        """
        self._log.say(f"Launching container with name: {step.id}")
        await self._work(step.timeout)
        word, _, rest = step.cmd.strip().partition(" ")
        word = aliases.get(word, word)
        try:
            if dockercli.run(self._docker, f"{word} {rest}"):
                self._log.say(f"Successfully executed container: {step.id}")
                return
        except RunFailed as error:
            raise self._container_failed(step, str(error)) from error
        try:
            name = image_name(word)
            if self._machine.registries.find(name.registry) or name.registry.endswith(".azurecr.io"):
                self._docker.pull(name, dockercli.PLATFORM)
        except RunFailed as error:
            output = f"docker: Error response from daemon: {error}.\nSee 'docker run --help'."
            raise self._container_failed(step, output, status=125) from error
        self._log.raw(f"localazure does not run containers: skipped {name.text} {rest}".rstrip())
        self._log.say(f"Successfully executed container: {step.id}")

    def _summarize(self, records: list[StepRecord]) -> None:
        say = self._log.say
        for record in records:
            say(f"Step ID: {record.id} marked as {record.status} (elapsed time in seconds: {record.seconds:f})")
            if record.dependencies:
                say(f"Populating digests for step ID: {record.id}...")
                self.dependencies += [found.with_digests(self._docker.digests) for found in record.dependencies]
                say(f"Successfully populated digests for step ID: {record.id}")
        if self.dependencies:
            say("The following dependencies were found:")
            say("")
            self._log.raw(as_yaml(self.dependencies))
