"""Event files of TensorBoard, in and out: the points are the same, also those that are not numbers."""

import numpy as np

from fluoroscope.integrations.exporting import export_tensorboard
from fluoroscope.integrations.importing import import_runs
from fluoroscope.integrations.tensorboard import EventWriter, read_log_folder
from fluoroscope.training.store import open_runs

steps = np.arange(1000)
loss = np.exp(-steps / 200) + 0.02 * np.random.default_rng(0).standard_normal(1000)
loss[400:410] = np.nan
with EventWriter("logs/baseline") as writer:
    writer.scalars("train/loss", steps, loss, 1.7e9 + 0.5 * steps)
    writer.hparams({"lr": 0.1})

for done in import_runs("logs", "runs"):
    print(done.name, done.series, "series,", done.points, "points,", done.problems or "no problems")

run = open_runs("runs")["baseline"]
back = read_log_folder(export_tensorboard(run, "back"))["."].scalars["train/loss"]
print("equal:", np.array_equal(back.values, loss.astype(np.float32), equal_nan=True))
run.history().plot(axis="time", smoothing=0.9).savefig("loss.png", dpi=100)
