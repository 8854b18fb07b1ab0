"""Builds the documentation site from docs/, with pictures and pages made by the library itself."""
