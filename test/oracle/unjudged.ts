/** Cases of the op table that JAX does not judge, each with the reason. */
export const unjudged: { readonly [name: string]: string } = {}
