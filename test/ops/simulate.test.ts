/** A third of the cases on every mesh but the one on which XLA has them, in a layout drawn for them, forward and gradient, by the interpreter of the text that is compiled. */
import { cases, everyCase } from '../cases/index.ts'
import { meshText } from '../support/again.ts'
import { all } from '../support/depth.ts'
import { seedOf } from '../support/values.ts'
import { meshOfCase, tableTests } from './table.ts'

/** Of those that are asked for by name, none is left out. */
const whole = all || cases.length < everyCase.length
tableTests('simulate', 32, (name, sizes) => meshOfCase(name) !== sizes && (whole || seedOf(`${name} on ${meshText(sizes)}`) % 3 === 0))
