"""What decides: plain values and functions. Nothing here knows Azure's SDKs, waits, or looks at a clock."""
