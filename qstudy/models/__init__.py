"""The networks of the study, each built from a name and a seed."""
