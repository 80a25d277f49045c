"""The fleet's state: what base images are, what is known of each target, and what is due. Pure functions."""
