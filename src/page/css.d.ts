/** Styles that the bundler takes with the files that import them. */
declare module '*.css'
