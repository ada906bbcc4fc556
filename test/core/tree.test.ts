/** Trees that are built anew from a form and leaves: keys, their order, and names that objects treat otherwise. */
import { expect, test } from 'vitest'
import { build, treeOps } from '../../src/core/tree.ts'

const numbers = treeOps((x): x is number => typeof x === 'number', 'a number')

test('a tree is built in its form, whatever its keys are called', () => {
  const tree = JSON.parse('{"b":1,"a":[2,{"__proto__":3,"2":4}],"constructor":5,"none":{}}') as object
  const made = build(numbers.formOf(tree), [10, 20, 30, 40, 50])
  // Whole numbers come first among an object's keys, in both.
  expect(JSON.stringify(made)).toBe('{"b":10,"a":[20,{"2":30,"__proto__":40}],"constructor":50,"none":{}}')
  expect(numbers.flatten(made).map(l => l.path)).toEqual(numbers.flatten(tree).map(l => l.path))
  expect(numbers.read(numbers.formOf(tree), made)).toEqual([10, 20, 30, 40, 50])
})
