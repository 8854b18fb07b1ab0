"""The documentation: the pages, files for clusters, and what builds the site of them."""
