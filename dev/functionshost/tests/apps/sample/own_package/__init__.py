"""A package beside function_app.py, imported absolutely as the Functions documentation asks."""
