// Which component shows which kind of result. A new kind is one line here and one file beside it.
import type { Component } from 'svelte';
import type { PanelBase } from '../core/contract';
import Attribution from './Attribution.svelte';
import FeatureMaps from './FeatureMaps.svelte';
import Findings from './Findings.svelte';
import History from './History.svelte';
import LayerSummary from './LayerSummary.svelte';
import Media from './Media.svelte';
import Runs from './Runs.svelte';
import ModelGraph from './ModelGraph.svelte';
import NeuronDiagram from './NeuronDiagram.svelte';
import Scorecard from './Scorecard.svelte';
import Spectra from './Spectra.svelte';
import TensorHistory from './TensorHistory.svelte';
import TensorSummary from './TensorSummary.svelte';

// each component narrows `panel` to its own kind, which the format guarantees
const PANELS = new Map<string, unknown>([
  ['attribution', Attribution],
  ['feature-maps', FeatureMaps],
  ['findings', Findings],
  ['history', History],
  ['layer-summary', LayerSummary],
  ['media', Media],
  ['runs', Runs],
  ['model-graph', ModelGraph],
  ['neuron-diagram', NeuronDiagram],
  ['scorecard', Scorecard],
  ['spectra', Spectra],
  ['tensor-history', TensorHistory],
  ['tensor-summary', TensorSummary],
]);

export function panelOf(kind: string): Component<{ panel: PanelBase }> | undefined {
  return PANELS.get(kind) as Component<{ panel: PanelBase }> | undefined;
}
