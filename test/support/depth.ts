/** How much of a product is tested: a part of it, drawn by a fixed seed, or with MESHWORK_DEPTH=all, as `npm run test:deep` sets it, the whole. */
export const all = process.env['MESHWORK_DEPTH'] === 'all'

/** For whole models, of which it is asked what they compute and not how: XLA makes their machine code in two thirds of the time. The deep run has it as users do; the op table and the random programs always. */
export const quickly: Readonly<Record<string, string>> = all ? {} : { XLA_FLAGS: `${process.env['XLA_FLAGS'] ?? ''} --xla_backend_optimization_level=0`.trim() }

/** Every `n`-th row of a table, or with `all` each. */
export const every = <T>(n: number, rows: readonly T[]): readonly T[] => rows.filter((_, i) => all || i % n === 0)
