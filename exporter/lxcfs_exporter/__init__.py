"""lxcfs-exporter: the resources of every container of a host, for Prometheus."""
