"""For tests, ours and other people's: networks, clocks and photos without hardware."""
