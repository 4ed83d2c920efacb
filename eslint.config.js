import tseslint from 'typescript-eslint'

/** A folder imports only from itself and from those to its right. */
const ORDER = [
  ...['cli', 'lab', 'setup', 'image', 'rescue', 'doctor', 'alerts', 'runtime', 'keys', 'system'],
  ...['nbd', 'geli', 'tools', 'core'],
]
const APART = [
  ['lab', 'setup'],
  ['lab', 'image'],
  ['setup', 'image'],
]

const forbidden = (folder) => {
  const left = ORDER.slice(0, ORDER.indexOf(folder))
  const apart = APART.filter((pair) => pair.includes(folder)).flatMap((pair) =>
    pair.filter((f) => f !== folder),
  )
  return [...new Set([...left, ...apart])]
}

const spawners = [
  { name: 'zx', message: 'only provision/system/process.ts spawns' },
  { name: 'child_process', message: 'only provision/system/process.ts spawns' },
  { name: 'node:child_process', message: 'only provision/system/process.ts spawns' },
]

export default tseslint.config(
  { ignores: ['node_modules/', 'test/fixtures/', 'eslint.config.js', '**/*.mjs', '.lab/'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-console': 'error',
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
      'no-restricted-imports': ['error', { paths: spawners }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
    },
  },
  ...ORDER.map((folder) => ({
    files: [`provision/${folder}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: spawners,
          patterns: [
            ...forbidden(folder).map((other) => ({
              group: [`**/${other}/*`],
              message: `provision/${folder} stands below provision/${other}: folders import one way`,
            })),
            { group: ['**/scripts/*', '**/test/*'], message: 'provision/ does not import scripts or tests' },
          ],
        },
      ],
    },
  })),
  { files: ['provision/system/process.ts'], rules: { 'no-restricted-imports': 'off' } },
  {
    files: ['test/**/*.ts'],
    rules: {
      'no-restricted-imports': 'off',
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
)
