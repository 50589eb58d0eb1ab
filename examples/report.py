"""The report: everything that applies to a network, on one page.

One HTML file with script, style and data inside; it opens anywhere, also offline.
"""

import torch

import fluoroscope as fs
from fluoroscope.demo.network import SceneNet
from fluoroscope.demo.scenes import make_scenes

torch.manual_seed(0)
scenes = make_scenes(4, seed=7)
subject = fs.Subject(SceneNet(), classes=[str(d) for d in range(10)], name="SceneNet, before training")

fs.report(subject, scenes.images, out="report.html")
