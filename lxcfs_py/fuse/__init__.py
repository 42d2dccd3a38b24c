"""The FUSE protocol, the tree that is served by it, and two ways to reach the kernel."""
