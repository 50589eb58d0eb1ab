"""Grad-CAM: where a layer's features speak for the class.

A small network learns to name the one whole digit in a scene full of fragments. The map of its last stage shows what it
went by. Since the place of the digit is known, the picture can be checked: how often does the peak fall on it?
"""

import numpy as np
import torch

import fluoroscope as fs
from fluoroscope.demo.network import SceneNet
from fluoroscope.demo.scenes import make_scenes
from fluoroscope.demo.training import train

torch.manual_seed(0)
model = SceneNet()
train(model, lambda epoch: make_scenes(2000, epoch), make_scenes(200, 0, split="validation"), epochs=8)
scenes = make_scenes(200, 2, split="test")
images, labels = scenes.images, scenes.labels

maps = fs.GradCAM(layer="layer3")(model, images, target=labels)
maps.plot(limit=2).savefig("grad_cam.png", dpi=100)

fine = maps.resized(64, 64)
rows, columns = np.unravel_index(fine.reshape(len(fine), -1).argmax(1), (64, 64))
print(f"peak on the digit: {scenes.hits(rows, columns).sum()} of {len(scenes)} scenes; by chance {scenes.chance:.0%}")
print(f"layer: {maps.meta['layer']}; cost: {maps.meta['forwards']:.0f} forwards for 200 scenes")
