"""Reads codes that the engines find but cannot read, module by module. Imports numpy."""
