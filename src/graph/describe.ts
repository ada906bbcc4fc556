/** How each global op reads in printed text. */
import type { Node } from './node.ts'
import type { Attrs, Graph, Window } from './ops.ts'
import { formatDims, printGraph } from './print.ts'

const list = (items: readonly string[]): string => `[${items.join(' ')}]`

/** How ops with bodies read, in the global language and in a device's. The bodies themselves are shown by the printing. */
export const describeControl = {
  scan: (a: Pick<Attrs['scan'], 'over' | 'carries' | 'xs' | 'reverse'>): string => `scan over ${a.over.name}${a.reverse ? ' in reverse' : ''}, ${a.carries} carried, ${a.xs} walked`,
  cond: (): string => 'cond',
  while: (a: Pick<Attrs['while'], 'carries'>): string => `while, ${a.carries} carried`,
}

const describeWindow = (v: Window): string =>
  `${v.x}*${v.w}→${v.out.name}${v.stride === 1 ? '' : ` by ${v.stride}`}${v.low === 0 ? '' : ` from ${-v.low}`}${v.xDilation === 1 ? '' : ` gaps ${v.xDilation}`}${v.wDilation === 1 ? '' : ` dilated ${v.wDilation}`}`

export const describeOp: { readonly [K in keyof Attrs]: (attrs: Attrs[K]) => string } = {
  input: a => `${a.role === 'compute' ? 'input' : a.role} "${a.name}"`,
  constant: a => `constant ${a.value}`,
  iota: a => `iota ${a.dim.name}`,
  unary: a => a.fn,
  binary: a => a.fn,
  compare: a => `compare ${a.direction}`,
  select: () => 'select',
  convert: a => `convert ${a.dtype}`,
  broadcast: a => `broadcast [${formatDims(a.shape)}]`,
  dot: a => `dot over ${list(a.over)}`,
  reduce: a => `${a.kind} over ${list(a.over)}`,
  rename: a => `rename ${a.from} → ${a.to}`,
  splitDim: a => `split ${a.dim} into [${formatDims(a.into)}]`,
  mergeDims: a => `merge ${list(a.from)} into ${formatDims([a.into])}`,
  resample: a => `resample ${a.dim} → ${formatDims([a.to])} from ${a.start}${a.step === 1 ? '' : ` by ${a.step}`}${a.dilation === 1 ? '' : `, dilated by ${a.dilation}`}${a.fill === 0 ? '' : `, fill ${a.fill}`}`,
  roll: a => `roll ${a.dim} by ${a.by}`,
  reverse: a => `reverse ${a.dim}`,
  concat: a => `concat ${formatDims([a.dim])}`,
  take: a => `take ${a.dim}`,
  scatter: a => `scatter ${a.kind} ${a.dim}`,
  dynamicSlice: a => `slice ${a.dim} → ${formatDims([a.to])} from`,
  dynamicUpdate: a => `update ${a.dim}`,
  sort: a => `sort ${a.dim}${a.descending ? ', descending' : ''}`,
  topK: a => `top ${a.dim} → ${formatDims([a.to])}`,
  cumulative: a => `cumulative ${a.kind} along ${a.dim}${a.reverse ? ' in reverse' : ''}`,
  scatterAdd: a => `scatterAdd ${a.dim.name}`,
  conv: a => `conv over ${list([...a.over, ...a.windows.map(describeWindow)])}`,
  threefry: () => 'threefry',
  ...describeControl,
  project: a => `result ${a.index} of`,
  relayout: a => `relayout ${typeof a.to === 'string' ? `as ${a.to}` : JSON.stringify(a.to)}${a.keepsSums ? ', addends kept' : ''}${a.first === undefined ? '' : `, ${a.first} first`}`,
  named: a => `named "${a.name}"`,
  stored: a => `stored in ${a.in} memory`,
  recompute: () => 'recompute',
  barrier: () => 'barrier',
  stopGradient: () => 'stopGradient',
  customGradient: () => 'customGradient',
}

const textOf = <K extends keyof Attrs>(n: Node<K>): string => describeOp[n.op](n.attrs)

/** The text of a global graph. */
export const print = (graph: Graph): string => printGraph<Attrs>(graph, textOf)
