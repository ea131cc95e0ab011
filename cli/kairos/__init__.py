"""Registering machines over Kairos' own protocol: `kairos-register --kairos`."""
