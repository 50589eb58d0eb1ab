"""What a recording measures only where it is asked to: curvature, gradient noise scale, alignment of steps."""
