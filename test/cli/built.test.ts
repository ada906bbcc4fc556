/** What the build leaves in dist/: pieces that lie with the folder that they are of, as the user's lines are told from ours by folders. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const dist = join(root, 'dist')
const files = readdirSync(join(dist, 'src'), { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.js')).map(file => join(dist, 'src', file))
/** Of each piece, the modules that it is made of, as paths from the root. What only hands on names of other pieces has no map. */
const pieces = files.filter(file => basename(file).startsWith('part-') && existsSync(`${file}.map`)).map(file => {
  const { sources } = JSON.parse(readFileSync(`${file}.map`, 'utf8')) as { readonly sources: readonly string[] }
  return { file: relative(dist, file), modules: sources.map(source => relative(root, resolve(dirname(file), source))) }
})
const ours = (module: string): boolean => module.startsWith('src/')

describe('the pieces of the build', () => {
  test('are of one folder each, and lie in it', () => {
    expect(pieces.filter(p => p.modules.some(ours)).length).toBeGreaterThan(50)
    expect(pieces.filter(p => p.modules.some(m => ours(m) && !m.startsWith(`${dirname(p.file)}/`))).map(p => p.file)).toEqual([])
  })

  test('hold each module once: a second copy of one would have classes and state of its own', () => {
    const modules = pieces.flatMap(p => p.modules).filter(ours)
    expect(modules.length).toBeGreaterThan(500)
    expect(modules.filter((m, i) => modules.indexOf(m) !== i)).toEqual([])
  })

  test('stand two levels down, so that paths from them are the same as from the sources', () => {
    expect(pieces.filter(p => p.file.split('/').length !== 3).map(p => p.file)).toEqual([])
  })

  test('what the package opens is there', async () => {
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>> }
    const doors = Object.values(exports).flatMap(door => (typeof door === 'string' ? [] : [door]))
    expect(doors.length).toBe(8)
    for (const door of doors) {
      expect(readFileSync(join(root, door.types), 'utf8')).toContain('export')
      // What a door exports that is a value stands in its types, too.
      const names = Object.keys(await import(join(root, door.default)) as object)
      expect(names.length).toBeGreaterThan(0)
      expect(names.filter(name => !readFileSync(join(root, door.types), 'utf8').includes(name))).toEqual([])
    }
  })
})
