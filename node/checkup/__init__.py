"""What `kairos-node doctor` looks at: one file per subject."""
