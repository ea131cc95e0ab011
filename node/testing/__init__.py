"""For tests of the node, ours and other people's: installations without hardware."""
