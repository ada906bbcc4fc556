/** Every case on one of the meshes, in a layout drawn for it, forward and gradient, by the interpreter of the text that a GPU would get; and some by XLA. */
import { seedOf } from '../support/values.ts'
import { meshOfCase, tableTests } from './table.ts'

tableTests('simulate', 32, (name, sizes) => meshOfCase(name) === sizes, 'cuda')
// XLA:CPU reads the same words. It loses a NaN of the extrema, which no GPU is said to, so these are the interpreter's alone.
tableTests('cpu', 12, (name, sizes) => !/max|min|nan|top/i.test(name) && seedOf(name) % 8 === 0 && meshOfCase(name) === sizes, 'cuda')
