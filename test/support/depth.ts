/** How much of a product is tested: a part of it, drawn by a fixed seed, or with MESHWORK_DEPTH=all, as `npm run test:deep` sets it, the whole. */
export const all = process.env['MESHWORK_DEPTH'] === 'all'

const given = process.env['XLA_FLAGS'] ?? ''
const level = '--xla_backend_optimization_level=0'
/** For all of which it is not asked what the machine code of an op computes: XLA makes a program in two thirds of the time. The deep run has it as users do; the op table, the functions over many numbers and the random programs always. */
export const quickly: Readonly<Record<string, string>> = all ? {} : { XLA_FLAGS: given.includes(level) ? given : `${given} ${level}`.trim() }

/** Every `n`-th row of a table, or with `all` each. */
export const every = <T>(n: number, rows: readonly T[]): readonly T[] => rows.filter((_, i) => all || i % n === 0)
