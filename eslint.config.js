// Lint rules: the recommended ones, those that need types, and what the style of this code asks for.
import tseslint from 'typescript-eslint'

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'runs', '**/*.gen.ts', 'test/types/fixtures'] },
  ...tseslint.configs.recommendedTypeChecked,
  ...tseslint.configs.stylistic,
  {
    files: ['**/*.ts', '**/*.tsx'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      '@typescript-eslint/array-type': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/prefer-for-of': 'off',
      '@typescript-eslint/no-inferrable-types': 'off',
      // What may be a promise, or may be there already, is awaited on purpose.
      '@typescript-eslint/await-thenable': 'off',
      // What is exported says its type by itself, for isolatedDeclarations.
      '@typescript-eslint/consistent-generic-constructors': 'off',
      // Its mending takes away assertions that the inference of other types rests on.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      // An interface's function may be async for other implementations' sake.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowArray: true }],
      // Built-in statics such as BigInt.asIntN are declared as methods, and need no `this`.
      '@typescript-eslint/unbound-method': 'off',
      // Errors show whatever was given, of any type.
      '@typescript-eslint/no-base-to-string': 'off',
      '@typescript-eslint/no-non-null-assertion': 'error',
      'no-console': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      eqeqeq: 'error',
      'no-restricted-syntax': ['error', { selector: 'SwitchStatement', message: 'Use a table.' }],
    },
  },
  { files: ['**/*.js', '**/*.mjs'], extends: [tseslint.configs.disableTypeChecked] },
  // Only numbers and names of ours get into the text that is compiled there.
  { files: ['src/runtime/simulate/elementwise.ts'], rules: { '@typescript-eslint/no-implied-eval': 'off' } },
  { files: ['examples/**'], rules: { 'no-console': 'off' } },
  {
    files: ['test/**', 'bench/**'],
    // Tests read what others wrote: JSON, replies of processes, causes of rejections.
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/no-unsafe-assignment': 'off', '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
)
