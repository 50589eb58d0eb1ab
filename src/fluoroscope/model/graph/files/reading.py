"""Graphs of files by the end of their names."""

from __future__ import annotations

from pathlib import Path

from fluoroscope.results.model_graph import ModelGraph

__all__ = ["graph_of_file", "is_graph_file"]


def is_graph_file(path: str | Path) -> bool:
    """Whether :func:`graph_of_file` reads such a file, by its ending."""
    from fluoroscope.model.weights import is_checkpoint

    return Path(path).suffix.lower() == ".pt2" or is_checkpoint(path)


def graph_of_file(path: str | Path, *, fold: bool = True) -> ModelGraph:
    """The graph of an ONNX file, of a program of torch.export (``.pt2``), or of weights alone; nothing is run.

    Raises:
        InputError: there is no such file.
        ModelError: the file is not what its name says, truncated or corrupt.
        MissingExtra: onnx is not installed.
    """
    ending = Path(path).suffix.lower()
    if ending == ".onnx":
        from fluoroscope.model.graph.files.onnx_graph import onnx_graph

        return onnx_graph(path, fold=fold)
    if ending == ".pt2":
        from fluoroscope.model.graph.files.exported_graph import exported_graph

        return exported_graph(path, fold=fold)
    from fluoroscope.model.graph.files.weights_graph import weights_graph

    return weights_graph(path, fold=fold)
