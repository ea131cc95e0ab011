"""The doors to the machine, one module per tool."""
