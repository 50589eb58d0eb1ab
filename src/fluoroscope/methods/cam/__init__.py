"""Class activation maps: a layer's feature maps weighed by what they mean for a target."""
