/** The page: what it costs a run, what a tab keeps of a long run, how soon it is there, how soon a plan is. */
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPage } from '../../src/cli/page-thread.ts'
import { PlanThread } from '../../src/cli/plan-thread.ts'
import { loadRecipe } from '../../src/cli/recipes.ts'
import { openBackend } from '../../src/engine/index.ts'
import { train, type Run } from '../../src/train/index.ts'
import { noBrowser, openBrowser, type Browser } from '../../test/page/support.ts'
import { metricsLine, openWatch, writeRun } from '../../test/page/watching.ts'
import { median, ratio, row, type Row, type Rounds, type Section } from '../measure.ts'

type Say = (line: string) => void
const quick = process.env['MESHWORK_BENCH_QUICK'] === '1'
/** Steps of a block, and those before it that are not measured. */
const [steps, warm] = quick ? [8, 2] : [60, 6]
/** Plans that are asked for, of which the first so many are not counted: the thread is new, and what it runs not yet compiled. */
const [asks, first] = quick ? [6, 2] : [16, 6]
const parts = process.env['MESHWORK_BENCH_PARTS']?.split(',')
const wanted = (part: 'run' | 'plans' | 'tab'): boolean => parts === undefined || parts.includes(part)
/** Rows that come to a tab. */
const rows = quick ? 4000 : 100_000

/** A tab that reads all that it is told, and draws nothing. */
async function reader(url: string): Promise<() => Promise<void>> {
  const over = new AbortController()
  const { next } = await (await fetch(`${url}/api/series?id=run`)).json() as { readonly next: string }
  const response = await fetch(`${url}/api/events?${new URLSearchParams([['run', next]]).toString()}`, { signal: over.signal })
  const read = (async () => { for await (const _ of response.body as unknown as AsyncIterable<Uint8Array>); })().catch(() => undefined)
  return async () => {
    over.abort()
    await read
  }
}
const tab = async (browser: Browser, url: string): Promise<() => Promise<void>> => {
  const page = await browser.context.newPage()
  await page.goto(`${url}/#/training?run=run`)
  await page.locator('[data-figure=loss] canvas').waitFor()
  return () => page.close()
}

interface Block { readonly cpu: Rounds; readonly wall: Rounds }
/** One run that trains on, in blocks by turns: with nobody, with two who read, and with two tabs of a browser on the same cores. */
async function beside(rounds: number, browser: Browser | undefined, say: Say): Promise<Block> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-page-'))
  const sides = ['nobody', 'two who read', ...browser === undefined ? [] : ['two tabs of Chromium']] as const
  const [cpu, wall] = [new Map<string, number[]>(sides.map(s => [s, []])), new Map<string, number[]>(sides.map(s => [s, []]))]
  const over = new AbortController()
  const { run: recipe } = await loadRecipe('gpt-tiny')
  const run: Run = { ...recipe, steps: 10_000_000, mesh: { batch: 2, model: 1 }, checkpoint: { ...recipe.checkpoint, every: 0 }, evaluation: { ...recipe.evaluation, every: 10_000_000 } }
  const backend = await openBackend({ devices: 2 })
  const open = async (side: string): Promise<() => Promise<void>> => {
    if (side === 'nobody') return () => Promise.resolve()
    const page = await openPage({ runs: folder, host: '127.0.0.1', port: 0, token: undefined }, say)
    const tabs = [side === 'two who read' || browser === undefined ? await reader(page.url) : await tab(browser, page.url), side === 'two who read' || browser === undefined ? await reader(page.url) : await tab(browser, page.url)]
    return async () => {
      for (const close of tabs) await close()
      await page.close()
    }
  }
  let [at, block, close]: [number, number, () => Promise<void>] = [0, 0, () => Promise.resolve()]
  let began: { readonly cpu: NodeJS.CpuUsage; readonly wall: number } | undefined
  const sideOf = (n: number): string => sides[(n + Math.floor(n / sides.length)) % sides.length] ?? 'nobody'
  try {
    await train(run, {
      backend, out: join(folder, 'run'), signal: over.signal,
      beside: () => Promise.resolve(async step => {
        // The first steps say how fast the devices are, and have nobody.
        if (step < 4) return
        if (at === 0) close = await open(sideOf(block))
        if (at === warm) began = { cpu: process.cpuUsage(), wall: performance.now() }
        if (at++ < warm + steps || began === undefined) return
        const used = process.cpuUsage(began.cpu)
        cpu.get(sideOf(block))?.push((used.user + used.system) / 1000 / steps)
        wall.get(sideOf(block))?.push((performance.now() - began.wall) / steps)
        await close()
        close = () => Promise.resolve()
        at = 0
        if (++block % sides.length === 0) say(`round ${block / sides.length} of ${rounds}`)
        if (block >= rounds * sides.length) over.abort()
      }),
    })
  } finally {
    await close()
    await backend.close()
    await rm(folder, { recursive: true, force: true })
  }
  return { cpu, wall }
}

/** What a tab keeps while a run goes on for long, and how soon it was there. */
async function long(browser: Browser, say: Say): Promise<readonly Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-page-'))
  try {
    await writeRun(join(folder, 'run'), { steps: 1000 })
    await using watch = await openWatch(folder)
    const paints: number[] = []
    for (let i = 0; i < 7; i++) {
      const page = await browser.context.newPage()
      await page.goto(`${watch.url}/#/training?run=run`)
      await page.locator('[data-figure=loss] canvas').waitFor()
      paints.push(await page.evaluate('performance.getEntriesByName("first-contentful-paint")[0].startTime'))
      await page.close()
    }
    const page = await browser.context.newPage()
    await page.goto(`${watch.url}/#/training?run=run`)
    await page.locator('[data-figure=loss] canvas').waitFor()
    const debug = await browser.context.newCDPSession(page)
    const heap = async (): Promise<number> => {
      for (let i = 0; i < 3; i++) await debug.send('HeapProfiler.collectGarbage')
      return (await debug.send('Runtime.getHeapUsage')).usedSize / 2 ** 20
    }
    const found: number[] = []
    for (let step = 1000, part = 0; part < 10; part++) {
      for (let i = 0; i < rows / 10; i += 400, step += 400) {
        await appendFile(join(folder, 'run/metrics.jsonl'), Array.from({ length: 400 }, (_, k) => metricsLine(step + k, 5 * Math.exp(-step / 1e5))).join(''))
        await new Promise(resolve => setTimeout(resolve, 250))
      }
      found.push(await heap())
      say(`${rows / 10 * (part + 1)} steps came to a tab: ${(found.at(-1) ?? NaN).toFixed(2)} MiB`)
    }
    // It goes up and down: what came is kept one by one until it is many, and then asked for anew as spans.
    const [first = NaN, last = NaN] = [found[0], found.at(-1)]
    return [
      row('first paint', median(paints), 'ms', 300), row(`heap of a tab after ${rows / 10} steps that came`, first, 'MiB'), row(`after ${rows}`, last, 'MiB'), row('most of the second half by most of the first', Math.max(...found.slice(5)) / Math.max(...found.slice(0, 5)), '', 1.1),
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** How soon a plan answers, once its thread has begun. */
async function plans(): Promise<readonly Row[]> {
  const thread = new PlanThread()
  try {
    const found: Row[] = []
    for (const [recipe, goal] of [['gpt-tiny', 200], ['gpt-1t', 2000]] as const) {
      for (const [machine, words] of [[null, ''], ['8xh100', ', with its time on a machine']] as const) {
        const [times, cpu]: [number[], number[]] = [[], []]
        // The first is traced; those after it are asked with a rule and without it, as a what-if asks.
        for (let i = 0; i < asks; i++) {
          const [began, used] = [performance.now(), process.cpuUsage()]
          const answer = await thread.plan({ from: { recipe }, flags: i % 2 === 0 ? {} : { params: 'embed=batch' }, machine }, new AbortController().signal)
          if (!('plan' in answer)) throw new Error(`a plan of ${recipe}: ${JSON.stringify(answer)}`)
          const { user, system } = process.cpuUsage(used)
          times.push(performance.now() - began)
          cpu.push((user + system) / 1000)
        }
        const counted = (list: readonly number[], odd: number): number => median(list.slice(first).filter((_, i) => (first + i) % 2 === odd))
        for (const [odd, how] of [[0, ''], [1, ', with FSDP']] as const) found.push(row(`a plan of ${recipe}${how}${words}`, counted(times, odd), 'ms', goal), row('CPU time of it, that of collecting garbage included', counted(cpu, odd), 'ms'))
      }
    }
    return found
  } finally {
    await thread.close()
  }
}

export async function pageSection(rounds: number, say: Say): Promise<Section> {
  await using browser = await openBrowser()
  const { cpu, wall } = wanted('run') ? await beside(rounds, browser, say) : { cpu: new Map<string, number[]>(), wall: new Map<string, number[]>() }
  const sides = [...cpu.keys()].slice(1)
  return {
    name: 'the page', notes: [`gpt-tiny on two devices of the CPU, ${steps} steps a block, ${rounds} blocks a side by turns; CPU time is the run's process with the thread of the page; a browser takes its own from the same cores`, ...browser === undefined ? [noBrowser] : []],
    rows: [
      ...cpu.size === 0 ? [] : [row('CPU time of a step, nobody looks', median(cpu.get('nobody') ?? []), 'ms')],
      ...sides.flatMap(s => [row(`CPU time, ${s}, by nobody's`, ratio(cpu, s, 'nobody'), '', 1.01), row(`time, ${s}, by nobody's`, ratio(wall, s, 'nobody'), '', ...s === 'two who read' ? [1.01] as const : [])]),
      ...wanted('plans') ? await plans() : [], ...browser === undefined || !wanted('tab') ? [] : await long(browser, say),
    ],
  }
}
