"""The docker CLI in `cmd` steps: agents have its image as `docker`, and give it their own engine and logins.

https://learn.microsoft.com/azure/container-registry/tasks-consume-public-content pulls, tags and pushes with it; how
its container is started: https://github.com/Azure/acr-builder/blob/main/builder/context.go.
"""

from __future__ import annotations

from dev.localazure.agent.docker import Docker
from dev.localazure.agent.dockerfile import image_name
from dev.localazure.agent.errors import RunFailed

PLATFORM = "linux/amd64"


def run(docker: Docker, command: str) -> bool:
    """Do what a command has to do with registries: `docker pull`, `docker tag`, `docker push`.

    Returns:
        False if it is another command, and nothing was done.

    Raises:
        RunFailed: It fails; the message is what it prints.
    """
    match command.split():
        case ["docker", "pull", image]:
            try:
                docker.pull(image_name(image), PLATFORM)
            except RunFailed as error:
                raise RunFailed(f"Error response from daemon: {error}") from error
        case ["docker", "tag", image, target]:
            docker.tag(image, target)
        case ["docker", "push", image]:
            docker.push(image)
        case ["docker", "pull" | "tag" | "push", *_]:
            raise RunFailed(f"localazure knows `docker pull`, `tag` and `push` with names of images only: {command}")
        case _:
            return False
    return True
