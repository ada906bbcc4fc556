/** Every case on every mesh but the one on which XLA has it, in a layout drawn for it, forward and gradient, by the interpreter of the text that is compiled. */
import { meshOfCase, tableTests } from './table.ts'

tableTests('simulate', 32, (name, sizes) => meshOfCase(name) !== sizes)
