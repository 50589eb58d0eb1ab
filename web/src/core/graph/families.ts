// Kinds of layers that practitioners tell apart at a glance, found by the names of classes and operations.

export interface Family { name: string; title: string; pattern: RegExp; series: number }

/** The first that matches counts. `series` is a colour of the categorical palette. */
export const FAMILIES: Family[] = [
  { name: 'norm', title: 'Normalization', pattern: /norm(?!al_)|^(bn|ln|gn)$/i, series: 4 },
  { name: 'attention', title: 'Attention', pattern: /attention|attn|sdpa|multihead/i, series: 1 },
  { name: 'embedding', title: 'Embedding', pattern: /embed|rotary|positional/i, series: 7 },
  { name: 'convolution', title: 'Convolution', pattern: /conv/i, series: 0 },
  { name: 'recurrent', title: 'Recurrent', pattern: /lstm|gru|rnn|mamba|ssm/i, series: 6 },
  { name: 'pooling', title: 'Pooling, resampling', pattern: /pool|upsampl|interpolat|pixelshuffle/i, series: 5 },
  { name: 'activation', title: 'Activation', pattern: /relu|gelu|silu|swish|sigmoid|tanh|softmax|softplus|mish|^elu|^selu|hardtanh|activation/i, series: 3 },
  { name: 'linear', title: 'Linear', pattern: /linear|^dense$|addmm|^b?mm$|matmul|gemm|^einsum|mlp|feedforward|lm_?head/i, series: 2 },
];

const known = new Map<string, Family | null>();

export function familyOf(type: string, code = ''): Family | null {
  const name = type === 'Conv1D' && code.includes('pytorch_utils') ? 'Linear' : type; // GPT-2's own name for a matrix
  let found = known.get(name);
  if (found === undefined) {
    found = FAMILIES.find((f) => f.pattern.test(name)) ?? null;
    known.set(name, found);
  }
  return found;
}
