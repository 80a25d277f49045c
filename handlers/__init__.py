"""One module for each trigger: decode, one call into shared, encode."""
