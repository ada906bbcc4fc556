/** Plain data, as JSON has it: what descriptions, configurations and manifests are made of, and two runs are compared by. */

export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain }
export type PlainObject = { readonly [key: string]: Plain }
