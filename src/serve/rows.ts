/** Rows of tokens through a model, in a few fixed shapes: each row in the shortest window that holds it, so that what comes of it hangs on no other row. */
import type { TypedArray } from '../core/dtype.ts'
import { compile, expectDims, mesh as meshOf, type AnyTensor, type Arrays, type Backend, type Layouts, type MeshArray, type Program, type Source, type Tree } from '../engine/index.ts'
import { noTarget, type RowInputs, type RowModel } from '../models/index.ts'
import { free, loadParams, type Stored } from './weights.ts'

/** One row: its tokens, and for each of them what else a model reads. */
export interface Row {
  readonly tokens: readonly number[]
  /** What is to be found at each place; −100 where nothing is. */
  readonly targets?: readonly number[]
  /** Which text a token is of; 0 unless given. */
  readonly types?: readonly number[]
}
/** A model as it lies on a disk, for rows of tokens. */
export interface RowsOf extends Stored {
  /** The model for `rows` rows of `seq` tokens. */
  readonly model: (rows: number, seq: number) => RowModel
  /** The lengths that it is compiled for, rising: the last is its window. */
  readonly lengths: readonly number[]
  /** What fills up a row; 0 unless given. */
  readonly padding?: number
}
export interface RowOptions extends Layouts {
  readonly backend: Backend
  readonly mesh: { readonly [axis: string]: number }
  /** Rows of a step, over all devices. */
  readonly rows: number
  /** Hears before a program is compiled for rows of a length. */
  readonly onCompile?: ((seq: number) => void) | undefined
}
export interface RowProgram {
  readonly window: number
  /**
   * What the model makes of each row, in their order: of its output the part of that row. Under MPI every rank asks for the same.
   * @param onRows hears after each step how many rows are through; what it throws ends the work
   * @throws RangeError for a row that is longer than the window
   */
  run(rows: readonly Row[], onRows?: (done: number) => void): Promise<TypedArray[]>
  dispose(): void
}

const shortest = 32
/** Powers of two up to a window, and the window. */
export function lengthsFor(window: number): number[] {
  const lengths: number[] = []
  for (let n = shortest; n < window; n *= 2) lengths.push(n)
  return [...lengths, window]
}

/** What stands at a place of a row, behind its end too. */
const cells: { readonly [I in keyof Required<RowInputs>]: (row: Row | undefined, at: number, padding: number) => number } = {
  tokens: (row, at, padding) => row?.tokens[at] ?? padding,
  mask: (row, at) => (row !== undefined && at < row.tokens.length ? 1 : 0),
  targets: (row, at) => row?.targets?.[at] ?? noTarget,
  types: (row, at) => row?.types?.[at] ?? 0,
}

/** Loads weights onto a mesh once, for programs of several lengths, each compiled when a row first needs it. */
export function openRows(given: RowsOf, { backend, mesh: axes, rows: count, onCompile = () => {}, ...layouts }: RowOptions): RowProgram {
  const { lengths, padding = 0 } = given
  const mesh = meshOf(axes)
  const window = lengths.at(-1) ?? 0
  type Compiled = Program<readonly [Tree, Tree], AnyTensor> & { readonly inputs_: readonly (keyof RowInputs)[] }
  const programs = new Map<number, Compiled>()
  let params: Arrays<Tree> | undefined

  const programOf = async (seq: number): Promise<Compiled> => {
    const known = programs.get(seq)
    if (known !== undefined) return known
    onCompile(seq)
    const model = given.model(count, seq)
    const output = (p: Tree, inputs: Tree): AnyTensor => {
      const { tensor, dims } = model.output(p, inputs as unknown as RowInputs)
      // Every device gets all of it: it is small.
      return expectDims(tensor, dims).relayout({})
    }
    const program = await compile(output, [model.params, model.inputs as unknown as Tree] as const, { ...layouts, ...(model.layouts === undefined ? {} : { uses: model.layouts }), mesh, backend, dims: model.dims })
    const made = Object.assign(program, { inputs_: Object.keys(model.inputs) as (keyof RowInputs)[] }) as unknown as Compiled
    programs.set(seq, made)
    params ??= await loadParams<Tree>(given, program.placements[0], backend, mesh)
    return made
  }
  const sourceOf = (input: keyof RowInputs, rows: readonly Row[]): Source => ({ starts: [first = 0, column = 0], sizes: [height = 0, width = 0] }) => {
    const part = input === 'mask' ? new Uint8Array(height * width) : new Int32Array(height * width)
    for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) part[r * width + c] = cells[input](rows[first + r], column + c, padding)
    return part
  }

  async function run(rows: readonly Row[], onRows: (done: number) => void = () => {}): Promise<TypedArray[]> {
    const found = new Array<TypedArray>(rows.length)
    const places = new Map<number, number[]>()
    for (const [i, { tokens }] of rows.entries()) {
      const seq = lengths.find(n => n >= tokens.length)
      if (seq === undefined) throw new RangeError(`a row has ${tokens.length} tokens, and the window is ${window}`)
      places.set(seq, [...places.get(seq) ?? [], i])
    }
    let done = 0
    let underWay: { readonly array: MeshArray; readonly of: readonly number[] } | undefined
    const take = async ({ array, of }: { readonly array: MeshArray; readonly of: readonly number[] }): Promise<void> => {
      const values = await array.read().finally(() => { array.dispose() })
      const width = values.length / count
      of.forEach((row, i) => { found[row] = values.slice(i * width, (i + 1) * width) })
      onRows(done += of.length)
    }
    try {
      for (const [seq, all] of [...places].sort(([a], [b]) => a - b)) {
        const program = await programOf(seq)
        for (let from = 0; from < all.length; from += count) {
          const of = all.slice(from, from + count)
          const inputs = Object.fromEntries(program.inputs_.map(input => [input, sourceOf(input, of.map(i => rows[i] as Row))]))
          // The next step's rows are laid out while the devices compute the last one's.
          const before = underWay
          underWay = { array: await program(params as never, inputs as never) as unknown as MeshArray, of }
          if (before !== undefined) await take(before)
        }
      }
      if (underWay !== undefined) await take(underWay)
    } catch (e) {
      underWay?.array.dispose()
      throw e
    }
    return found
  }
  return {
    window, run,
    dispose() {
      free(params ?? [])
      for (const program of programs.values()) program.dispose()
    },
  }
}
