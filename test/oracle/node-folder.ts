/** Folders of npm packages of our own, kept in the user's cache folder: clients and peers that are no part of the product. */
import { existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MeshworkError } from '../../src/core/errors.ts'
import { withLock } from '../../src/io/lock.ts'
import { cacheRoot } from '../../src/runtime/plugins/index.ts'
import { run, type Say } from './python.ts'

export const llamaCppVersion = '3.22.1'
export const clientVersions = { openai: '6.49.0', ai: '6.0.326', '@ai-sdk/openai-compatible': '2.0.92', '@langchain/openai': '1.5.8', '@langchain/core': '1.2.13', zod: '4.6.7' } as const

/** The folder in which packages are installed, once. @throws MeshworkError where they cannot be */
async function nodeFolder(name: string, packages: { readonly [name: string]: string }, say: Say): Promise<string> {
  const folder = join(cacheRoot(), name)
  const stamp = join(folder, '.complete')
  if (existsSync(stamp)) return folder
  await mkdir(cacheRoot(), { recursive: true })
  return withLock(cacheRoot(), { onWait: holder => { say(`waiting for another process that installs packages (${holder})`) } }, async () => {
    if (existsSync(stamp)) return folder
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder)
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies: packages }))
    say(`installing ${Object.keys(packages).join(', ')} into ${folder}`)
    const { code, output } = await run('npm', ['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
    if (code !== 0) throw new MeshworkError({ code: 'npm', what: `npm could not install ${name}`, details: { said: output.split('\n').slice(-3).join(' ').slice(0, 300) }, fix: 'check the network, then run it again' })
    await writeFile(stamp, '')
    return folder
  })
}

export const llamaCppFolder = (say: Say): Promise<string> => nodeFolder(`oracle-node-llama-cpp-${llamaCppVersion}`, { 'node-llama-cpp': llamaCppVersion }, say)
export const clientsFolder = (say: Say): Promise<string> => nodeFolder(`oracle-openai-${clientVersions.openai}`, clientVersions, say)
