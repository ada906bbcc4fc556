/** How the pages of `meshwork serve` and `meshwork watch` are built: from src/page into dist/page, with no script or style within their HTML. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig, type UserConfig } from 'vite'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** What all pages have in common stands once; the head of it is painted before any script has come. */
const part = (name: string): string => readFileSync(at(`src/page/parts/${name}.html`), 'utf8').trim()

const config: UserConfig = defineConfig({
  root: at('src/page'),
  // Paths stay right where a proxy has the server under a path of its own.
  base: './',
  publicDir: false,
  plugins: [{ name: 'parts', transformIndexHtml: { order: 'pre', handler: html => html.replace(/<!-- (head|body) -->/g, (_, name: string) => part(name)) } }],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: at('dist/page'), emptyOutDir: true, target: 'es2022', reportCompressedSize: false, license: { fileName: 'licenses.md' },
    // The page's policy takes nothing from `data:` addresses.
    assetsInlineLimit: 0, rolldownOptions: { input: [at('src/page/index.html'), at('src/page/watch.html')] }, modulePreload: { polyfill: false },
  },
})
export default config
