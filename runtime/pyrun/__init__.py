"""pyrun: an OCI runtime of namespaces and cgroups whose containers read a true /proc."""
