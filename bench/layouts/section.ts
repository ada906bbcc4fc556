/** The layout that the search chooses against others that are measured: the ten next best by prediction and some that are drawn by a seed, of ten small models on 4 and 8 devices; and in what order both have them. */
import { fileURLToPath } from 'node:url'
import { openKept, type MeasuredChoice, type TriedLayout } from '../foresight/kept.ts'
import { kendall, percentile } from '../foresight/section.ts'
import { isQuick } from '../foresight/runs.ts'
import { interleave, median, row, type Section } from '../measure.ts'
import { asCommand, Worker } from '../process.ts'
import { models } from './models.ts'
import type { Answers, Request } from './worker.ts'

type Say = (line: string) => void
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
/** Layouts of a model on so many devices: the best by prediction, those that are drawn beside, and how few are measured longest; and steps of a visit, of which the first is not counted. */
const [best, drawn, few, visit] = isQuick ? [2, 2, 2, 3] : [8, 16, 5, 4]

/**
 * Measures layouts by successive halving (Karnin, Koren and Somekh 2013): all of them in turn for some rounds, then the better half by what was measured, with the chosen one and the next by prediction, and so on; the last few for
 * twice as many. Each is told by the rounds that it was in last, in turn with those that were near it.
 */
async function halved(tried: readonly { readonly predictedMs: number }[], steps: (at: number) => Promise<number>, rounds: number, say: Say): Promise<Pick<TriedLayout, 'firstMs' | 'lastMs' | 'stages'>[]> {
  const found = tried.map(() => ({ firstMs: NaN, lastMs: NaN, stages: 0 }))
  let open = tried.map((_, i) => i)
  for (;;) {
    const isLast = open.length <= few
    const times = await interleave(new Map(open.map(i => [`${i}`, () => steps(i)])), isLast ? 2 * rounds : rounds, () => undefined)
    for (const i of open) {
      const [ms, of] = [median(times.get(`${i}`) ?? []), found[i]]
      if (of !== undefined) found[i] = { firstMs: of.stages === 0 ? ms : of.firstMs, lastMs: ms, stages: of.stages + 1 }
    }
    say(`${open.length} layouts measured`)
    if (isLast) return found
    const byTime = [...open].sort((a, b) => (found[a]?.lastMs ?? NaN) - (found[b]?.lastMs ?? NaN))
    const [next] = open.filter(i => i > 0).sort((a, b) => (tried[a]?.predictedMs ?? NaN) - (tried[b]?.predictedMs ?? NaN))
    const kept = new Set([0, ...next === undefined ? [] : [next], ...byTime.slice(0, Math.max(few - 2, Math.floor(open.length / 2) - 2))])
    open = open.filter(i => kept.has(i))
  }
}

/** A model on so many devices: searched, compiled and measured. */
async function measured(worker: Worker, { model, devices, name }: { readonly model: string; readonly devices: number; readonly name: string }, machine: Answers['calibrate']['machine'], rounds: number, say: Say): Promise<MeasuredChoice> {
  say('searching')
  const { tried, of, searchSeconds, memory } = await ask<'layouts'>(worker, { do: 'layouts', model, devices, best, drawn, machine })
  const peaks: number[] = []
  for (const at of tried.keys()) {
    say(`compiling ${at + 1} of ${tried.length}`)
    peaks.push((await ask<'open'>(worker, { do: 'open', at })).peakBytes)
    await ask<'steps'>(worker, { do: 'steps', at, count: 1 })
  }
  const times = await halved(tried, async at => median((await ask<'steps'>(worker, { do: 'steps', at, count: visit })).ms.slice(1)), rounds, say)
  await ask<'close'>(worker, { do: 'close' })
  const none = { firstMs: NaN, lastMs: NaN, stages: 0 }
  return { name, of, searchSeconds, memory, tried: tried.map((t, i): TriedLayout => ({ ...t, peakBytes: peaks[i] ?? NaN, ...times[i] ?? none })) }
}

/** What a choice came to: the chosen one by the best of those that were measured with it to the end, and in what order the drawn ones are. */
function judged({ name, of, searchSeconds, memory, tried }: MeasuredChoice): { readonly over: number; readonly tau: number; readonly fits: boolean; readonly line: string } {
  const [chosen] = tried
  const last = tried.filter(t => t.stages === Math.max(...tried.map(x => x.stages)))
  const fastest = last.reduce<TriedLayout | undefined>((a, b) => (a === undefined || b.lastMs < a.lastMs ? b : a), undefined)
  const [own, least] = [chosen?.lastMs ?? NaN, fastest?.lastMs ?? NaN]
  const tau = kendall(tried.filter(t => t.drawn).map(t => [t.predictedMs, t.firstMs]))
  const fits = (chosen?.peakBytes ?? Infinity) * Number(name.split(' ').at(-1)) <= memory
  const cells = [name, `${tried.length} of ${of}`, `${own.toFixed(1)}, predicted ${chosen?.predictedMs.toFixed(1) ?? '–'}`, `${least.toFixed(1)}, predicted ${fastest?.predictedMs.toFixed(1) ?? '–'}`, (own / least).toFixed(2), tau.toFixed(2), searchSeconds.toFixed(1), chosen?.text ?? '', fastest?.text ?? '']
  return { over: 100 * (own / least - 1), tau, fits, line: `| ${cells.join(' | ')} |` }
}

export async function layoutsSection(rounds: number, say: Say): Promise<Section> {
  const parts = (process.env['MESHWORK_BENCH_PARTS'] ?? '').split(',').filter(p => p !== '')
  const all = Object.keys(models).flatMap(model => [4, 8].map(devices => ({ model, devices, name: `${model} ${devices}` })))
  const wanted = all.filter(({ name, model }) => parts.length === 0 || parts.includes(name) || parts.includes(model))
  const kept = await openKept()
  const known = (): readonly MeasuredChoice[] => (kept.now().choices ?? []).filter(c => wanted.some(w => w.name === c.name))
  const open = wanted.filter(({ name }) => !known().some(c => c.name === name))
  if (open.length > 0) {
    const worker = new Worker('layouts', process.execPath, ['--import', 'tsx', fileURLToPath(new URL('worker.ts', import.meta.url))], asCommand)
    try {
      let machine = kept.now().machines['8 devices']
      if (machine === undefined) {
        const found = await ask<'calibrate'>(worker, { do: 'calibrate' })
        say(`calibrated in ${found.seconds.toFixed(0)} s`)
        machine = found.machine
        await kept.add({ machines: { '8 devices': machine } })
      }
      for (const one of open) {
        const choice = await measured(worker, one, machine, rounds, text => { say(`${one.name}: ${text}`) })
        await kept.add({ choices: [choice] })
        // What has been measured is told at once: the whole takes an hour.
        say(judged(choice).line)
      }
    } finally {
      await worker.stop()
    }
  }
  const [choices, over, taus] = [known(), known().map(c => judged(c).over), known().map(c => judged(c).tau)]
  return {
    name: 'layouts', notes: [...isQuick ? ['few layouts: these figures say nothing'] : [], '| model, devices | measured | chosen, ms | best, ms | ratio | τ | search, s | chosen | best |', `|${' --- |'.repeat(9)}`, ...choices.map(c => judged(c).line)],
    rows: [
      row('the chosen layout : the measured best, median', median(over), '%'), row('90th percentile', percentile(over, 0.9), '%', 10), row('largest', Math.max(...over), '%', 5), row('chosen ones too large for memory', choices.filter(c => !judged(c).fits).length, '', 0),
      row('1 − Kendall\'s τ of drawn layouts, mean over models', 1 - taus.reduce((n, t) => n + t, 0) / Math.max(1, taus.length), '', 0.2),
      row('a search, largest', 1000 * Math.max(...choices.map(c => c.searchSeconds)), 'ms'),
    ],
  }
}
