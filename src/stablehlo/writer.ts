/** Writes StableHLO in MLIR's generic form: every op alike, read by every plugin. */
import type { Dim } from '../core/dim.ts'
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import { eightBits } from '../core/eight-bit-floats.ts'
import type { Site } from '../core/errors.ts'
import { shapeOf, dtypeOf, type TensorType, type Typed } from '../graph/node.ts'

/** An SSA value: its name and MLIR type. */
export interface Ssa {
  readonly name: string
  readonly sizes: readonly number[]
  readonly dtype: DType
  /** A token: no array, but what orders two ops with effects. */
  readonly token?: true
  /** Of 16 bits not the number but the word that they are. */
  readonly word?: true
}
type Type = Pick<Ssa, 'sizes' | 'dtype' | 'token' | 'word'>

export const tensorType = (sizes: readonly number[], dtype: DType): string => `tensor<${[...sizes, dtypes[dtype].hlo].join('x')}>`
export const typeText = (v: Type): string => (v.token === true ? '!stablehlo.token' : v.word === true ? `tensor<${[...v.sizes, 'ui16'].join('x')}>` : tensorType(v.sizes, v.dtype))
const tokenType: Type = { sizes: [], dtype: 'bool', token: true }
export const sizesOf = (shape: readonly Dim[]): number[] => shape.map(d => d.size)
export const ssaType = (t: TensorType): Pick<Ssa, 'sizes' | 'dtype'> => ({ sizes: sizesOf(t.shape), dtype: t.dtype })
export const typeOfNode = (n: Typed): Pick<Ssa, 'sizes' | 'dtype'> => ({ sizes: sizesOf(shapeOf(n)), dtype: dtypeOf(n) })
export const i64s = (values: readonly number[]): string => (values.length === 0 ? 'array<i64>' : `array<i64: ${values.join(', ')}>`)

const bits = new DataView(new ArrayBuffer(8))
function floatBits(value: number, dtype: DType): string {
  if (dtype === 'f64') { bits.setFloat64(0, value); return `0x${bits.getBigUint64(0).toString(16).toUpperCase().padStart(16, '0')}` }
  bits.setFloat32(0, value)
  const word = bits.getUint32(0)
  if (dtype === 'f32') return `0x${word.toString(16).toUpperCase().padStart(8, '0')}`
  if (dtype === 'bf16') return `0x${(word >>> 16).toString(16).toUpperCase().padStart(4, '0')}`
  if (dtype === 'f8e4m3fn' || dtype === 'f8e5m2') return `0x${eightBits(value, dtype).toString(16).toUpperCase().padStart(2, '0')}`
  return value === Infinity ? '0x7C00' : value === -Infinity ? '0xFC00' : '0x7E00'
}

/** A number as MLIR reads it; infinities and NaN by their bits. */
export function literal(value: number, dtype: DType): string {
  if (dtype === 'bool') return value !== 0 ? 'true' : 'false'
  if (!isFloat(dtype)) {
    // The largest i64 is no double; the nearest is one more.
    if (value >= 2 ** 63) return String(2n ** 63n - 1n)
    const [bits, x] = [8 * dtypes[dtype].bytes, BigInt(Math.trunc(value))]
    return String(dtypes[dtype].kind === 'uint' ? BigInt.asUintN(bits, x) : BigInt.asIntN(bits, x))
  }
  if (!Number.isFinite(value)) return floatBits(value, dtype)
  const [mantissa = '0', exponent = '+0'] = value.toExponential().split('e')
  // The text of a number in JavaScript has no sign where it is 0.
  const sign = Object.is(value, -0) ? '-' : ''
  return `${sign}${mantissa.includes('.') ? mantissa : `${mantissa}.0`}e${exponent}`
}

/** The last two parts of the path are enough to know a line by, and the same on every machine. */
const fileText = (site: Site): string => site.file.split('/').slice(-2).join('/').replace(/["\\]/g, '_')
/** Written once for each: a line makes many ops. */
const locations = new WeakMap<Site, string>()
function locText(site: Site | undefined): string {
  if (site === undefined) return ''
  const known = locations.get(site)
  if (known !== undefined) return known
  const text = ` loc("${fileText(site)}":${site.line}:${site.column})`
  locations.set(site, text)
  return text
}

export class Writer {
  readonly #lines: string[] = []
  #next = 0
  #indent = 2
  #site: Site | undefined

  /** The token that the next op with an effect takes. */
  #token: Ssa | undefined

  /** Lines that were taken away. */
  readonly #dropped = new Set<number>()

  get text(): string {
    if (this.#dropped.size > 0) this.#keepWhatIsRead()
    return this.#lines.filter((_, i) => !this.#dropped.has(i)).join('\n')
  }
  /** What was taken away and is read by a line that is left, as an operand that was turned over for both, stays. */
  #keepWhatIsRead(): void {
    const lines = this.#lines
    const makers = new Map([...this.#dropped].flatMap(i => /^\s*(%\d+)/.exec(lines[i] ?? '')?.slice(1, 2).map(name => [name, i] as const) ?? []))
    const first = Math.min(...this.#dropped)
    const open = lines.flatMap((line, i) => (i > first && !this.#dropped.has(i) ? [line] : []))
    for (let line = open.pop(); line !== undefined; line = open.pop()) {
      for (const [name] of line.matchAll(/%\d+/g)) {
        const maker = makers.get(name)
        if (maker === undefined || !this.#dropped.delete(maker)) continue
        open.push(lines[maker] ?? '')
      }
    }
  }
  /** Lines so far: where what is written next begins. */
  get length(): number { return this.#lines.length }
  /** Takes these lines away again, but for what others read. They have no regions. */
  drop(from: number, to: number): void { for (let i = from; i < to; i++) this.#dropped.add(i) }
  fresh(): string { return `%${this.#next++}` }
  line(text: string): void { this.#lines.push(`${'  '.repeat(this.#indent)}${text}`) }
  /** Ops written from here on carry this line. */
  at(site: Site | undefined): void { this.#site = site }
  /** That line as text; empty where none is known. */
  get place(): string { return this.#site === undefined ? '' : `${fileText(this.#site)}:${this.#site.line}:${this.#site.column}` }

  readonly tokenType: Type = tokenType
  startToken(): void { [this.#token] = this.ops('create_token', [], [tokenType], '', []) }
  takeToken(): Ssa {
    if (this.#token === undefined) throw new Error('no token was started')
    return this.#token
  }
  leaveToken(token: Ssa): void { this.#token = token }

  /** One op with one result. `attributes` is the inside of its property list, `region` lines of its body, `beside` attributes that are none of the op's own. */
  op(name: string, operands: readonly Ssa[], result: Type, attributes = '', region?: () => void, beside = ''): Ssa {
    const [made] = this.ops(name, operands, [result], attributes, region === undefined ? [] : [region], beside)
    if (made === undefined) throw new Error(`${name} has no result`)
    return made
  }

  ops(name: string, operands: readonly Ssa[], results: readonly Type[], attributes: string, regions: readonly (() => void)[], beside = ''): Ssa[] {
    const id = this.fresh()
    const many = results.length > 1
    const head = `${id}${many ? `:${results.length}` : ''} = "${name.includes('.') ? name : `stablehlo.${name}`}"(${operands.map(o => o.name).join(', ')})${attributes === '' ? '' : ` <{${attributes}}>`}`
    const site = this.#site
    const signature = `${beside === '' ? '' : ` {${beside}}`} : (${operands.map(typeText).join(', ')}) -> ${many ? `(${results.map(typeText).join(', ')})` : results.map(typeText).join()}${locText(site)}`
    if (regions.length === 0) this.line(head + signature)
    else {
      this.line(`${head} ({`)
      regions.forEach((region, i) => {
        if (i > 0) this.line('}, {')
        this.#indent++
        region()
        this.#indent--
      })
      this.#site = site
      this.line(`})${signature}`)
    }
    return results.map((r, i) => ({ ...r, name: many ? `${id}#${i}` : id }))
  }

  /** The first line of a region: its arguments. */
  block(types: readonly Type[]): Ssa[] {
    const args = types.map(t => ({ ...t, name: this.fresh().replace('%', '%b') }))
    if (args.length > 0) this.line(`^bb0(${args.map(a => `${a.name}: ${typeText(a)}`).join(', ')}):`)
    return args
  }
  return(values: readonly Ssa[]): void {
    this.line(`"stablehlo.return"(${values.map(v => v.name).join(', ')}) : (${values.map(typeText).join(', ')}) -> ()`)
  }
  constant(value: number, dtype: DType, sizes: readonly number[] = []): Ssa {
    return this.op('constant', [], { sizes, dtype }, `value = dense<${literal(value, dtype)}> : ${tensorType(sizes, dtype)}`)
  }
  reshape(v: Ssa, sizes: readonly number[]): Ssa {
    return v.sizes.join() === sizes.join() ? v : this.op('reshape', [v], { sizes, dtype: v.dtype })
  }
  transpose(v: Ssa, permutation: readonly number[]): Ssa {
    if (permutation.every((p, i) => p === i)) return v
    return this.op('transpose', [v], { sizes: permutation.map(p => v.sizes[p] ?? 1), dtype: v.dtype }, `permutation = ${i64s(permutation)}`)
  }
}
