"""Whole pairings for tests, measurements and soak runs: real agents, real desks, real sockets."""
