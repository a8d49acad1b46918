"""Whether one file answers alike on other kernels and other devices."""
