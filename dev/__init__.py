"""What helps to build Groundswell and is never deployed; each folder says what it is."""
