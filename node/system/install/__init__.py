"""The steps of an installation carried out on a real machine: one module for each step."""
