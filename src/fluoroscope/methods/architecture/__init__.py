"""Architecture: how the network is built."""
