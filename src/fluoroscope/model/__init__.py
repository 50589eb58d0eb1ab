"""The network under study: loading, layer names, targets, capture, replay. The only place that registers hooks."""
