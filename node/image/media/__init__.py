"""What a machine boots from: one file for each medium."""
