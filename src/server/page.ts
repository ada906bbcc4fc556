/** The page of the server: files that the build made, read once, so that no request reaches the disk. */
import { readFile, readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ApiError } from './errors.ts'

const types: Readonly<Record<string, string>> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.md': 'text/plain; charset=utf-8' }
/** Nothing but what this server answers with is loaded, no script or style stands in a page, and no other page frames it. */
const policy = 'default-src \'self\'; base-uri \'none\'; form-action \'none\'; frame-ancestors \'none\'; object-src \'none\''

export interface Page {
  /** Its files, as paths from the server's root. */
  readonly paths: readonly string[]
  /** @throws ApiError for what is no file of the page */
  answer(path: string): Response
}

/** From dist/src/server and from src/server alike. */
const places = ['../../page/', '../../dist/page/'].map(up => fileURLToPath(new URL(up, import.meta.url)))

export interface PageOptions {
  /** The file that `/` is. */
  readonly html?: string
  /** What it is sent as. */
  readonly write?: (html: string) => string
  /** What is allowed beside the server's own files. */
  readonly policy?: string
}

/** @param folders where it may lie; the first that holds a page is taken */
export async function readPage(folders: readonly string[] = places, { html: name = 'index.html', write = text => text, policy: more = '' }: PageOptions = {}): Promise<Page> {
  for (const folder of folders) {
    const written = await readFile(`${folder}/${name}`, 'utf8').catch(() => undefined)
    if (written === undefined) continue
    const html = Buffer.from(write(written))
    const names = await readdir(`${folder}/assets`)
    const files = new Map([['/', { bytes: html, name }], ...await Promise.all(names.map(async asset => [`/assets/${asset}`, { bytes: await readFile(`${folder}/assets/${asset}`), name: asset }] as const))])
    return { paths: [...files.keys()], answer: path => answer(files.get(path), path, `${policy}${more}`) }
  }
  return { paths: [], answer: path => answer(undefined, path === '/' ? 'a page, as it is not built: npm run build' : path, policy) }
}

function answer(file: { readonly bytes: Buffer; readonly name: string } | undefined, path: string, allowed: string): Response {
  if (file === undefined) throw new ApiError(404, `there is no ${path}`, { code: 'not_found' })
  return new Response(new Uint8Array(file.bytes), {
    headers: {
      'content-type': types[extname(file.name)] ?? 'application/octet-stream', 'content-security-policy': allowed, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cross-origin-opener-policy': 'same-origin',
      // Names of assets change with what is in them; the page names them.
      'cache-control': file.name.endsWith('.html') ? 'no-cache' : 'public, max-age=31536000, immutable',
    },
  })
}
