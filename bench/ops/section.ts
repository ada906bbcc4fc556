/** Every op of the language against the same op in JAX, on one device: both loop inside one program, on the same operands. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jaxPython } from '../../test/oracle/python.ts'
import { interleave, median, ratio, row, type Row, type Section } from '../measure.ts'
import { asCommand, asUsers, Worker, withWorkers } from '../process.ts'
import { timed } from './cases.ts'
import type { Answers, Request } from './task.ts'

/** A measurement takes about so long: dispatch is a thousandth of it. */
const aim = 40
const goal = 1.2
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
const timeOf = (w: Worker, turns: number): Promise<number> => ask<'time'>(w, { do: 'time', turns }).then(t => t.ms)

/** Ops whose random bits are others than JAX's. */
const differs = new Set(['uniform', 'normal', 'truncatedNormal', 'bernoulli', 'randomIntegers', 'dropout', 'categorical'])

async function measured(name: string, ours: Worker, theirs: Worker, rounds: number): Promise<{ readonly row: Row; readonly runtime: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  try {
    const mine = await ask<'open'>(ours, { do: 'open', name, folder })
    const peer = await theirs.say(JSON.stringify({ do: 'open', name, arrays: mine.arrays, folder })) as { readonly runtime: string; readonly sum: number }
    const apart = Math.abs(mine.sum - peer.sum) / Math.max(Math.abs(peer.sum), 1e-3)
    if (!(apart < 1e-3 || differs.has(name))) throw new Error(`${name}: the sides compute different things, ${mine.sum} and ${peer.sum}`)
    // Twice: the first call is slower.
    let turns = 1
    for (let i = 0; i < 3; i++) {
      const slower = Math.max(await timeOf(ours, turns), await timeOf(theirs, turns))
      turns = Math.max(1, Math.min(10_000, Math.round(turns * aim / slower)))
    }
    const found = await interleave(new Map([['ours', () => timeOf(ours, turns)], ['JAX', () => timeOf(theirs, turns)]]), rounds, () => {})
    const each = ['ours', 'JAX'].map(side => (median(found.get(side) ?? []) / turns).toPrecision(3))
    await Promise.all([ask<'close'>(ours, { do: 'close' }), ask<'close'>(theirs, { do: 'close' })])
    return { row: row(`${name.padEnd(30)} ${each.map(t => `${t} ms`.padStart(9)).join(' ')}`, ratio(found, 'ours', 'JAX'), '', goal), runtime: peer.runtime }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export async function opsSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const python = await jaxPython(say)
  const ours = new Worker('ours', process.execPath, ['--import', 'tsx', here('worker.ts')], asCommand)
  const theirs = new Worker('JAX', python, [here('peer.py')], { ...asUsers, JAX_PLATFORMS: 'cpu', PYTHONDONTWRITEBYTECODE: '1' })
  return withWorkers([ours, theirs], async () => {
    const rows: Row[] = []
    let runtime = ''
    for (const [i, { name }] of timed.entries()) {
      const found = await measured(name, ours, theirs, rounds)
      runtime = found.runtime
      rows.push(found.row)
      say(`${i + 1} of ${timed.length}: ${found.row.what} ${found.row.value.toFixed(2)}`)
    }
    return { name: 'ops', notes: [`ours, ${runtime}, and the ratio; f32, one device`], rows }
  })
}
