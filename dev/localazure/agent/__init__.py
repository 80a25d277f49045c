"""ACR's build agent: runs task files and docker builds, as far as that works without containers."""
