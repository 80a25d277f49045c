"""What the tests of the app and of the tools share: Azurite, the Functions host, a local Azure."""
