/** The page of runs in a browser: a run that trains, one that is over, one that diverged, many at once, and those who would do harm. */
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test as declared } from 'vitest'
import type { Run } from '../../src/train/index.ts'
import { tiny, tinyData, trained } from '../train/tiny.ts'
import { noBrowser, openBrowser, type Browser } from './support.ts'
import { cellsOf, checked, faultsOf, metricsOf, openLive, openPage, openWatch, temporary, writeRun, type Folder, type Watch } from './watching.ts'

let browser: Browser | undefined
let folder: Folder
let watch: Watch
const long: Run = { ...tiny, steps: 100_000, mesh: { batch: 2, model: 2 }, checkpoint: { ...tiny.checkpoint, every: 50 }, evaluation: { ...tiny.evaluation, every: 7 } }
const markup = '<img src=x onerror="document.title=\'taken\'"><b>bold</b>'

beforeAll(async () => {
  browser = await openBrowser()
  if (browser === undefined) return
  folder = await temporary()
  const at = (name: string): string => join(folder.path, name)
  await trained({ ...tiny, mesh: { batch: 2, model: 2 } }, { out: at('over') })
  await trained({ ...tiny, name: 'bad', data: tinyData([{ step: 12, value: NaN }]) }, { out: at('bad') }).catch(() => undefined)
  await trained({ ...tiny, name: 'skips', data: tinyData([{ step: 12, value: NaN }]), guard: { ...tiny.guard, policy: 'skip' } }, { out: at('skips') })
  await writeRun(at('harm'), { name: markup, steps: 30, run: { note: markup }, journal: [{ at: 1, type: 'sample', step: 30, prompt: markup, text: `${markup}</p><script>document.title='taken'</script>` }] })
  await writeRun(at(markup.replaceAll('/', '')), { steps: 5 })
  watch = await openWatch(folder.path)
})
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]()
  await (watch as Watch | undefined)?.[Symbol.asyncDispose]()
  await (folder as Folder | undefined)?.[Symbol.asyncDispose]()
})

const test = (name: string, run: (page: Page) => Promise<void>): void => { checked(name, () => browser, () => watch.url, run) }
const go = (page: Page, hash: string): Promise<unknown> => page.evaluate(`location.hash = ${JSON.stringify(hash)}`)
const figure = (page: Page, name: string) => page.locator(`[data-figure="${name}"]`)
/** The rows of a picture's table: what each column has, by its heading. */
async function tableOf(page: Page, name: string): Promise<Record<string, string>[]> {
  const details = figure(page, name).locator('details')
  await details.waitFor()
  if (await details.getAttribute('open') === null) await details.locator('summary').click()
  await details.locator('table').waitFor()
  const heads = await details.locator('thead th').allTextContents()
  return (await cellsOf(details.locator('tbody tr'))).map(cells => Object.fromEntries(cells.map((text, i) => [heads[i] ?? '', text])))
}
const shown = (x: number): string => String(Number(x.toPrecision(6)))

test('a run that is over: every number of its curves is that of metrics.jsonl', async page => {
  await go(page, '#/training?run=over')
  await figure(page, 'loss').locator('canvas').waitFor()
  const { steps, evaluations } = await metricsOf(join(folder.path, 'over'))
  expect(steps).toHaveLength(20)
  const columns = { 'loss': 'loss', 'gradient-norm': 'gradNorm', 'learning-rate': 'learningRate', 'update-norm': 'updateNorm', 'parameter-norm': 'paramNorm' } as const
  for (const [name, column] of Object.entries(columns)) {
    const rows = (await tableOf(page, name)).filter(r => r['over'] !== '')
    expect([name, rows.map(r => [r['step'], r['over']])]).toEqual([name, steps.map(s => [String(s['step']), shown(s[column] ?? NaN)])])
  }
  const heldOut = (await tableOf(page, 'loss')).filter(r => r['over, held out'] !== '').map(r => [r['step'], r['over, held out']])
  expect(heldOut).toEqual(evaluations.map(e => [String(e.step), shown(e.evalLoss)]))
  expect(heldOut.length).toBeGreaterThan(1)
  // What is not there has no picture.
  expect(await figure(page, 'loss-scale').count()).toBe(0)
  const facts = await page.locator('.summary dl').innerText()
  for (const words of ['finished', '20 of 20', 'batch 2 × model 2, 4 devices', 'interpreter of StableHLO on 4 pretend devices']) expect(facts).toContain(words)
  // Other axes, and smoothing, keep what was there.
  await page.getByLabel('Along', { exact: true }).selectOption('seen')
  await figure(page, 'loss').locator('thead th', { hasText: 'examples' }).waitFor()
  expect((await tableOf(page, 'loss')).filter(r => r['over'] !== '').map(r => r['examples'])).toEqual(steps.map(s => String(s['seen'])))
  await page.getByLabel('Smoothing').fill('0.9')
  await figure(page, 'loss').locator('.key-of', { hasText: 'over' }).first().waitFor()
  await page.getByLabel('Logarithmic').check()
  expect(await page.evaluate('location.hash')).toBe('#/training?run=over&along=seen&smooth=0.9&log=yes')
})

test('a range is looked at by fields, and by a pointer', async page => {
  await go(page, '#/training?run=over')
  await figure(page, 'loss').locator('canvas').waitFor()
  await page.getByLabel('From step').fill('5')
  await page.getByLabel('From step').blur()
  await page.getByLabel('To step').fill('9')
  await page.getByLabel('To step').blur()
  await expect.poll(async () => (await tableOf(page, 'gradient-norm')).map(r => r['step'])).toEqual(['5', '6', '7', '8', '9'])
  await page.getByRole('button', { name: 'Whole run' }).click()
  await expect.poll(async () => (await tableOf(page, 'gradient-norm')).length).toBe(20)
  const box = await figure(page, 'loss').locator('.u-over').boundingBox()
  if (box === null) throw new Error('there is no plot')
  await page.mouse.move(box.x + box.width * 0.25, box.y + 20)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.75, box.y + 30, { steps: 4 })
  await page.mouse.up()
  await expect.poll(async () => (await tableOf(page, 'gradient-norm')).length).toBeLessThan(15)
})

test('runs over each other, and what sets their recipes apart', async page => {
  await page.getByLabel('Choose over').check()
  await page.getByLabel('Choose skips').check()
  await page.getByRole('button', { name: 'Compare 2' }).click()
  await figure(page, 'loss').locator('canvas').waitFor()
  const table = page.getByRole('region', { name: 'Fields that differ' })
  await table.waitFor()
  const rows = await table.locator('tbody tr').allInnerTexts()
  expect(rows.map(r => r.split('\t')[0])).toEqual(['guard.policy', 'mesh.batch', 'mesh.model', 'name'])
  const losses = await tableOf(page, 'loss')
  expect(Object.keys(losses[0] ?? {})).toEqual(['step', 'over', 'skips', 'over, held out', 'skips, held out'])
  // The bad step has no loss, and its batch's documents are named.
  expect(losses[12]?.['skips']).toBe('')
  expect(await page.getByRole('region', { name: 'Bad steps, the newest first' }).innerText()).toMatch(/12\s+skips\s+left out\s+its loss is NaN\s+rows document 96, .*rows document 103/)
})

test('a run that diverged says so, where, why, and of which documents', async page => {
  const row = page.locator('[data-run="bad"]')
  await row.waitFor()
  expect(await row.locator('[data-column=state]').innerText()).toBe('diverged')
  await row.getByRole('link').click()
  await page.locator('.summary .wrong', { hasText: 'step 13 is bad: its loss is NaN' }).waitFor()
  expect(await page.getByRole('region', { name: 'Bad steps, the newest first' }).innerText()).toMatch(/12\s+the run ended\s+its loss is NaN\s+rows document 96/)
  expect((await tableOf(page, 'loss')).at(-1)?.['bad']).toBe('')
})

test('text of runs, and their names, never become markup', async page => {
  await page.locator('.runs tbody tr').first().waitFor()
  const ids = await page.locator('.runs tbody tr').evaluateAll(rows => (rows as unknown as { dataset: { run: string } }[]).map(r => r.dataset.run))
  expect(ids).toContain(markup.replaceAll('/', ''))
  await go(page, '#/training?run=harm')
  const sample = page.locator('.sample')
  await sample.waitFor()
  expect(await sample.innerText()).toContain('<script>')
  await go(page, `#/training?${new URLSearchParams([['run', markup.replaceAll('/', '')], ['run', 'harm']]).toString()}`)
  await page.locator('.summary h2', { hasText: '<img src=x' }).waitFor()
  await page.getByRole('region', { name: 'Fields that differ' }).waitFor()
  expect(await page.locator('img, b, #page script').count()).toBe(0)
  expect(await page.title()).toBe('Training · Meshwork')
})

test('the table of runs sorts by each column, and finds', async page => {
  const ids = (): Promise<string[]> => page.locator('.runs tbody th').allInnerTexts()
  await page.getByRole('button', { name: 'Run', exact: true }).click()
  const up = await ids()
  expect(up).toEqual([...up].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })))
  await page.getByRole('button', { name: 'Run', exact: true }).click()
  expect(await ids()).toEqual([...up].reverse())
  expect(await page.locator('[aria-sort=descending]').innerText()).toContain('Run')
  await page.getByRole('button', { name: 'Loss', exact: true }).click()
  const losses = (await page.locator('[data-column=loss]').allInnerTexts()).filter(t => t !== '–').map(Number)
  expect(losses).toEqual([...losses].sort((a, b) => a - b))
  await page.getByLabel('Find').fill('diverged')
  expect(await ids()).toEqual(['bad'])
})

test('pictures are saved as SVG and as PNG', async page => {
  await go(page, '#/training?run=over')
  await figure(page, 'loss').locator('canvas').waitFor()
  const saved = async (kind: 'SVG' | 'PNG'): Promise<Buffer> => {
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: `Save Loss as ${kind}` }).click()
    const file = await download
    expect(file.suggestedFilename()).toBe(`loss.${kind.toLowerCase()}`)
    return readFile(await file.path())
  }
  const svg = (await saved('SVG')).toString()
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
  // A point a step, and one an evaluation.
  expect(svg.match(/[ML][\d.]+ [\d.]+/g)?.length).toBeGreaterThanOrEqual(20)
  expect(svg.match(/<circle/g)).toHaveLength(2)
  expect((await saved('PNG')).subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]))
})

test('it is used by the keyboard alone, and told by words', async page => {
  await go(page, '#/training?run=over')
  await figure(page, 'loss').locator('canvas').waitFor()
  const reached = new Set<string>()
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    reached.add(String(await page.evaluate('document.activeElement.getAttribute("aria-label") ?? document.activeElement.labels?.[0]?.innerText.split("\\n")[0].trim() ?? document.activeElement.textContent')))
  }
  for (const name of ['Runs', 'Training', 'Along', 'Smoothing', 'Logarithmic', 'From step', 'To step', 'Save Loss as SVG', 'Save Loss as PNG', 'As a table']) expect([...reached].map(r => r.trim())).toContain(name)
  const chart = figure(page, 'loss').getByRole('application')
  expect(await chart.getAttribute('aria-label')).toContain('Loss of over')
  await chart.focus()
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  const { steps } = await metricsOf(join(folder.path, 'over'))
  const at = (step: number): string => `step ${step}over ${shown(steps[step]?.['loss'] ?? NaN)}`
  await expect.poll(async () => (await figure(page, 'loss').locator('.reading').innerText()).replaceAll('\n', '')).toContain(at(2))
  await page.keyboard.press('End')
  await expect.poll(async () => (await figure(page, 'loss').locator('.reading').innerText()).replaceAll('\n', '')).toContain(at(19))
})

test('it fits, in light and dark, on a desk and at 360 pixels, without a fault', async page => {
  const grounds = new Set<unknown>()
  for (const [width, height] of [[1280, 800], [360, 740]] as const) {
    await page.setViewportSize({ width, height })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      for (const [view, ready] of [['#/runs', '.runs tbody tr'], ['#/training?run=over&run=skips', '[data-figure=loss] canvas']] as const) {
        await go(page, view)
        await page.locator(ready).first().waitFor()
        expect([width, view, await page.evaluate('document.documentElement.scrollWidth')]).toEqual([width, view, width])
        expect([width, colorScheme, view, await faultsOf(page)]).toEqual([width, colorScheme, view, []])
      }
      grounds.add(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor'))
    }
  }
  expect(grounds.size).toBe(2)
})

declared('a run that trains is followed in two tabs, saves, and stops, as its buttons say', async context => {
  if (browser === undefined) return context.skip(noBrowser)
  await using own = await temporary()
  await using live = await openLive(long, join(own.path, 'live'))
  await live.let(10)
  await using here = await openWatch(own.path)
  const tabs = [await openPage(browser, `${here.url}/#/training`), await openPage(browser, `${here.url}/#/training?run=live`)]
  const follows = async (count: number): Promise<void> => {
    for (const { page } of tabs) {
      await expect.poll(async () => (await tableOf(page, 'loss')).filter(r => r['live'] !== '').length).toBe(count)
      const { steps, evaluations } = await metricsOf(live.folder)
      const rows = await tableOf(page, 'loss')
      expect(rows.filter(r => r['live'] !== '').map(r => [r['step'], r['live']])).toEqual(steps.map(s => [String(s['step']), shown(s['loss'] ?? NaN)]))
      expect(rows.filter(r => r['live, held out'] !== '').map(r => [r['step'], r['live, held out']])).toEqual(evaluations.map(e => [String(e.step), shown(e.evalLoss)]))
    }
  }
  await follows(10)
  await live.let(15)
  await follows(25)
  const [one] = tabs
  if (one === undefined) throw new Error('there is no tab')
  expect(await one.page.locator('.buttons code').allTextContents()).toEqual([`npx meshwork checkpoint save ${live.folder}`, `npx meshwork stop ${live.folder}`])
  await one.page.getByRole('button', { name: 'Save a checkpoint now' }).click()
  await one.page.getByText('a checkpoint is saved behind this step').waitFor()
  // The wish is heard by a timer, between steps.
  while (!(await readFile(join(live.folder, 'journal.jsonl'), 'utf8')).includes('"type":"checkpoint"')) {
    await live.let(1)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  for (const { page } of tabs) await page.getByRole('region', { name: 'The newest first' }).getByText('checkpoint: ').first().waitFor()
  // Texts come as they are made, and are text.
  await appendFile(join(live.folder, 'journal.jsonl'), `${JSON.stringify({ at: Date.now(), type: 'sample', step: 25, prompt: '<b>As', text: ' it is made' })}\n`)
  for (const { page } of tabs) await page.locator('.sample', { hasText: '<b>As it is made' }).waitFor()
  await one.page.getByRole('button', { name: 'Stop after this step' }).click()
  await live.let(1_000_000)
  const result = await live.done
  expect([result.stopped, result.steps < result.planned]).toEqual([true, true])
  for (const { page } of tabs) await page.locator('.summary .state', { hasText: 'stopped' }).waitFor()
  await follows((await metricsOf(live.folder)).steps.length)
  for (const { page, wrong } of tabs) {
    expect(await faultsOf(page)).toEqual([])
    expect(wrong).toEqual([])
    await page.close()
  }
})

declared('a page whose server goes away finds it again, and goes on where it was', async context => {
  if (browser === undefined) return context.skip(noBrowser)
  await using own = await temporary()
  await using live = await openLive(long, join(own.path, 'live'))
  await live.let(5)
  const first = await openWatch(own.path)
  const { page } = await openPage(browser, `${first.url}/#/training`)
  await expect.poll(async () => (await tableOf(page, 'gradient-norm')).length).toBe(5)
  const port = Number(new URL(first.url).port)
  await first[Symbol.asyncDispose]()
  await page.locator('.pulse', { hasText: 'not reached' }).waitFor()
  await live.let(6)
  await using _ = await openWatch(own.path, { port })
  await expect.poll(async () => (await tableOf(page, 'gradient-norm')).map(r => r['step'])).toEqual(Array.from({ length: 11 }, (__, i) => String(i)))
  await page.close()
})

declared('where a token is wanted the page asks for it, and takes it from its address', async context => {
  if (browser === undefined) return context.skip(noBrowser)
  await using locked = await openWatch(folder.path, { token: 'a secret word' })
  const page = await browser.context.newPage()
  await page.goto(locked.url)
  await page.getByLabel('Token').fill('another word')
  await page.keyboard.press('Enter')
  await page.getByText('does not know this token').waitFor()
  await page.getByLabel('Token').fill('a secret word')
  await page.keyboard.press('Enter')
  await page.locator('[data-run="over"]').waitFor()
  await page.close()
  const other = await browser.context.newPage()
  await other.goto(`${locked.url}/#token=${encodeURIComponent('a secret word')}`)
  await other.locator('[data-run="over"]').waitFor()
  expect(await other.evaluate('location.href')).not.toContain('secret')
  await other.close()
})

declared('a hundred runs, and one of a hundred thousand steps, stay in bounds', async context => {
  if (browser === undefined) return context.skip(noBrowser)
  await using own = await temporary()
  for (let i = 0; i < 100; i++) await writeRun(join(own.path, `sweep-${i}`), { steps: 20 })
  await mkdir(join(own.path, 'long'))
  await writeRun(join(own.path, 'long'), { steps: 100_000 })
  await using here = await openWatch(own.path)
  const { page, wrong } = await openPage(browser, `${here.url}/#/runs`)
  await expect.poll(() => page.locator('.runs tbody tr').count()).toBe(101)
  const answer = page.waitForResponse(r => r.url().includes('api/series'))
  await page.locator('[data-run="long"] a').click()
  const series = await (await answer).json() as { rows: number; span: number; step: number[]; values: { loss: number[] } }
  expect([series.rows, series.step[0], series.step.at(-1)]).toEqual([100_000, 0, 99_999])
  expect(series.step.length).toBeLessThanOrEqual(2000)
  // The least and the greatest of every span are there: so are those of all.
  const { steps } = await metricsOf(join(own.path, 'long'))
  const losses = steps.map(s => s['loss'] ?? NaN)
  expect(Math.min(...series.values.loss)).toBe(losses.reduce((a, b) => Math.min(a, b)))
  expect(Math.max(...series.values.loss)).toBe(losses.reduce((a, b) => Math.max(a, b)))
  await figure(page, 'loss').locator('canvas').waitFor()
  // A closer look reads the rows again, each of them.
  await page.getByLabel('From step').fill('50000')
  await page.getByLabel('From step').blur()
  await page.getByLabel('To step').fill('50049')
  await page.getByLabel('To step').blur()
  await expect.poll(async () => (await tableOf(page, 'gradient-norm')).map(r => [r['step'], r['long']])).toEqual(steps.slice(50_000, 50_050).map(s => [Number(s['step']).toLocaleString('en'), shown(s['gradNorm'] ?? NaN)]))
  expect(wrong).toEqual([])
  await page.close()
})
