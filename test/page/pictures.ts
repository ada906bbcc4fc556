/** Writes the pictures of docs/page.md: `npx tsx test/page/pictures.ts`. The runs are real ones, small. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { trained, tiny, tinyData, tinyOptimizer } from '../train/tiny.ts'
import { openBrowser } from './support.ts'
import { openWatch, temporary } from './watching.ts'

const folder = fileURLToPath(new URL('../../docs/page/', import.meta.url))
await mkdir(folder, { recursive: true })
await using browser = await openBrowser()
if (browser === undefined) throw new Error('there is no Chromium on the PATH')
await using runs = await temporary()
const steps = 400
for (const rate of [0.003, 0.01, 0.03]) await trained({ ...tiny, name: `rate-${rate}`, optimizer: tinyOptimizer(rate), mesh: { batch: 2, model: 2 }, steps, evaluation: { every: 40, batches: 2 }, checkpoint: { ...tiny.checkpoint, every: 100 } }, { out: join(runs.path, `rate-${rate}`) })
await trained({ ...tiny, name: 'rate-1', optimizer: tinyOptimizer(1), data: tinyData([{ step: 130, value: NaN }]), steps }, { out: join(runs.path, 'rate-1') }).catch(() => undefined)
await using watch = await openWatch(runs.path)
const page = await browser.context.newPage()
await page.setViewportSize({ width: 1280, height: 420 })
await page.goto(`${watch.url}/#/runs?sort=evalLoss&order=up&run=rate-0.01&run=rate-0.03`)
await page.locator('[data-run]').first().waitFor()
await page.screenshot({ path: join(folder, 'runs.png') })
const shown = async (query: string): Promise<void> => {
  await page.goto('about:blank')
  await page.goto(`${watch.url}/#/training?${query}`)
  await page.locator('[data-figure=loss] canvas').waitFor()
  await page.evaluate('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))')
}
await page.setViewportSize({ width: 1280, height: 960 })
await shown('run=rate-0.003&run=rate-0.03&smooth=0.8')
await page.screenshot({ path: join(folder, 'training.png') })
/** A view of a plan, once what it waits for is there. */
const viewed = async (hash: string, height: number, there: string): Promise<void> => {
  await page.setViewportSize({ width: 1280, height })
  await page.goto('about:blank')
  await page.goto(`${watch.url}/${hash}`)
  await page.locator(there).first().waitFor()
}
const flags = encodeURIComponent(JSON.stringify({ mesh: 'batch=4,model=2' }))
await viewed(`#/mesh?recipe=gpt-tiny&flags=${flags}&tensor=params.blocks.up`, 960, '[data-figure=mesh] svg [data-device="7"]')
await page.screenshot({ path: join(folder, 'mesh.png') })
await viewed(`#/program?recipe=gpt-tiny&flags=${flags}&machine=8xh100`, 1040, '[data-figure=timeline] svg')
await page.screenshot({ path: join(folder, 'program.png') })
await viewed('#/what-if?recipe=gpt-tiny&machine=8xh100', 1180, '.answer-of[data-answered]')
await page.getByLabel('FSDP: parameters in parts', { exact: true }).check()
await page.getByRole('button', { name: 'twice as many along batch' }).click()
await page.locator('.answer-of[data-answered*=embed][data-busy=false]').waitFor()
await page.screenshot({ path: join(folder, 'what-if.png') })
await page.setViewportSize({ width: 360, height: 740 })
await page.emulateMedia({ colorScheme: 'dark' })
await shown('run=rate-0.03&smooth=0.8')
await page.locator('[data-figure=loss]').scrollIntoViewIfNeeded()
await page.screenshot({ path: join(folder, 'phone.png') })
await page.close()
