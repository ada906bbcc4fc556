/** How much of a product is tested: a part of it, drawn by a fixed seed, or with MESHWORK_DEPTH=all, as `npm run test:deep` sets it, the whole. */
export const all = process.env['MESHWORK_DEPTH'] === 'all'
