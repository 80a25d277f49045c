"""The domain: what every team registry should look like, and how it gets there. Plain Python and Azure SDKs."""
