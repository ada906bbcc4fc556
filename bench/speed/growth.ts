/** How a step's time and memory, and the stages before it, grow: against layers, width, sequence, batch and devices. */
import { row, type Row } from '../measure.ts'
import { asCommand, withWorkers, Worker } from '../process.ts'
import { optimizer } from '../task.ts'
import { growths, isQuick, wanted, type Configuration } from './configurations.ts'
import { fileURLToPath } from 'node:url'
import type { Answers } from './worker.ts'

const base = { vocab: 512, seq: 64, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512, dropout: 0 as const }
const small = { ...base, vocab: 128, seq: 16, embed: 32, headDim: 8, hidden: 64 }
const gpt = (over: Partial<typeof base>, batch = 8): Configuration => ({ kind: 'gpt', about: 'grown', batch, config: { ...isQuick ? small : base, ...over } })

interface Point { readonly way: (typeof growths)[number]; readonly what: string; readonly of: Configuration; readonly mesh: { readonly batch: number; readonly model: number } }
const one = { batch: 1, model: 1 }
/** Each line is the first again with one thing grown. */
const points: readonly Point[] = [
  ...(isQuick ? [4, 8] : [4, 12, 24, 48]).map((layers): Point => ({ way: 'layers', what: `${layers} layers`, of: gpt({ layers }), mesh: one })),
  ...(isQuick ? [64] : [256, 512]).map((embed): Point => ({ way: 'width', what: `width ${embed}`, of: gpt({ embed, headDim: embed / 4, hidden: 4 * embed }), mesh: one })),
  ...(isQuick ? [32] : [128, 512]).map((seq): Point => ({ way: 'tokens', what: `${seq} tokens a window`, of: gpt({ seq }), mesh: one })),
  ...(isQuick ? [16] : [16, 32]).map((batch): Point => ({ way: 'windows', what: `${batch} windows`, of: gpt({}, batch), mesh: one })),
  ...[{ batch: 2, model: 1 }, { batch: 2, model: 2 }, { batch: 2, model: 4 }].map((mesh): Point => ({ way: 'devices', what: `${mesh.batch * mesh.model} devices`, of: gpt({}), mesh })),
]

/** Processor time, so that it can be read on a busy machine; each number is the least of three, the first of which finds nothing warm. */
export async function growth(say: (line: string) => void): Promise<{ readonly notes: readonly string[]; readonly rows: readonly Row[] }> {
  const lines: string[] = []
  const rows: Row[] = []
  const found = new Map<string, Answers['stages']>()
  for (const { what, of, mesh } of points.filter(p => wanted(growths, p.way))) {
    const worker = new Worker(what, process.execPath, ['--import', 'tsx', fileURLToPath(new URL('worker.ts', import.meta.url))], asCommand)
    await withWorkers([worker], async () => {
      const times: Answers['stages'][] = []
      for (let i = 0; i < 3; i++) times.push(await worker.say(JSON.stringify({ do: 'stages', of, mesh, optimizer })) as Answers['stages'])
      const least = (of: (a: Answers['stages']) => number): number => Math.min(...times.map(of))
      const best = { traceMs: least(t => t.traceMs), partitionMs: least(t => t.partitionMs), textMs: least(t => t.textMs), compileMs: least(t => t.compileMs), programMiB: least(t => t.programMiB) }
      found.set(what, best)
      const line = `| ${what} | ${[best.traceMs, best.partitionMs, best.textMs, best.compileMs, best.programMiB].map(n => n.toFixed(0)).join(' | ')} |`
      lines.push(line)
      say(line)
    })
  }
  const compile = (what: string): number => found.get(what)?.compileMs ?? NaN
  const [few, many] = isQuick ? ['4 layers', '8 layers'] : ['4 layers', '48 layers']
  if (found.has(few) && found.has(many)) rows.push(row(`compiling, ${many} / ${few}`, compile(many) / compile(few), '', 1.1))
  const head = ['| | tracing and differentiating, ms of CPU | partitioning | writing | compiling | program, MiB |', '|---|---|---|---|---|---|']
  return { notes: [...head, ...lines], rows }
}
