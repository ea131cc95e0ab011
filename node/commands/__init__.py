"""Commands of `kairos-node` for the installed system, one file per subject."""
