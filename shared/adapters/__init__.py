"""What talks to Azure, to storage and to files, and turns their answers into the domain's values."""
