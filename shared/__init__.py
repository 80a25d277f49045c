"""The domain: who builds on a base image, what a team registry must look like, when a run is due."""
