/** Every case on every mesh, in a layout drawn for it, forward and gradient, by the interpreter of the text that is compiled. */
import { tableTests } from './table.ts'

tableTests('simulate', 32, () => true)
