"""A network as a graph: traced on shapes alone, repeated blocks folded, and put into a ModelGraph."""
