/** Plain data: what descriptions and manifests are made of, and two runs are compared by. */

export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain }
