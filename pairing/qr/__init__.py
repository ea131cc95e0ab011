"""A QR code on a screen, and the way back from a photo of it."""
