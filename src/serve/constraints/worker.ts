/** The thread in which constraints are worked out that take long: it alone waits for them. */
import { parentPort, workerData } from 'node:worker_threads'
import { MeshworkError } from '../../core/errors.ts'
import { compileConstraint, vocabularyOf, type Grammar, type GrammarPlace } from '../grammar/index.ts'
import { unpack, type Found, type Packed, type Work } from './work.ts'

/** Grammars, and places, that are kept, so that what follows one is a step from it. */
const [mostGrammars, mostPlaces] = [32, 1024]

const vocabulary = vocabularyOf(unpack(workerData as Packed))
const grammars = new Map<number, Grammar>()
const places = new Map<number, GrammarPlace>()

function keep<T>(kept: Map<number, T>, most: number, serial: number, value: T): void {
  if (kept.size >= most) kept.delete(kept.keys().next().value as number)
  kept.set(serial, value)
}

function placeOf({ grammar: of, constraint, path, serial, before }: Work): GrammarPlace | undefined {
  let grammar = grammars.get(of)
  if (grammar === undefined) {
    grammar = compileConstraint(constraint, vocabulary)
    keep(grammars, mostGrammars, of, grammar)
  }
  const known = before === undefined ? undefined : places.get(before)
  let place: GrammarPlace | undefined = known ?? grammar.start()
  for (const token of known === undefined ? path : path.subarray(-1)) place = place?.after(token)
  if (place !== undefined) keep(places, mostPlaces, serial, place)
  return place
}

function found(work: Work): Found {
  try {
    const place = placeOf(work)
    return place === undefined ? { serial: work.serial, gone: true } : { serial: work.serial, mask: place.mask, mayEnd: place.mayEnd }
  } catch (e) {
    if (!(e instanceof MeshworkError)) return { serial: work.serial, failed: { code: 'internal', what: e instanceof Error ? e.stack ?? e.message : String(e) } }
    const { code, what, fix } = e.problem
    return { serial: work.serial, failed: { code, what, ...(fix === undefined ? {} : { fix }) } }
  }
}

parentPort?.on('message', (work: Work) => { parentPort?.postMessage(found(work)) })
parentPort?.postMessage('ready')
