/** The page in a browser: what is typed is answered, stopped, answered again, edited; tokens tell their probabilities; it fits where it is shown. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test as declared, type TestContext } from 'vitest'
import { noBrowser, openBrowser, openSite, type Browser, type Site } from './support.ts'

let browser: Browser | undefined
let site: Site
beforeAll(async () => {
  browser = await openBrowser()
  if (browser !== undefined) site = await openSite()
})
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]()
  await (site as Site | undefined)?.[Symbol.asyncDispose]()
})

/** What went wrong in the page, and what it asked others for. */
const wrong: string[] = []
function test(name: string, run: (page: Page, context: TestContext) => Promise<void>, url: () => string = () => site.server.url): void {
  declared(name, async context => {
    if (browser === undefined) return context.skip(noBrowser)
    const page = await browser.context.newPage()
    wrong.length = 0
    // Each begins with nothing kept; what a tab keeps is its own.
    await page.addInitScript('if (sessionStorage.getItem("begun") === null) { localStorage.clear(); sessionStorage.setItem("begun", "yes") }')
    page.on('pageerror', e => { wrong.push(e.message) })
    page.on('console', m => { if (m.type() === 'error' || m.type() === 'warning') wrong.push(m.text()) })
    page.on('request', r => { if (!r.url().startsWith(url()) && !r.url().startsWith('blob:')) wrong.push(r.url()) })
    try {
      await page.goto(url())
      site.gate.let(Infinity)
      await run(page, context)
      expect(wrong).toEqual([])
    } finally {
      await page.close()
    }
  })
}

const field = (page: Page) => page.locator('.composer textarea')
const answers = (page: Page) => page.locator('.answer .text')
const textOf = async (page: Page, i = 0): Promise<string> => (await answers(page).nth(i).locator('[data-i]:not(.end)').allTextContents()).join('')
async function say(page: Page, text: string): Promise<void> {
  await field(page).fill(text)
  await field(page).press('Enter')
}
const over = (page: Page) => page.locator('.composer button', { hasText: /^(Send|Go on)$/ }).waitFor()
const setMaxTokens = async (page: Page, n: number): Promise<void> => { await page.getByLabel('Max tokens').fill(String(n)); await page.getByLabel('Max tokens').blur() }

describe('the playground', () => {
  test('shows an answer as it comes, as text whatever it is', async page => {
    await setMaxTokens(page, 40)
    await page.getByLabel('Temperature').first().fill('2')
    await page.getByLabel('Seed').fill('1')
    await page.getByLabel('Seed').blur()
    site.gate.let(5)
    await say(page, 'hello <i>you</i>')
    await page.locator('[data-writing=true] [data-i="4"]').waitFor()
    expect(await page.locator('.answer [data-i]').count()).toBe(5)
    const begun = await textOf(page)
    site.gate.let(Infinity)
    await over(page)
    const whole = await textOf(page)
    expect(whole.startsWith(begun)).toBe(true)
    expect(whole).toContain('<b>')
    expect(await page.locator('.messages b, .messages i').count()).toBe(0)
    expect(await page.locator('.prompt .text').textContent()).toBe('hello <i>you</i>')
    expect(await page.locator('.about summary').textContent()).toMatch(/^40 tokens · [\d.,]+ tokens\/s · cut at its length$/)
    // A reload finds it, tokens and all.
    await page.reload()
    await answers(page).waitFor()
    expect(await textOf(page)).toBe(whole)
    await page.locator('[data-i="3"]').hover()
    await page.locator('.probabilities').waitFor()
  })

  test('stops, by the button and by Escape, which frees the slot', async page => {
    for (const how of [() => page.getByRole('button', { name: 'Stop' }).click(), () => page.keyboard.press('Escape')]) {
      await page.getByRole('button', { name: 'New' }).click()
      site.gate.let(4)
      await say(page, 'abc')
      await page.locator('[data-i="3"]').waitFor()
      await how()
      await over(page)
      expect(await textOf(page)).toHaveLength((await page.locator('.answer [data-i]').allTextContents()).join('').length)
      expect(await page.locator('.about summary').textContent()).toContain('stopped')
      while (site.answering.load().running + site.answering.load().waiting > 0) await new Promise(setImmediate)
    }
  })

  test('answers again, and keeps both answers', async page => {
    await setMaxTokens(page, 12)
    await say(page, 'abc')
    await over(page)
    const first = await textOf(page)
    await page.getByLabel('Temperature').first().fill('2')
    await page.getByLabel('Temperature').first().blur()
    await page.getByRole('button', { name: 'Regenerate' }).click()
    await page.locator('.answer .branches', { hasText: '2/2' }).waitFor()
    await over(page)
    const second = await textOf(page)
    await page.getByRole('button', { name: 'the answer before' }).click()
    expect(await textOf(page)).toBe(first)
    await page.getByRole('button', { name: 'the answer after' }).click()
    expect(await textOf(page)).toBe(second)
    // With the same seed it is the same.
    await page.getByLabel('Seed').fill('7')
    await page.getByLabel('Seed').blur()
    for (const n of [3, 4]) {
      await page.getByRole('button', { name: 'Regenerate' }).click()
      await page.locator('.answer .branches', { hasText: `${n}/${n}` }).waitFor()
      await over(page)
    }
    const fourth = await textOf(page)
    await page.getByRole('button', { name: 'the answer before' }).click()
    expect(await textOf(page)).toBe(fourth)
  })

  test('edits a prompt: the conversation goes on from there, and what was said before stays', async page => {
    await setMaxTokens(page, 6)
    await say(page, 'one')
    await over(page)
    await say(page, 'two')
    await over(page)
    const before = [await textOf(page, 0), await textOf(page, 1)]
    await page.getByRole('button', { name: 'Edit' }).first().click()
    await page.getByLabel('Edit the prompt').fill('another')
    await page.keyboard.press('Enter')
    await over(page)
    expect(await page.locator('.prompt .text').allTextContents()).toEqual(['another'])
    await page.getByRole('button', { name: 'the prompt before' }).click()
    expect(await page.locator('.prompt .text').allTextContents()).toEqual(['one', 'two'])
    expect([await textOf(page, 0), await textOf(page, 1)]).toEqual(before)
    // What is not sent changes nothing.
    await page.getByRole('button', { name: 'Edit' }).last().click()
    await page.getByLabel('Edit the prompt').fill('never')
    await page.keyboard.press('Escape')
    expect(await page.locator('.prompt .text').allTextContents()).toEqual(['one', 'two'])
  })

  test('tells the probabilities of a token to who points at it or walks to it', async page => {
    await setMaxTokens(page, 8)
    await say(page, 'abc')
    await over(page)
    const box = page.locator('.probabilities')
    const shares = async (): Promise<number[]> => (await box.locator('td.number').allTextContents()).map(t => Number(t.replace('%', '')))
    await page.locator('[data-i="2"]').hover()
    await box.waitFor()
    const found = await shares()
    expect(found.length).toBeGreaterThanOrEqual(5)
    expect(found.slice(0, 5)).toEqual([...found.slice(0, 5)].sort((a, b) => b - a))
    expect(found.reduce((a, b) => a + b)).toBeLessThanOrEqual(100.5)
    expect(await box.locator('[data-drawn=true]').count()).toBeGreaterThanOrEqual(1)
    await page.mouse.move(0, 0)
    await box.waitFor({ state: 'detached' })
    // The keys go to the same place.
    await answers(page).focus()
    for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowRight')
    expect(await shares()).toEqual(found)
    expect(await page.locator('.at').getAttribute('data-i')).toBe('2')
    await page.keyboard.press('Escape')
    await box.waitFor({ state: 'detached' })
    // And to none where they were not asked for.
    await page.getByLabel('Probabilities of tokens').uncheck()
    await page.getByRole('button', { name: 'Regenerate' }).click()
    await page.locator('.answer .branches', { hasText: '2/2' }).waitFor()
    await over(page)
    await answers(page).hover()
    expect(await box.count()).toBe(0)
  })

  test('asks two models the same, and takes the second away', async page => {
    await setMaxTokens(page, 6)
    await say(page, 'abc')
    await over(page)
    await page.getByRole('button', { name: 'Compare' }).click()
    expect(await page.getByLabel('Second model').inputValue()).toBe('base')
    // What makes vectors is not asked.
    expect(await page.getByLabel('Second model').locator('option').allTextContents()).toEqual(['tiny', 'base'])
    await say(page, 'def')
    await over(page)
    expect(await page.locator('.prompt .text').allTextContents()).toEqual(['abc', 'def'])
    expect(await page.locator('.answer .label').allTextContents()).toEqual(['tiny', 'tiny', 'tiny', 'base'])
    expect(await page.locator('.about summary').allTextContents()).toEqual([expect.not.stringContaining('step'), expect.anything(), expect.not.stringContaining('step'), expect.stringMatching(/^step 1,200 · /)])
    // An edit goes to both.
    await page.getByRole('button', { name: 'Edit' }).last().click()
    await page.getByLabel('Edit the prompt').fill('ghi')
    await page.keyboard.press('Enter')
    await over(page)
    expect(await page.locator('.prompt .text').allTextContents()).toEqual(['abc', 'ghi'])
    expect(await answers(page).count()).toBe(4)
    await page.getByRole('button', { name: 'take base away' }).click()
    expect(await answers(page).count()).toBe(2)
    await page.getByRole('button', { name: 'Undo' }).click()
    expect(await answers(page).count()).toBe(4)
  })

  test('goes on with text where a model has no chat template', async page => {
    await page.getByLabel('Model', { exact: true }).selectOption('base')
    await setMaxTokens(page, 5)
    const asked = page.waitForRequest(r => r.url().endsWith('/v1/completions'))
    await say(page, 'once')
    expect((await asked).postDataJSON()).toMatchObject({ model: 'base', prompt: 'once', max_tokens: 5 })
    await over(page)
    const first = await textOf(page)
    const more = page.waitForRequest(r => r.url().endsWith('/v1/completions'))
    await page.getByRole('button', { name: 'Go on' }).click()
    expect((await more).postDataJSON()).toMatchObject({ prompt: `once${first}` })
    await over(page)
  })

  test('exports a conversation, and imports it', async page => {
    await setMaxTokens(page, 6)
    await page.getByLabel('System message').fill('be short')
    await say(page, 'abc')
    await over(page)
    const whole = await textOf(page)
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Export' }).click()
    const path = await (await download).path()
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ format: 'meshwork-conversation', version: 1, system: 'be short' })
    await page.getByRole('button', { name: 'New' }).click()
    expect(await answers(page).count()).toBe(0)
    await page.getByLabel('Import a conversation').setInputFiles(path)
    await answers(page).waitFor()
    expect(await textOf(page)).toBe(whole)
    await page.getByLabel('Import a conversation').setInputFiles({ name: 'other.json', mimeType: 'application/json', buffer: Buffer.from('{"a":1}') })
    await page.locator('.note', { hasText: 'no conversation of Meshwork' }).waitFor()
    expect(await textOf(page)).toBe(whole)
  })

  test('says what the server refuses, and asks again', async page => {
    await say(page, 'x'.repeat(400))
    await page.locator('.answer .wrong', { hasText: 'tokens' }).waitFor()
    await page.getByRole('button', { name: 'Try again' }).waitFor()
    wrong.splice(0, wrong.length, ...wrong.filter(w => !w.includes('status of 400')))
  })
})

test('the server\'s state moves with what is answered', async page => {
  site.gate.let(3)
  await say(page, 'abcdefghij')
  await page.locator('[data-i="2"]').waitFor()
  await page.getByRole('link', { name: 'Server' }).click()
  const model = page.getByRole('article', { name: 'tiny' })
  await model.locator('.slots [data-state=free]').nth(1).waitFor()
  await page.getByRole('article', { name: 'base' }).getByText('step 1,200 of training').waitFor()
  await page.getByRole('article', { name: 'vectors' }).getByText('makes vectors').waitFor()
  expect(await model.locator('.slots > *').count()).toBe(3)
  site.gate.let(Infinity)
  await model.locator('.latencies tbody td', { hasText: /s$/ }).first().waitFor()
  // Every picture has its table.
  const tables = model.locator('details')
  expect(await tables.count()).toBe(3)
  for (let i = 0; i < 3; i++) {
    await tables.nth(i).locator('summary').click()
    expect(await tables.nth(i).locator('tbody tr').count()).toBeGreaterThan(2)
  }
})

test('it is used by the keyboard alone', async page => {
  await setMaxTokens(page, 5)
  await field(page).focus()
  await page.keyboard.type('abc')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('def')
  await page.keyboard.press('Enter')
  await over(page)
  expect(await page.locator('.prompt .text').textContent()).toBe('abc\ndef')
  const reached = new Set<string>()
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('Tab')
    reached.add(String(await page.evaluate('document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent')))
  }
  for (const name of ['Playground', 'Server', 'Model', 'Compare', 'New', 'Settings', 'Edit', 'Regenerate', 'Answer: the arrow keys walk through its tokens', 'Message', 'Export', 'Import', 'System message', 'Temperature']) expect([...reached]).toContain(name)
})

test('it fits, in light and dark, on a desk and at 360 pixels', async page => {
  await setMaxTokens(page, 60)
  await say(page, 'abc')
  await over(page)
  const grounds = new Set<unknown>()
  for (const [width, height] of [[1280, 800], [360, 740]] as const) {
    await page.setViewportSize({ width, height })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      for (const view of ['Playground', 'Server']) {
        await page.getByRole('link', { name: view }).click()
        const path = join(browser?.folder ?? '', `${view}-${width}-${colorScheme}.png`)
        await page.screenshot({ path })
        expect((await stat(path)).size).toBeGreaterThan(5000)
        expect([width, view, await page.evaluate('document.documentElement.scrollWidth')]).toEqual([width, view, width])
      }
      grounds.add(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor'))
      await page.getByRole('link', { name: 'Playground' }).click()
    }
  }
  expect(grounds.size).toBe(2)
  // What is pressed is in sight.
  for (const name of ['Compare', 'New', 'Settings', 'Send', 'Regenerate']) {
    const box = await page.getByRole('button', { name }).boundingBox()
    expect([name, box !== null && box.x >= 0 && box.x + box.width <= 360]).toEqual([name, true])
  }
})

declared('a server that is gone is looked for until it is back', async context => {
  if (browser === undefined) return context.skip(noBrowser)
  const page = await browser.context.newPage()
  let here = await openSite()
  await page.goto(here.server.url)
  await page.locator('.pulse', { hasText: 'tokens/s' }).waitFor()
  const port = Number(new URL(here.server.url).port)
  await here[Symbol.asyncDispose]()
  await page.locator('.pulse', { hasText: 'not reached' }).waitFor()
  here = await openSite({ port })
  await page.locator('.pulse', { hasText: 'tokens/s' }).waitFor()
  await page.close()
  await here[Symbol.asyncDispose]()
})

declared('where the server wants a key the page asks for it', async context => {
  if (browser === undefined) return context.skip(noBrowser)
  await using locked = await openSite({ keys: ['secret'] })
  const page = await browser.context.newPage()
  await page.goto(locked.server.url)
  await page.getByLabel('Key').fill('wrong')
  await page.keyboard.press('Enter')
  await page.getByText('does not know this key').waitFor()
  await page.getByLabel('Key').fill('secret')
  await page.keyboard.press('Enter')
  await field(page).waitFor()
  await setMaxTokens(page, 4)
  await say(page, 'abc')
  await over(page)
  expect(await answers(page).locator('[data-i]').count()).toBeGreaterThan(0)
  // It is kept with the tab.
  await page.reload()
  await answers(page).waitFor()
  expect(await page.evaluate('JSON.stringify(localStorage)')).not.toContain('secret')
  await page.close()
})
