"""Where a root tree comes from: one file for each kind of base."""
