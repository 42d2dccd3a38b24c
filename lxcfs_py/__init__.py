"""An accurate /proc for containers: the foundation that all three programs share, and the FUSE daemon."""

__version__ = "0.1.0"
