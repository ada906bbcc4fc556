/** What the build ships: small, complete, and of nobody else's server. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'

const folder = fileURLToPath(new URL('../../dist/page/', import.meta.url))
const filesIn = (path: string): string[] => readdirSync(path, { withFileTypes: true }).flatMap(e => (e.isDirectory() ? filesIn(join(path, e.name)) : [join(path, e.name)]))

test('the page is under 150 KB compressed, all views, styles and licences together', ({ skip }) => {
  if (!existsSync(folder)) return skip('the page is not built: npm run build')
  const sizes = filesIn(folder).map(f => [f.slice(folder.length), gzipSync(readFileSync(f)).length] as const)
  expect(sizes.length).toBeGreaterThan(5)
  expect(sizes.reduce((n, [, size]) => n + size, 0), JSON.stringify(sizes)).toBeLessThan(150_000)
})

test('what it loads lies beside it, and none of its scripts or styles stands in the HTML', ({ skip }) => {
  if (!existsSync(folder)) return skip('the page is not built: npm run build')
  for (const name of ['index.html', 'watch.html']) {
    const html = readFileSync(join(folder, name), 'utf8')
    const named = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '')
    expect(named.length).toBeGreaterThan(2)
    for (const path of named) expect([path, path.startsWith('./assets/') && existsSync(join(folder, path))]).toEqual([path, true])
    expect(html).not.toMatch(/<script(?![^>]*src=)|<style|\sstyle=|\son\w+=/)
  }
  // Names of standards are not asked for.
  const foreign = filesIn(folder).filter(f => /\.(js|css|html)$/.test(f)).flatMap(f => [...readFileSync(f, 'utf8').matchAll(/https?:\/\/[^\s"'`)]+/g)].map(([url]) => url)).filter(url => !url.startsWith('http://www.w3.org/'))
  expect(foreign).toEqual([])
})
