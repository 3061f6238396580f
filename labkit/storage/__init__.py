"""What containers keep on disk: layers stacked into root file systems."""
