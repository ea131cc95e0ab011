"""Recipe to bootable media: root tree, verity, kernels, stick, update files (docs/images.md)."""
