"""cgroup v1, hybrid and v2 read into one model."""
