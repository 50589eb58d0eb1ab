"""Activations: what each stage of a network makes of a picture.

No layer is named, so the last layer of each resolution is taken, from input to output. The network is not trained: even
random filters answer to edges, and this is what training starts from.
"""

import torch

import fluoroscope as fs
from fluoroscope.demo.network import SceneNet
from fluoroscope.demo.scenes import make_scenes

torch.manual_seed(0)
scenes = make_scenes(1, seed=3)

found = fs.Activations()(SceneNet(), scenes.images)
for name, values in found.maps.items():
    print(f"{name:<8} {values.shape}  zero: {(values == 0).mean():.0%}")

found.plot().savefig("activations.png", dpi=100)
