"""Layered layout of graphs of modules: ranks and orders here, coordinates wherever it is drawn."""

from fluoroscope.render.graph.layout import BORDER, Layout, Trunk, laid_out, layouts
from fluoroscope.render.graph.opening import opened
from fluoroscope.render.graph.tree import ROOT, Tree
from fluoroscope.render.graph.wires import Wires, wires_of

__all__ = ["BORDER", "ROOT", "Layout", "Tree", "Trunk", "Wires", "laid_out", "layouts", "opened", "wires_of"]
