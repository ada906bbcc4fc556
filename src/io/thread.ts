/** What worker threads begin with. */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/**
 * A module as the beginning of a thread. From the sources, Node has to be taught TypeScript in each thread anew.
 * @param name of the module within src/, without its ending: it is a file of its own however the others are built
 */
export function threadEntry(name: string): URL {
  if (!import.meta.url.endsWith('.ts')) return new URL(`../${name}.js`, import.meta.url)
  const tsx = new URL('dist/esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json')))
  const program = `import { register } from ${JSON.stringify(tsx.href)}\nregister()\nawait import(${JSON.stringify(new URL(`../${name}.ts`, import.meta.url).href)})`
  return new URL(`data:text/javascript,${encodeURIComponent(program)}`)
}

/** What a thread is started with that plans or searches: lines are as in the sources there, too, as the command has them. */
export const withLines: readonly string[] = ['--enable-source-maps']
