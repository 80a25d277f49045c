"""Measures Groundswell on the local Azure: each number beside one that was measured, or follows, in the same run."""
