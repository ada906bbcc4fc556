/** Plans on the page, in a browser: the mesh, the program and what-ifs say what `meshwork plan` says, of a run that trains and of recipes on many devices. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import gptTiny from '../../recipes/gpt-tiny.ts'
import { applyFlags, type RunFlags } from '../../src/cli/overrides.ts'
import { formatBytes, formatInteger, formatMs } from '../../src/core/quantities.ts'
import { knownMachine } from '../../src/machine/read.ts'
import { forecast } from '../../src/train/forecast.ts'
import { textData } from '../../src/data/index.ts'
import { gptModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun, planRun, type Run, type RunPlan } from '../../src/train/index.ts'
import { text } from '../cli/support.ts'
import { all } from '../support/depth.ts'
import { trained } from '../train/tiny.ts'
import { openBrowser, type Browser } from './support.ts'
import { cellsOf, checked, faultsOf, openLive, openWatch, temporary, type Folder, type Live, type Watch } from './watching.ts'

let browser: Browser | undefined
let [folder, watch, live] = [undefined as Folder | undefined, undefined as Watch | undefined, undefined as Live | undefined]
let run: Run

beforeAll(async () => {
  browser = await openBrowser()
  if (browser === undefined) return
  folder = await temporary()
  await writeFile(join(folder.path, 'text.txt'), text)
  run = defineRun({
    name: 'live', batch: 4, steps: 1000, model: gptModel({ vocab: 300, seq: 16, layers: 2, embed: 16, heads: 2, headDim: 8, hidden: 32 }), data: textData({ files: [join(folder.path, 'text.txt')] }),
    optimizer: adamwCosine({ rate: 1e-3 }), mesh: { batch: 2, model: 2 }, layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' },
  })
  process.env['MESHWORK_CACHE_DIR'] = join(folder.path, 'cache')
  live = await openLive(run, join(folder.path, 'runs', 'live'))
  await live.let(1)
  const short = { ...run, steps: 4 }
  await trained({ ...short, name: 'over' }, { out: join(folder.path, 'runs', 'over') })
  if (all) await trained({ ...short, name: 'diverged', optimizer: adamwCosine({ rate: 1e38 }) }, { out: join(folder.path, 'runs', 'diverged') }).catch(() => undefined)
  watch = await openWatch(join(folder.path, 'runs'))
})
afterAll(async () => {
  await watch?.[Symbol.asyncDispose]()
  await live?.[Symbol.asyncDispose]()
  await browser?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

const test = (name: string, body: (page: Page) => Promise<void>): void => { checked(name, () => browser, () => watch?.url ?? '', body) }
const go = (page: Page, hash: string): Promise<unknown> => page.evaluate(`location.hash = ${JSON.stringify(hash)}`)
const figure = (page: Page, name: string) => page.locator(`.figure[data-figure="${name}"]`)
/** The rows of a picture's table, cell by cell. */
async function rowsOf(page: Page, name: string): Promise<string[][]> {
  const details = figure(page, name).locator('details')
  await details.waitFor()
  if (await details.getAttribute('open') === null) await details.locator('summary').click()
  await details.locator('table').waitFor()
  return cellsOf(details.locator('tbody tr'))
}
const planned = (of: Run, flags: RunFlags = {}): RunPlan => planRun(applyFlags(of, flags)).plan
const sent = (plan: RunPlan): number => plan.collectives.reduce((n, c) => n + c.bytes * c.count, 0)

/** What a view shows once what it waits for is there. */
const there: Readonly<Record<string, string>> = { runs: '[data-run]', training: '[data-figure=loss] canvas', mesh: '[data-figure=mesh] svg [data-device="3"]', program: '[data-figure=program] svg', 'what-if': '.answer-of[data-answered]' }
// Of one that diverged test/page/watch.test.ts tells more.
for (const state of all ? ['finished', 'diverged'] as const : ['finished'] as const) {
  test(`every view of a run that is ${state} is there, without a fault`, async page => {
    const id = state === 'finished' ? 'over' : 'diverged'
    await page.locator(`[data-run="${id}"] [data-column=state]`, { hasText: state }).waitFor()
    for (const [view, shown] of Object.entries(there)) {
      await go(page, `#/${view}?run=${id}`)
      await page.locator(`main[data-view="${view}"] ${shown}`).first().waitFor()
      expect([view, await faultsOf(page)]).toEqual([view, []])
    }
  })
}

describe('the mesh', () => {
  test('of a run that trains: what each device holds, and which part of a tensor lies where', async page => {
    await go(page, '#/mesh?run=live')
    await figure(page, 'mesh').locator('svg [data-device="3"]').waitFor()
    const { perDevice } = planned(run)
    expect(await rowsOf(page, 'mesh')).toEqual([0, 1, 2, 3].map(d => [String(d), `batch ${Math.floor(d / 2)}, model ${d % 2}`, ...[perDevice.parameterBytes, perDevice.stateBytes, perDevice.activationBytes, perDevice.peakBytes].map(formatBytes)]))
    // By the keyboard: a tensor is shown while it has the focus, and stays when it is pressed.
    const button = page.getByRole('button', { name: 'params.blocks.up', exact: true })
    await button.focus()
    await page.getByRole('heading', { name: 'Which part of params.blocks.up lies where' }).waitFor()
    await page.keyboard.press('Enter')
    expect(await page.evaluate('location.hash')).toContain('tensor=params.blocks.up')
    expect((await rowsOf(page, 'mesh')).map(r => r[2])).toEqual(['hidden 0–15', 'hidden 16–31', 'hidden 0–15', 'hidden 16–31'])
    expect(await figure(page, 'mesh').locator('.why').innerText()).toContain('hidden on model, as “compute” says')
    const fills = await Promise.all((await figure(page, 'mesh').locator('[data-device] rect[fill]').all()).map(e => e.getAttribute('fill')))
    expect([fills[0] === fills[2], fills[1] === fills[3], fills[0] === fills[1]]).toEqual([true, true, false])
    await page.getByLabel('Device', { exact: true }).fill('3')
    const held = page.getByRole('region', { name: 'What device 3 holds' })
    await held.waitFor()
    expect(await held.locator('tbody tr').count()).toBe(planRun(run).tensors.length)
    expect(await held.locator('tr', { hasText: 'params.blocks.query' }).first().innerText()).toMatch(/heads 1\b/)
    expect(await page.getByLabel('Device 3', { exact: true }).innerText()).toContain('batch 1, model 1')
  })

  test('of 64 devices in three axes, and of 16,384, of which some are drawn', async page => {
    await go(page, `#/mesh?recipe=gpt-tiny&flags=${encodeURIComponent(JSON.stringify({ mesh: 'batch=8,model=4,spare=2' }))}`)
    await figure(page, 'mesh').locator('svg [data-device="63"]').waitFor()
    expect(await figure(page, 'mesh').locator('svg [data-device]').count()).toBe(64)
    expect(await rowsOf(page, 'mesh')).toHaveLength(64)
    await go(page, `#/mesh?recipe=gpt-1t&tensor=params.blocks.up&flags=${encodeURIComponent(JSON.stringify({ mesh: 'batch=256,model=16,stage=4', set: ['batch=16384'] }))}`)
    await figure(page, 'mesh').locator('svg [data-device="16383"]').waitFor()
    expect(await figure(page, 'mesh').locator('svg').first().textContent()).toContain('of 16,384 devices are drawn')
    expect((await rowsOf(page, 'mesh')).at(-1)?.join(' ')).toContain(`and ${formatInteger(16384 - 256)} more`)
  })
})

describe('the program', () => {
  test('of a run that trains: every collective with its bytes, found by tensor and by op, folded and not', async page => {
    await go(page, '#/program?run=live')
    await figure(page, 'program').locator('svg').waitFor()
    const plan = planned(run)
    const rows = await rowsOf(page, 'program')
    expect(rows.reduce((n, r) => n + Number(r[4]?.replaceAll(',', '')), 0)).toBe(plan.collectives.reduce((n, c) => n + c.count, 0))
    const kinds = (all: readonly (readonly [string, number])[]): object => all.reduce<Record<string, number>>((sums, [key, n]) => ({ ...sums, [key]: (sums[key] ?? 0) + n }), {})
    expect(kinds(rows.map(r => [`${r[1]} ${r[2]} ${r[3]} ${r[6]}`, Number(r[4])]))).toEqual(kinds(plan.collectives.map(c => [`${c.kind} ${c.axes.join(', ')} ${formatBytes(c.bytes)} ${c.at ?? ''}`, c.count])))
    // The line itself stands beside its place.
    await page.getByRole('button', { name: 'Open all loops' }).click()
    expect(await page.locator('.outline .source', { hasText: 'src/models/gpt.ts:' }).first().innerText()).toMatch(/gpt\.ts:\d+ {2}\S/)
    expect(await page.locator('.outline .lane').count()).toBe(3)
    await page.getByLabel('Find').fill('blocks.up')
    await page.locator('.outline [data-found=true]').first().waitFor()
    expect(await page.locator('.outline .sends:visible', { hasText: 'all-reduce' }).count()).toBeGreaterThan(0)
    expect(await page.locator('.outline').innerText()).not.toContain('next-token.ts:40')
    await page.getByLabel('Find').fill('')
    // What is pressed in the picture is opened in the list.
    await page.getByRole('button', { name: 'Fold all' }).click()
    await figure(page, 'program').locator('svg [data-id]', { hasText: '2 × over layers' }).first().click()
    await page.locator('.outline details[open]', { hasText: '2 × over layers' }).first().waitFor()
  })

  test('memory over the step: at the peak its owners are those of the plan, elsewhere others', async page => {
    await go(page, '#/program?run=live')
    const { memory: { largest } } = planRun(run)
    // An owner is what one op makes of one type: a loop's results are of several.
    const owned = new Map<unknown, Map<string, number>>()
    for (const { node, type, bytes } of largest) {
      const byType = owned.get(node) ?? new Map<string, number>()
      byType.set(JSON.stringify(type), (byType.get(JSON.stringify(type)) ?? 0) + bytes)
      owned.set(node, byType)
    }
    const rows = await rowsOf(page, 'memory')
    expect(rows.map(r => r[3])[0]).toBe(formatBytes(Math.max(...[...owned.values()].flatMap(byType => [...byType.values()]))))
    const slider = page.getByLabel('Moment')
    await slider.focus()
    await page.keyboard.press('Home')
    await page.getByRole('columnheader', { name: 'At moment 0' }).waitFor()
    await page.getByRole('button', { name: 'The peak' }).click()
    expect(await rowsOf(page, 'memory')).toEqual(rows)
  })
})

/** What the view says the other plan is, number by number. */
async function answered(page: Page, flags: object): Promise<{ readonly [name: string]: number }> {
  await page.locator(`.answer-of[data-answered='${JSON.stringify(flags)}']`).waitFor()
  return Object.fromEntries(await Promise.all((await page.getByLabel('Figures').locator('tr[data-figure]').all()).map(async row => [await row.getAttribute('data-figure') ?? '', Number(await row.locator('[data-value]').getAttribute('data-value'))])))
}
const figuresOf = (plan: RunPlan): object => ({
  'devices': plan.devices, 'parameters': plan.perDevice.parameterBytes, 'optimizer and step': plan.perDevice.stateBytes, 'activations, gradients': plan.perDevice.activationBytes, 'memory at the peak': plan.perDevice.peakBytes,
  'operations': plan.perDevice.flops, 'collectives': plan.collectives.reduce((n, c) => n + c.count, 0), 'bytes in them': sent(plan),
})

describe('what if', () => {
  test('a dim is dragged onto an axis, by pointer and by keyboard, and the plan is that of the line', async page => {
    await go(page, '#/what-if?recipe=gpt-tiny')
    expect(await answered(page, {})).toMatchObject(figuresOf(planned(gptTiny)))
    await page.getByRole('button', { name: /^embed / }).dragTo(page.locator('[data-zone="params batch"]'))
    expect(await answered(page, { params: 'embed=batch' })).toMatchObject(figuresOf(planned(gptTiny, { params: 'embed=batch' })))
    expect(await page.locator('.line-to-copy code').innerText()).toBe('npx meshwork plan gpt-tiny --params embed=batch')
    await page.getByRole('button', { name: 'As it is' }).click()
    await answered(page, {})
    await page.getByRole('button', { name: /^embed / }).focus()
    await page.keyboard.press('Enter')
    const zone = page.locator('[data-zone="state batch"]')
    await zone.getByRole('button', { name: 'Lay embed on batch' }).focus()
    await page.keyboard.press('Enter')
    expect(await answered(page, { state: 'embed=batch' })).toMatchObject(figuresOf(planned(gptTiny, { state: 'embed=batch' })))
    // Taken off again it is as it was.
    await zone.getByRole('button', { name: 'take embed off batch in state' }).click()
    expect(await answered(page, {})).toMatchObject(figuresOf(planned(gptTiny)))
  })

  test('FSDP is switched on, the mesh and the batch are changed: of a run that trains', async page => {
    await go(page, '#/what-if?run=live')
    await answered(page, {})
    await page.getByLabel('FSDP: parameters in parts', { exact: true }).check()
    expect(await answered(page, { params: 'embed=batch' })).toMatchObject(figuresOf(planned(run, { params: 'embed=batch' })))
    await page.getByRole('button', { name: 'twice as many along batch' }).click()
    const flags = { mesh: 'batch=4,model=2', params: 'embed=batch' }
    expect(await answered(page, flags)).toMatchObject(figuresOf(planned(run, flags)))
    await page.getByLabel('Batch', { exact: true }).fill('8')
    await page.getByLabel('Batch', { exact: true }).blur()
    expect(await answered(page, { ...flags, set: ['batch=8'] })).toMatchObject(figuresOf(planned(run, { ...flags, set: ['batch=8'] })))
    await page.getByRole('link', { name: 'Look at its mesh' }).click()
    await figure(page, 'mesh').locator('svg [data-device="7"]').waitFor()
  })

  test('what cannot be is said where the dim was dropped, and goes when it is taken away', async page => {
    await go(page, '#/what-if?recipe=gpt-tiny')
    await answered(page, {})
    const zone = page.locator('[data-zone="compute batch"]')
    await page.getByRole('button', { name: /^seq / }).dragTo(zone)
    await zone.getByRole('alert').waitFor()
    expect(await zone.getByRole('alert').innerText()).toContain('two dims lie on mesh axis "batch"')
    expect(await page.getByRole('alert').count()).toBe(1)
    await zone.getByRole('button', { name: 'take seq off batch in compute' }).click()
    await answered(page, {})
    expect(await page.getByRole('alert').count()).toBe(0)
    await page.getByLabel('Size of axis batch').fill('3')
    await page.getByLabel('Size of axis batch').blur()
    await page.getByLabel('Mesh and numbers').getByRole('alert').waitFor()
    expect(await page.getByRole('alert').innerText()).toContain('cannot be cut into 3 equal parts')
  })

  test('a machine is chosen: the step\'s time is that of `meshwork plan --machine`, beside memory and on each collective, and the line says so', async page => {
    const of = (flags: RunFlags): number => { const changed = applyFlags(run, flags); return forecast(changed, planRun(changed), knownMachine('8xh100')).predicted.stepMs }
    await go(page, '#/what-if?run=live')
    // Nothing was measured here: there is no time unless a machine is chosen.
    expect(await answered(page, {})).not.toHaveProperty('step')
    await page.getByLabel('Machine', { exact: true }).selectOption('8xh100')
    await page.locator('tr[data-figure=step]').first().waitFor()
    expect((await answered(page, {}))['step']).toBe(of({}))
    await page.getByRole('button', { name: 'twice as many along batch' }).click()
    const flags = { mesh: 'batch=4,model=2' }
    expect((await answered(page, flags))['step']).toBe(of(flags))
    expect(await page.locator('.line-to-copy code').innerText()).toMatch(/^npx meshwork plan \S+ --mesh batch=4,model=2 --machine 8xh100$/)
    await page.getByRole('link', { name: 'and its program' }).click()
    const changed = applyFlags(run, flags)
    const { time } = forecast(changed, planRun(changed), knownMachine('8xh100'))
    await figure(page, 'timeline').locator('svg').waitFor()
    expect(await figure(page, 'timeline').locator('svg').first().innerHTML()).toContain(`8 devices of 8xh100: a step takes ${formatMs(time.stepMs)}`)
    expect((await rowsOf(page, 'timeline')).map(r => [r[0], r[3]])).toEqual(time.parts.map(p => [p.what, formatMs(p.ms)]))
    await page.getByRole('button', { name: 'Open all loops' }).click()
    expect(await page.locator('.outline .sends .figures').first().innerText()).toMatch(/, [\d.]+ (µs|ms)$/)
  })

  test('what was measured here is meant where no machine is chosen; what it cannot say is said, and the plan stays', async page => {
    const { links: { within }, ...machine } = knownMachine('8xh100')
    const kept = join(folder?.path ?? '', 'cache/machines/here.json')
    await mkdir(dirname(kept), { recursive: true })
    await writeFile(kept, JSON.stringify({ ...machine, name: 'here', links: { within, between: null } }))
    try {
      await go(page, '#/what-if?recipe=gpt-tiny')
      await page.locator('tr[data-figure=step]').first().waitFor()
      expect((await answered(page, {}))['step']).toBe(forecast(gptTiny, planRun(gptTiny), knownMachine('8xh100')).predicted.stepMs)
      expect(await page.locator('.line-to-copy code').innerText()).toBe('npx meshwork plan gpt-tiny --machine here')
      await page.getByLabel('Machine', { exact: true }).selectOption('none')
      await page.locator('tr[data-figure=step]').first().waitFor({ state: 'detached' })
      await go(page, `#/program?recipe=gpt-tiny&machine=here&flags=${encodeURIComponent(JSON.stringify({ mesh: 'batch=8,model=2' }))}`)
      await page.getByRole('status').filter({ hasText: 'here' }).waitFor()
      expect(await figure(page, 'program').locator('svg').count()).toBe(1)
      expect(await figure(page, 'timeline').count()).toBe(0)
    } finally {
      await rm(kept)
    }
  })

  test('fits a phone, in the dark', async page => {
    await page.setViewportSize({ width: 390, height: 800 })
    await page.emulateMedia({ colorScheme: 'dark' })
    for (const view of ['mesh', 'program', 'what-if']) {
      await go(page, `#/${view}?recipe=gpt-tiny&machine=8xh100`)
      await figure(page, view).locator('svg').first().waitFor()
      for (const width of [390, 1280]) {
        await page.setViewportSize({ width, height: 800 })
        if (view === 'program') await page.locator('.outline .figures').first().waitFor()
        // Neither the page nor what scrolls in it is wider than there is room.
        expect([view, width, await page.evaluate('[document.documentElement, document.querySelector(".view")].map(e => e.scrollWidth <= e.clientWidth)')]).toEqual([view, width, [true, true]])
        expect(await page.evaluate('[...document.querySelectorAll(".outline .figures")].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth).length')).toBe(0)
      }
    }
  })
})
