"""Two trainings beside each other: curves with the settings that differ, and gradients of every layer at every step.

The second learns with a hundredth of the rate: the updates of its weights stay far below a thousandth, blue in the
lower picture. Biases begin at 0, so that any update of theirs is large.
"""

import torch

import fluoroscope as fs
from fluoroscope.demo.network import SceneNet
from fluoroscope.demo.scenes import make_scenes

made = [make_scenes(256, seed=0), make_scenes(64, seed=1)]
(images, labels), (others, truths) = [(torch.tensor(s.images), torch.tensor(s.labels)) for s in made]
loss_of = torch.nn.functional.cross_entropy


def train(name, rate):
    torch.manual_seed(0)
    model = SceneNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    with fs.record(model, optimizer, run=name, dir="runs", config={"lr": rate}) as run:
        for step in range(40):
            rows = slice(32 * (step % 8), 32 * (step % 8) + 32)
            loss = loss_of(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
            if step % 10 == 9:
                with torch.no_grad():
                    run.log(val_loss=loss_of(model(others), truths))


for name, rate in (("quick", 0.05), ("slow", 0.0005)):
    train(name, rate)
runs = fs.open_runs("runs")
both = fs.History.compared({name: run.history(["loss", "val_loss"]) for name, run in runs.items()})
both.plot(smoothing=0.6).savefig("runs.png", dpi=100)
runs["slow"].tensor_history().plot(quantity="update/ratio").savefig("updates.png", dpi=100)
