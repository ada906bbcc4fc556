/** What a search found as flags: with them the recipe is laid as it says, without being changed. */
import type { FoundLayout } from '../train/find-layout.ts'
import type { Run } from '../train/run.ts'
import { shellWord } from './format.ts'
import type { RunFlags } from './overrides.ts'

/** Rules as --layout has them: a dim that lies on two axes is named twice. */
export const rulesText = (rules: FoundLayout['layout']): string => Object.entries(rules).flatMap(([d, rule]) => [rule].flat().map(a => `${d}=${a}`)).join(',')
export const meshText = ({ mesh }: Pick<FoundLayout, 'mesh'>): string => Object.entries(mesh).map(([a, n]) => `${a}=${n}`).join(',')
const isEmpty = (rules: object): boolean => Object.keys(rules).length === 0

/** Behind the fields that were set for the search. Undefined where the recipe's pipeline is taken away, which no flag can say. */
export function foundFlags(run: Pick<Run, 'params' | 'state' | 'gradients' | 'layouts' | 'microbatches' | 'wire'>, found: FoundLayout, set: readonly string[] = []): RunFlags | undefined {
  const { mesh, layout, params, state, remat, microbatches, model: { pipeline, blockwise } } = found
  if (pipeline === null) return undefined
  const own = pipeline?.schedule === '1f1b'
  const field = (name: string, value: unknown): string => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`
  // No rules at all is what no flag of theirs can say.
  const rules = ([['layout', layout, true], ['params', params, !isEmpty(run.params)], ['state', state, !isEmpty(run.state)]] as const)
    .map(([name, rule, said]) => (isEmpty(rule) ? { set: said ? [`${name}={}`] : [] } : { flag: { [name]: rulesText(rule) }, set: [] }))
  const others = (['gradients', 'layouts', 'wire'] as const).flatMap(name => (isEmpty(found[name]) && isEmpty(run[name]) ? [] : [field(name, found[name])]))
  return {
    ...(isEmpty(mesh) ? {} : { mesh: meshText({ mesh }) }), ...Object.assign({}, ...rules.map(r => r.flag)) as RunFlags,
    set: [
      ...set, ...(isEmpty(mesh) ? ['mesh={}'] : []), ...rules.flatMap(r => r.set), ...others, ...(own ? [] : [field('remat', remat)]), ...(microbatches === run.microbatches ? [] : [field('microbatches', microbatches)]),
      ...(pipeline === undefined ? [] : [field('model.pipeline', own ? { ...pipeline, remat } : pipeline)]), ...(blockwise === undefined ? [] : [field('model.blockwise', blockwise)]),
    ],
  }
}

/** As they are typed in a shell. */
export const flagsText = ({ set = [], mesh, layout, params, state }: RunFlags): string =>
  [...Object.entries({ mesh, layout, params, state }).flatMap(([name, text]) => (text === undefined ? [] : [`--${name} ${shellWord(text)}`])), ...(set.length === 0 ? [] : [`--set ${set.map(shellWord).join(' ')}`])].join(' ')
