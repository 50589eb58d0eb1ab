// The page format as types. docs/page-format.md says what each part means; Python writes it, this page reads it.

/** A number, or the name of one that JSON can't hold. */
export type Num = number | 'nan' | 'inf' | '-inf';
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Meta = Record<string, Json>;

export interface ArrayRef { blob: number; dtype: 'f2' | 'f4' | 'f8' | 'u1' | 'i4'; shape: number[] }
export interface TextRef { blob: number }
export interface ImageRef { blob: number; mime: string; width: number; height: number }

export interface Item { name: string; image: ImageRef | null; series: ArrayRef | null; padding: [number, number][]; features: string[] | null }

export interface PanelBase {
  id: string; kind: string; title: string; caption: string; notes: string[]; meta: Meta; error?: string;
}

export interface AttributionCell { label: string; score: Num | null; map: ArrayRef; centers: [number, number][] | null; outline: ArrayRef | null; features: string[] | null }
export interface AttributionMethod {
  title: string; caption: string; unit: string; signed: boolean; axes: string[];
  range: [Num, Num]; span: [Num, Num]; meta: Meta; verdict: string | null;
}
export interface AttributionItem extends Item { cells: AttributionCell[][] }
export interface AttributionPanel extends PanelBase {
  methods: AttributionMethod[]; size: number[]; items: AttributionItem[];
}

export interface FeatureLayer {
  name: string; type: string; axes: string[]; range: [Num, Num]; span: [Num, Num]; signed: boolean;
  channels: number[] | null; total: number | null; data: ArrayRef;
}
export interface FeatureMapsPanel extends PanelBase { layers: FeatureLayer[]; items: Item[] }

export interface Tensor {
  name: string; shape: number[]; size: number; dtype: string; role: string; shared_with: string[];
  statistics: Record<string, Num>; edges: Num[]; counts: number[];
  form: 'filters' | 'matrix' | 'vector'; reduced: boolean; picture: ArrayRef;
  log_edges: Num[] | null; log_counts: number[] | null;
  levels: TensorLevel[]; left_out: number; row_norms: ArrayRef | null; column_norms: ArrayRef | null;
  peak: number[]; dead: number[]; duplicates: [number, number, Num][];
  orders: Record<string, number[]>; kept: number[] | null;
}
export interface TensorLevel { data: ArrayRef; steps: [number, number] }
export interface ExpertGrid { pattern: string; layers: number[]; experts: number[]; tables: { name: string; data: ArrayRef }[] }
export interface Comparison {
  before: string; after: string; missing: string[]; extra: string[]; reshaped: [string, number[], number[]][];
  counts: [number, number, number, number];
}
export interface TensorSummaryPanel extends PanelBase { tensors: Tensor[]; grids: ExpertGrid[]; comparison: Comparison | null }

export interface Spectrum {
  name: string; shape: number[]; matrix: [number, number]; dtype: string; role: string; unfolding: string;
  shared_with: string[]; exact: boolean; statistics: Record<string, Num>;
  ranks: ArrayRef; values: ArrayRef; errors: ArrayRef; reference: ArrayRef;
}
export interface SpectraPanel extends PanelBase { spectra: Spectrum[]; grids: ExpertGrid[] }

export interface LayerRow {
  name: string; type: string; depth: number; leaf: boolean; output_shape: number[] | null; dtype: string;
  parameters: number; own: number; trainable: number; flops: number; bytes: number; calls: number;
  uses: string[]; shares: string;
}
export interface LayerSummaryPanel extends PanelBase {
  rows: LayerRow[];
  totals: { parameters: number; trainable: number; parameter_bytes: number; buffer_bytes: number; flops: number };
  input_shapes: number[][];
}

/** Numbers that rise evenly, or an array. */
export type AxisRef = ArrayRef | { first: number; step: number; count: number };
/** A series; `asked` where it is not in the document: the studio is asked for it when it is drawn. */
export interface HistorySeries {
  asked?: boolean;
  name: string; run: string; group: string; unit: string; steps: AxisRef; values: ArrayRef;
  times: { origin: number; offsets: ArrayRef } | null; epochs: AxisRef | null; samples: AxisRef | null;
}
export interface HistoryMark { kind: 'best' | 'overfitting'; series: number; index: number; value: Num | null }
export interface HistoryPanel extends PanelBase {
  axis: string; runs: string[]; differences: { name: string; values: Json[] }[]; series: HistorySeries[]; marks: HistoryMark[];
  /** In the studio: series that the document lacks, asked for one by one; `names` is a text, [[run, [name, …]], …]. */
  more?: { count: number; names: TextRef };
}

/** `state` of a cell: 0 not recorded, 1 there, 2 NaN or infinite at one of its steps. */
export interface TensorQuantity { name: string; unit: string; values: ArrayRef; state: ArrayRef }
export interface TensorBars { name: string; steps: number[]; edges: number[]; shares: ArrayRef; sampled: number }
export interface TensorHistoryPanel extends PanelBase {
  names: string[]; layers: string[]; steps: ArrayRef; quantities: TensorQuantity[]; histograms: TensorBars[];
}

export interface FindingItem {
  rule: string; title: string; severity: 'problem' | 'warning' | 'hint'; confidence: number; layers: string[]; steps: number[];
  evidence: string; numbers: [string, Num][]; series: HistorySeries[]; reference: Num; advice: string[]; source: string;
}
export interface FindingsPanel extends PanelBase { items: FindingItem[]; checked: string[]; skipped: [string, string][] }

export interface ScorecardPanel extends PanelBase {
  rows: string[]; columns: string[]; table: Num[][]; errors: Num[][] | null;
  units: string[]; better: string[]; reference: Num[]; verdicts: string[];
}

/** What was logged under one name, in order of writing; `part` counts what was logged at once. */
export interface MediaSeries<T> { name: string; items: (T & { step: number; part: number })[] }
export interface MediaPanel extends PanelBase { images: MediaSeries<{ image: ImageRef }>[]; texts: MediaSeries<{ text: string }>[] }

export interface RunRow {
  name: string; address: string; state: string; steps: number; started: string; seconds: Num; values: [string, Num, string][];
  config: [string, string][];
}
export interface RunsPanel extends PanelBase { rows: RunRow[]; compare: string }

export type GraphRole =
  | 'module' | 'operation' | 'input' | 'output' | 'parameter' | 'buffer' | 'constant' | 'leaf' | 'function' | 'saved';
export interface GraphTensor { shape: number[]; dtype: string; bytes: number }
export interface GraphTotals {
  parameters: number; trainable: number; parameter_bytes: number; flops: number; activation_bytes: number;
  operations: number; modules: number;
}
/** Rows of places among the children, -1 - k for trunk k; trunks [source, first, last, column]; wires that go up. */
export interface GraphLayout {
  rows: number[][]; trunks: [number, number, number, number][]; back: [number, number, number][];
}
type ByNode<T> = Record<string, T>;
/** The graph in columns, one entry for each node or edge; `rare` has only the nodes that have it. */
export interface GraphData {
  nodes: {
    parent: number[]; role: number[]; type: number[]; name: string[]; outputs: number[][]; layout: number[];
    times: number[]; alike: number[]; parameters: number[]; trainable: number[]; parameter_bytes: number[];
    flops: number[]; activation_bytes: number[]; operations: number[];
  };
  rare: {
    code?: ByNode<string>; repeat?: ByNode<string>; members?: ByNode<string[]>; shares?: ByNode<string[]>;
    assumed?: ByNode<string[]>; error?: ByNode<string>; attributes?: ByNode<Meta>;
  };
  edges: {
    source: number[]; target: number[]; output: number[]; argument: number[]; tensor: number[]; fold: number[]; hub: number[];
  };
  texts: string[]; tensors: GraphTensor[]; layouts: GraphLayout[]; root: number; carried: number[]; open: number[];
  values: Record<string, (Num | null)[]>;
}
export interface ModelGraphPanel extends PanelBase {
  reading: 'forward' | 'autograd'; complete: boolean; totals: GraphTotals; size: [number, number]; graph: ArrayRef;
}

/** A column of neurons: values before and after activation (N, D), weights (D, E) from the column before. */
export interface NeuronLayer {
  name: string; names: string[] | null; before: ArrayRef; after: ArrayRef; weights: ArrayRef | null; bias: ArrayRef | null;
}
export interface NeuronDiagramPanel extends PanelBase { items: Item[]; layers: NeuronLayer[] }

export interface Section { id: string; title: string; lead: string; panels: PanelBase[] }
export interface ReportDocument {
  format: number; title: string; subtitle: string; created: string; version: string;
  facts: [string, string][]; sections: Section[];
  /** In the studio: where the document as it is now is to be asked for, how often, and the state that this one shows. */
  live?: { address: string; blobs: string; curves: string; seconds: number; stamp: string; home: string };
}

/** The number that `value` names. */
export function num(value: Num | null | undefined): number {
  if (typeof value === 'number') return value;
  if (value === 'inf') return Infinity;
  return value === '-inf' ? -Infinity : NaN;
}
