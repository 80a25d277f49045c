"""The demo: plays Groundswell's scenario against a local Azure, over the wire only, and tells it as a timeline."""
