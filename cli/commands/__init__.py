"""One file per `kairos-fleet` command."""
