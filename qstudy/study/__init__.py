"""Specs and records kept, missing runs computed, trees collected and compared."""
