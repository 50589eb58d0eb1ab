"""TensorBoard's event files, read and written without TensorFlow and without the tensorboard package."""

from fluoroscope.integrations.tensorboard.event_file import EventFile
from fluoroscope.integrations.tensorboard.log_folder import LogFolder, read_log_folder
from fluoroscope.integrations.tensorboard.records import EventLog, Histograms, Images, Problem, Scalars, Texts
from fluoroscope.integrations.tensorboard.writer import EventWriter

__all__ = [
    "EventFile",
    "EventLog",
    "EventWriter",
    "Histograms",
    "Images",
    "LogFolder",
    "Problem",
    "Scalars",
    "Texts",
    "read_log_folder",
]
