/** Where two definitions of what may come differ, and why: everything else is a fault of one of them. */
import type { Case } from './grammar-cases.ts'

export interface Difference {
  readonly of: Case
  /** Bytes so far, and of the token that one of the two lets come, as Latin-1; no token for the end. */
  readonly before: string
  readonly what: string
  /** Whether it is ours that lets it come. */
  readonly ours: boolean
}

const schemaOf = ({ of: { constraint: c } }: Difference): { readonly [word: string]: unknown } => (c.type === 'json-schema' ? c.schema as { readonly [word: string]: unknown } : {})
const said = (d: Difference): string => JSON.stringify(d.of.constraint)
const text = ({ before, what }: Difference): string => `${before}${what}`

/** Whether what is written so far already is a number between the bounds. */
function between(d: Difference): boolean {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity } = schemaOf(d) as { readonly [word: string]: number }
  const x = Number(text(d).trim().replace(/\.$/, '.0'))
  return x >= minimum && x <= maximum && x > exclusiveMinimum && x < exclusiveMaximum
}

const reasons: readonly { readonly reason: string; readonly ours: boolean; is(d: Difference): boolean }[] = [
  { reason: 'they take no DEL, which JSON allows', ours: true, is: ({ what }) => what.includes('\x7f') },
  { reason: 'they do not take \\/, which JSON allows', ours: true, is: d => text(d).includes('\\/') },
  { reason: 'they do not take all numbers that lie between bounds, such as 0.30 and what ends beside a bound', ours: true, is: d => schemaOf(d)['type'] === 'number' && between(d) },
  { reason: '-0 is written 0 between bounds', ours: false, is: d => /"(?:minimum|maximum|exclusive\w+)"/.test(said(d)) && /-0(?:\.0*)?$/.test(text(d)) },
  { reason: 'fixed values are written without blanks', ours: false, is: d => /"(?:enum|const)":/.test(said(d)) && / $|[,:{[] | [,:\]}]/.test(text(d)) },
  { reason: 'characters of fixed values and patterns are written in one way', ours: false, is: d => /"(?:enum|const|pattern)":/.test(said(d)) && /\\u0?0?0?[\da-fA-F]?$/.test(text(d)) },
  { reason: '\\d, \\w, \\s and . are those of ECMAScript', ours: false, is: ({ of, what }) => of.constraint.type === 'regex' && /\\[dw]|\./.test(of.constraint.pattern) && /[\x80-\xff\r]/.test(what) },
  // U+FEFF, of which three bytes come.
  { reason: '\\d, \\w, \\s and . are those of ECMAScript', ours: true, is: d => String(schemaOf(d)['pattern']).includes('\\s') && /\xef(?:\xbb\xbf?)?$/.test(text(d)) },
  { reason: 'they take a backslash where [^\\\\] excludes it', ours: false, is: d => schemaOf(d)['pattern'] === '^[^"\\\\]*$' && text(d).includes('\\') },
  { reason: 'times have no leap seconds, and T and Z are capital', ours: false, is: d => /"format":"(?:date-)?time"/.test(said(d)) && /:6\d?$|[tz]"?$/.test(text(d)) },
  { reason: 'hosts have no two hyphens in a row, and four labels at most', ours: false, is: d => /"format":"hostname"/.test(said(d)) && /--|(?:\..*){4}|[^".-]{32}/.test(text(d)) },
  { reason: 'mails and addresses are of their usual characters, and not endless', ours: false, is: d => /"format":"(?:email|uri)"/.test(said(d)) },
]

export const reasonOf = (d: Difference): string | undefined => reasons.find(r => r.ours === d.ours && r.is(d))?.reason
