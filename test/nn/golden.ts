/** What PyTorch computed, as `test/oracle/nn.py` wrote it: what it was given, and its results, row-major. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { Dim } from '../../src/core/dim.ts'
import type { DType } from '../../src/core/dtype.ts'
import { leavesOf, type Tree } from '../../src/engine/index.ts'
import { given, valuesOf, type Operand, type T } from '../graph/support.ts'

interface File { readonly given: { readonly [name: string]: { readonly shape: readonly number[]; readonly data: readonly number[] } }; readonly results: { readonly [name: string]: readonly number[] } }
export interface Golden {
  /** An operand of the file's numbers; the sizes of the dims must be the file's. */
  readonly operand: (name: string, shape: readonly Dim[], dtype?: DType) => Operand
  /** Operands for the leaves of a tree of inputs, by path. */
  readonly leaves: (tree: Tree) => Operand[]
  /** Every tensor must be the file's result of that name, but for rounding to f64's last digits. */
  readonly expectAll: (found: { readonly [name: string]: { readonly node: T['node'] } }, operands: readonly Operand[], digits?: number) => void
  readonly results: readonly string[]
}

export function golden(name: string): Golden {
  const file = JSON.parse(readFileSync(fileURLToPath(new URL(`golden/${name}.json`, import.meta.url)), 'utf8')) as File
  const dataOf = (name: string, shape: readonly Dim[]): readonly number[] => {
    const found = file.given[name]
    expect(found?.shape, name).toEqual(shape.map(d => d.size))
    return found?.data ?? []
  }
  return {
    operand: (name, shape, dtype = 'f32') => given(shape, dataOf(name, shape), dtype),
    leaves: tree => leavesOf(tree).map(({ path, leaf }) => ({ tensor: leaf as T, data: dataOf(path, leaf.shape) })),
    results: Object.keys(file.results),
    expectAll(found, operands, digits = 9) {
      const values = valuesOf(Object.values(found) as T[], operands)
      for (const [i, name] of Object.keys(found).entries()) {
        const wanted = file.results[name]
        expect(wanted, name).toBeDefined()
        expect(values[i]?.length, name).toBe(wanted?.length)
        wanted?.forEach((w, k) => { expect(values[i]?.[k], `${name} ${k}`).toBeCloseTo(w, digits) })
      }
    },
  }
}
