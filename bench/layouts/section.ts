/** The layout that the search chooses against layouts that are measured: all there are of ten small models on 4 and 8 devices, or as many as are drawn by a seed; and in what order both have them. */
import { fileURLToPath } from 'node:url'
import { kendall, percentile } from '../foresight/section.ts'
import { isQuick } from '../foresight/runs.ts'
import { interleave, median, row, type Section } from '../measure.ts'
import { environments, Worker } from '../process.ts'
import { models } from './models.ts'
import type { Answers, Request } from './worker.ts'

const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
/** Layouts of a model on so many devices that are measured beside the chosen one, and steps of a visit, of which the first is not counted. */
const [count, visit] = isQuick ? [3, 3] : [16, 4]

export async function layoutsSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const parts = (process.env['MESHWORK_BENCH_PARTS'] ?? '').split(',').filter(p => p !== '')
  const all = Object.keys(models).flatMap(model => [4, 8].map(devices => ({ model, devices, name: `${model} ${devices}` })))
  const chosen = all.filter(({ name, model }) => parts.length === 0 || parts.includes(name) || parts.includes(model))
  const worker = new Worker('layouts', process.execPath, ['--import', 'tsx', fileURLToPath(new URL('worker.ts', import.meta.url))], environments['huge pages'])
  const [table, over, seconds, orders]: [string[], number[], number[], number[]] = [[], [], [], []]
  let tooLarge = 0
  try {
    say(`calibrated in ${(await ask<'calibrate'>(worker, { do: 'calibrate' })).seconds.toFixed(0)} s`)
    for (const { model, devices, name } of chosen) {
      say(`${name}: searching and compiling`)
      const { tried, of, searchSeconds, memory } = await ask<'layouts'>(worker, { do: 'layouts', model, devices, count })
      const times = await interleave(new Map(tried.map(({ text }, at) => [text, async () => median((await ask<'steps'>(worker, { do: 'steps', at, count: visit })).ms.slice(1))])), rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
      await ask<'close'>(worker, { do: 'close' })
      const ms = tried.map(({ text }) => median(times.get(text) ?? []))
      const [own = NaN, least = NaN] = [ms[0], Math.min(...ms)]
      const best = tried[ms.indexOf(least)]
      over.push(100 * (own / least - 1))
      seconds.push(searchSeconds)
      const tau = kendall(tried.map(({ predictedMs }, i) => [predictedMs, ms[i] ?? NaN]))
      orders.push(tau)
      if ((tried[0]?.peakBytes ?? 0) * devices > memory) tooLarge++
      table.push(`| ${[name, `${tried.length} of ${of}`, `${own.toFixed(1)}, predicted ${tried[0]?.predictedMs.toFixed(1) ?? '–'}`, `${least.toFixed(1)}, predicted ${best?.predictedMs.toFixed(1) ?? '–'}`, (own / least).toFixed(2), tau.toFixed(2), searchSeconds.toFixed(1), tried[0]?.text ?? '', best?.text ?? ''].join(' | ')} |`)
      // What has been measured is told at once: the whole takes an hour.
      say(table.at(-1) ?? '')
    }
  } finally {
    await worker.stop()
  }
  return {
    name: 'layouts', notes: [...isQuick ? ['few layouts: these figures say nothing'] : [], '| model, devices | measured | chosen, ms | best, ms | ratio | τ | search, s | chosen | best |', `|${' --- |'.repeat(9)}`, ...table],
    rows: [
      row('the chosen layout : the measured best, median', median(over), '%'), row('90th percentile', percentile(over, 0.9), '%', 10), row('largest', Math.max(...over), '%', 5), row('chosen ones too large for memory', tooLarge, '', 0),
      row('1 − Kendall\'s τ of layouts, mean over models', 1 - orders.reduce((n, t) => n + t, 0) / Math.max(1, orders.length), '', 0.2),
      row('a search, largest', 1000 * Math.max(...seconds), 'ms'),
    ],
  }
}
