/** Half of the cases but for those that ranks take, each on one of the meshes in a layout drawn for it, forward and gradient, by XLA. */
import { seedOf } from '../support/values.ts'
import { meshOfCase, overRanks, tableTests } from './table.ts'

tableTests('cpu', 12, (name, sizes) => seedOf(name) % 2 === 0 && !overRanks(name) && meshOfCase(name) === sizes)
