"""Something for the sample app to import."""


def greeting() -> str:
    """Return a greeting."""
    return "hello from the app's own package"
