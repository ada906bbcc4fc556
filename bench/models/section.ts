/** Real models: attention in blocks and a step with adapters beside PyTorch, and bringing a folder of weights in beside plain copies of its bytes. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { transformersPython } from '../../test/oracle/python.ts'
import { interleave, median, ratio, row, timesOf, type Row, type Section } from '../measure.ts'
import { asCommand, asUsers, Worker, withWorkers } from '../process.ts'
import { attention, drawn, isQuick, large, lora, small, writeModel } from './sizes.ts'
import type { Answers, Compute, Request } from './task.ts'

type Say = (line: string) => void
const MiB = 2 ** 20
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const ours = (name: string): Worker => new Worker(name, process.execPath, ['--expose-gc', '--import', 'tsx', here('worker.ts')], asCommand)
const peer = (name: string, python: string): Worker => new Worker(name, python, [here('peer.py')], { ...asUsers, PYTHONDONTWRITEBYTECODE: '1', HF_HUB_OFFLINE: '1', TQDM_DISABLE: '1' })
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
const best = (ms: readonly number[] | undefined): number => Math.min(...ms ?? [NaN])

interface Part { readonly notes: readonly string[]; readonly rows: readonly Row[] }

function requireSame(what: string, a: readonly number[], b: readonly number[], within: number): number {
  const apart = Math.max(...a.map((x, i) => Math.abs(x / (b[i] ?? NaN) - 1)))
  if (!(apart < within)) throw new Error(`${what}: the sides compute different things, ${a.join(' ')} and ${b.join(' ')}`)
  return apart
}

async function attentionPart(folder: string, python: string, rounds: number, say: Say): Promise<Part> {
  const { heads, seq, size } = attention
  for (const [i, name] of ['q', 'k', 'v', 'g'].entries()) await writeFile(join(folder, name), drawn(heads * seq * size, 1.5, i + 1))
  const [mine, theirs] = [ours('attention'), peer('PyTorch', python)]
  return withWorkers([mine, theirs], async () => {
    say('attention: compiling')
    const { runtime } = await ask<'attention'>(mine, { do: 'attention', folder, heads, seq, size })
    const { runtime: other } = await ask<'attention'>(theirs, { do: 'attention', folder, heads, seq, size })
    const worst: number[] = []
    for (const what of ['forward', 'both'] as const) worst.push(requireSame(`attention, ${what}`, (await ask(mine, { do: what })).sums, (await ask(theirs, { do: what })).sums, 1e-4))
    const found = await interleave(new Map([
      ['attention, forward', async () => (await ask<'forward'>(mine, { do: 'forward' })).ms], ['attention, forward, PyTorch', async () => (await ask<'forward'>(theirs, { do: 'forward' })).ms],
      ['attention, both ways', async () => (await ask<'both'>(mine, { do: 'both' })).ms], ['attention, both ways, PyTorch', async () => (await ask<'both'>(theirs, { do: 'both' })).ms],
    ]), rounds, done => { say(`attention: round ${done} of ${rounds}`) })
    return {
      notes: [`attention: ${heads} heads of ${size}, ${seq} positions, causal, f32; ${runtime}; ${other}, scaled_dot_product_attention; sums of magnitudes agree within ${Math.max(...worst).toExponential(1)}`],
      rows: [
        ...timesOf(found), ...['forward', 'both ways'].map(what => row(`attention, ${what} / PyTorch`, ratio(found, `attention, ${what}`, `attention, ${what}, PyTorch`), '', 1)),
        ...['forward', 'both ways'].map(what => row(`the same, the best of each`, best(found.get(`attention, ${what}`)) / best(found.get(`attention, ${what}, PyTorch`)))),
      ],
    }
  })
}

async function loraPart(folder: string, python: string, compute: Compute, rounds: number, say: Say): Promise<Part> {
  const { batch, seq, rank, on, batches } = lora
  const [model, data] = [join(folder, 'model'), join(folder, 'data')]
  const request = { do: 'lora', folder: model, data, compute, batch, seq, rank, on, batches } as const
  const [mine, theirs] = [ours(`LoRA, ${compute}`), peer('PyTorch', python)]
  return withWorkers([mine, theirs], async () => {
    say(`LoRA, ${compute}: opening`)
    await ask<'lora'>(mine, request)
    await ask<'lora'>(theirs, request)
    const losses = [mine, theirs].map(async w => (await ask<'steps'>(w, { do: 'steps', count: 2 })).losses)
    const apart = requireSame(`LoRA, ${compute}`, await losses[0] ?? [], await losses[1] ?? [], compute === 'f32' ? 1e-3 : 1e-2)
    const name = `LoRA step, ${compute}`
    const step = (w: Worker) => async (): Promise<number> => (await ask<'steps'>(w, { do: 'steps', count: 1 })).ms[0] ?? NaN
    const found = await interleave(new Map([[name, step(mine)], [`${name}, PyTorch`, step(theirs)]]), rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
    const [memory, other] = [await ask<'memory'>(mine, { do: 'memory' }), await ask<'memory'>(theirs, { do: 'memory' })]
    return {
      notes: [`${name}: ${batch} × ${seq} tokens, rank ${rank} on ${on.join(' and ')}; the losses of two steps agree within ${apart.toExponential(1)}`],
      rows: [
        ...timesOf(found), row(`${name} / PyTorch`, ratio(found, name, `${name}, PyTorch`), '', 0.8), row('the same, the best of each', best(found.get(name)) / best(found.get(`${name}, PyTorch`))),
        row(`${name}, peak resident`, memory.peakBytes / MiB, 'MiB', other.peakBytes / MiB), row(`${name}, peak resident, PyTorch`, other.peakBytes / MiB, 'MiB'),
      ],
    }
  })
}

async function importPart(folder: string, python: string, rounds: number, say: Say): Promise<Part> {
  const from = join(folder, 'large')
  say('import: writing weights')
  const bytes = await writeModel(from, large)
  let made = 0
  const removed = async (work: (to: string) => Promise<number>): Promise<number> => {
    const to = join(folder, `made-${made++}`)
    try { return await work(to) } finally { await rm(to, { recursive: true, force: true }) }
  }
  // A process for each mesh: what one has freed stays resident.
  const loads = ([[1, 1], [2, 2]] as const).map(([batch, model]) => ({ batch, model, loader: ours(`load onto ${batch}×${model}`) }))
  const [mine, theirs] = [ours('import'), peer('Python', python)]
  return withWorkers([mine, theirs, ...loads.map(l => l.loader)], async () => {
    const python = (what: 'copy' | 'safetensors') => () => removed(async to => (await theirs.say(JSON.stringify({ do: what, source: from, to })) as { readonly ms: number }).ms)
    const found = await interleave(new Map<string, () => Promise<number>>([
      ['import', () => removed(async to => (await ask<'import'>(mine, { do: 'import', from, to })).ms)], ['read and write, Python', python('copy')], ['safetensors, Python', python('safetensors')],
    ]), rounds, done => { say(`import: round ${done} of ${rounds}`) })
    const { peakBytes } = await ask<'memory'>(mine, { do: 'memory' })
    const loaded: Row[] = []
    for (const { batch, model, loader } of loads) {
      const { ms, beyondBytes, pieceBytes, deviceBytes } = await ask<'load'>(loader, { do: 'load', folder: from, batch, model })
      loaded.push(row(loader.name, ms, 'ms'), row(`${loader.name}, host beyond ${Math.round(deviceBytes / MiB)} MiB / a piece`, beyondBytes / pieceBytes, '', 1.2))
      say(`load: ${(beyondBytes / MiB).toFixed(0)} MiB beyond, the largest piece ${(pieceBytes / MiB).toFixed(0)} MiB`)
    }
    const rate = (name: string): string => `${name} ${Math.round(bytes / MiB / (median(found.get(name) ?? []) / 1000))} MiB/s`
    return {
      notes: [`import: ${Math.round(bytes / MiB)} MiB in shards; ${[...found.keys()].map(rate).join(', ')}; all synced`],
      rows: [...timesOf(found), row('import / read and write', ratio(found, 'import', 'read and write, Python'), '', 1.1), row('import / safetensors', ratio(found, 'import', 'safetensors, Python')), row('import, peak resident', peakBytes / MiB, 'MiB'), ...loaded],
    }
  })
}

/** Weights, batches and what adapters are at first. */
async function writeLora(folder: string): Promise<void> {
  const { batch, seq, rank, on, batches } = lora
  await writeModel(join(folder, 'model'), small)
  const data = join(folder, 'data')
  await mkdir(data)
  for (const [i, name] of on.entries()) await writeFile(join(data, `lora.blocks.${name}.down`), drawn(small.layers * rank * small.embed, 1 / Math.sqrt(small.embed), 10 + i))
  for (let b = 0; b < batches; b++) {
    for (const [k, name] of ['tokens', 'targets'].entries()) await writeFile(join(data, `${name}.${b}`), Int32Array.from({ length: batch * seq }, (_, i) => threefry2x32(9, b, i, k) % small.vocab))
  }
}

/** `MESHWORK_BENCH_PARTS`, such as `attention,lora`: those alone. */
const parts = (process.env['MESHWORK_BENCH_PARTS'] ?? 'attention,lora,import').split(',')

export async function modelsSection(rounds: number, say: Say): Promise<Section> {
  const python = await transformersPython(say)
  const folder = await mkdtemp(join(process.env['MESHWORK_BENCH_DIR'] ?? tmpdir(), 'meshwork-bench-'))
  const found: Part[] = []
  try {
    if (parts.includes('attention')) found.push(await attentionPart(folder, python, rounds, say))
    if (parts.includes('lora')) {
      await writeLora(folder)
      for (const compute of ['f32', 'bf16'] as const) found.push(await loraPart(folder, python, compute, rounds, say))
    }
    if (parts.includes('import')) found.push(await importPart(folder, python, rounds, say))
    return { name: 'models', notes: [...isQuick ? ['small numbers: these figures say nothing'] : [], ...found.flatMap(p => p.notes)], rows: found.flatMap(p => p.rows) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
