"""Save, send, open: raw values with where they came from.

A ``.fluo`` file is arrays and JSON, never code: opening a stranger's file runs nothing. What comes back is what was
saved, bit for bit, and can be drawn on axes of your own.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import fluoroscope as fs
from fluoroscope.demo.network import SceneNet
from fluoroscope.demo.scenes import make_scenes

torch.manual_seed(0)
scenes = make_scenes(2, seed=5)
made = fs.Saliency()(SceneNet(), scenes.images, target=scenes.labels)
path = made.save("saliency.fluo")

opened = fs.open_result(path)
print("the same values:", np.array_equal(opened.values, made.values))
for key in ("method", "options", "model", "fingerprint", "seed", "forwards", "backwards"):
    print(f"{key:<12} {opened.meta[key]}")

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.5))
opened.plot(ax=left, index=0)
opened.plot(ax=right, index=1)
figure.savefig("save_and_open.png", dpi=100)
