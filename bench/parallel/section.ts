/** Each form of parallelism: a training step on four virtual devices beside JAX with the same sharding, and on four ranks beside PyTorch's over four processes. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { found, leave } from '../../test/mpi/support.ts'
import { jaxPython, torchPython } from '../../test/oracle/python.ts'
import { checkLosses } from '../gpt.ts'
import { interleave, median, ratio, row, type Rounds, type Row, type Section } from '../measure.ts'
import { asCommand, asUsers, withWorkers, Worker } from '../process.ts'
import { optimizer } from '../task.ts'
import { batch, batches, experts, forms, images, isQuick, side, sizes, wanted, type Compared } from './forms.ts'
import type { Answers, Request } from './worker.ts'

type Say = (line: string) => void
/** Steps before the first that is timed, and of a visit, whose first is not counted. */
const [warmup, visit] = [3, isQuick ? 2 : 4] as const
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const ourArgs = ['--import', 'tsx', here('worker.ts')]
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
const python = (folders: readonly string[]) => ({ ...asUsers, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: folders.map(here).join(':') })

interface Part { readonly notes: readonly string[]; readonly rows: readonly Row[] }
interface Peer { readonly name: 'JAX' | 'PyTorch'; readonly where: string; readonly goal: number; readonly of: (form: Compared) => string | undefined }

const least = (rounds: Rounds, name: string): number => Math.min(...rounds.get(name) ?? [NaN])
const tableRow = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

/** One pair of workers for all forms, which are opened one after another: what is measured runs alone. */
async function beside(peer: Peer, mine: Worker, theirs: Worker, folder: string, rounds: number, say: Say): Promise<Part> {
  return withWorkers([mine, theirs], async () => {
    const [notes, rows, table]: [Set<string>, Row[], string[]] = [new Set(), [], []]
    // Of each model the weights are ours, and the same in every layout.
    let written = ''
    for (const [name, form] of Object.entries(forms)) {
      const way = peer.of(form)
      if (way === undefined || !wanted(name)) continue
      say(`${name}, ${peer.where}: compiling`)
      const { model = 'dense' } = form
      const told = { do: 'open', form: { ...form, way }, config: model === 'images' ? images : sizes, experts: model === 'experts' ? experts : null, batch, batches, optimizer, folder }
      const opened = async (w: Worker, request: string): Promise<string> => (await w.say(request) as Answers['open']).runtime
      const [own, peers] = [() => opened(mine, JSON.stringify({ do: 'open', form, optimizer, folder })), () => opened(theirs, JSON.stringify(told))]
      // Both compile at once, but where ours has to write the weights first.
      if (model === written) for (const runtime of await Promise.all([own(), peers()])) notes.add(runtime)
      else {
        notes.add(await own())
        await ask<'save'>(mine, { do: 'save' })
        notes.add(await peers())
      }
      written = model
      const steps = async (w: Worker, count: number): Promise<Answers['steps']> => ask<'steps'>(w, { do: 'steps', count })
      const apart = checkLosses(new Map([['ours', (await steps(mine, warmup)).losses], [peer.name, (await steps(theirs, warmup)).losses]]))
      const timed = (w: Worker) => async (): Promise<number> => median((await steps(w, visit)).ms.slice(1))
      const times = await interleave(new Map([['ours', timed(mine)], [peer.name, timed(theirs)]]), rounds, done => { say(`${name}, ${peer.where}: round ${done} of ${rounds}`) })
      for (const w of [mine, theirs]) await ask<'close'>(w, { do: 'close' })
      const [ours, other, over] = [median(times.get('ours') ?? []), median(times.get(peer.name) ?? []), ratio(times, 'ours', peer.name)]
      rows.push(row(`${name}, ${peer.where}`, ours, 'ms'), row(`${name}, ${peer.name} ${way}`, other, 'ms'), row(`${name} / ${peer.name} ${way}`, over, '', peer.goal))
      const line = tableRow([
        name, way, `${ours.toFixed(0)} (${least(times, 'ours').toFixed(0)})`, `${other.toFixed(0)} (${least(times, peer.name).toFixed(0)})`,
        `${over.toFixed(2)}${over <= peer.goal ? '' : ', **falls short**'}`, (least(times, 'ours') / least(times, peer.name)).toFixed(2), apart.toExponential(0),
      ])
      table.push(line)
      say(line)
    }
    const head = [tableRow([`form, ${peer.where}`, peer.name, 'ours: median, least ms', `${peer.name}'s`, `ratio (goal ≤ ${peer.goal.toFixed(1)})`, 'of the least', 'losses apart']), tableRow(Array.from({ length: 7 }, () => '---'))]
    return { notes: [...notes, ...table.length === 0 ? [] : [...head, ...table]], rows }
  })
}

/** Random tokens and images: what they are does not change the work. */
export async function writeBatches(folder: string): Promise<void> {
  const { height, width, channels, classes } = images
  const drawn = (count: number, i: number, below: number): number[] => Array.from({ length: count }, (_, k) => (threefry2x32(5, i, k, 0) >>> 0) % below)
  for (let i = 0; i < batches; i++) {
    await writeFile(join(folder, `batch.${i}`), Int32Array.from(drawn(2 * batch * sizes.seq, i, sizes.vocab)))
    await writeFile(join(folder, `images.${i}`), Uint8Array.from(drawn(batch * height * width * channels, i, 256)))
    await writeFile(join(folder, `labels.${i}`), Int32Array.from(drawn(batch, i, classes)))
  }
}

export async function parallelSection(rounds: number, say: Say): Promise<Section> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const parts: Part[] = []
  try {
    await writeBatches(folder)
    if (side('devices')) {
      const mine = new Worker('ours, 4 devices', process.execPath, ourArgs, asCommand)
      const jax = new Worker('JAX', await jaxPython(say), [here('jax_peer.py')], { ...python(['../tiny']), JAX_PLATFORMS: 'cpu' })
      parts.push(await beside({ name: 'JAX', where: '4 devices', goal: 1, of: form => form.jax }, mine, jax, folder, rounds, say))
    }
    const [mpi] = found
    if (side('ranks') && mpi === undefined) parts.push({ notes: ['ranks: not measured: no mpirun with its mpicc (apt-get install openmpi-bin libopenmpi-dev)'], rows: [] })
    if (side('ranks') && mpi !== undefined) {
      // A thread a process on both sides.
      const mine = new Worker('ours, 4 ranks', mpi.mpirun, ['-n', '4', process.execPath, ...ourArgs], { ...leave, ...asCommand, PJRT_NPROC: '1' })
      const torch = new Worker('PyTorch', await torchPython(say), [here('torch_peer.py')], { ...python(['../mpi', '../../test/oracle']), OMP_NUM_THREADS: '1' })
      parts.push(await beside({ name: 'PyTorch', where: `4 ranks of ${mpi.name}`, goal: 0.7, of: form => form.torch }, mine, torch, folder, rounds, say))
    }
    const { vocab, seq, layers, embed } = sizes
    const what = `${layers} layers, width ${embed}, ${vocab} words, ${batch} × ${seq} tokens, f32, AdamW with the norm clipped; each step from its batch on the host to its loss there`
    return { name: 'parallel', notes: [...isQuick ? ['small numbers: these figures say nothing'] : [], what, ...parts.flatMap(p => p.notes)], rows: parts.flatMap(p => p.rows) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
