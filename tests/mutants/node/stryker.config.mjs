// How Stryker judges faults in the Node SDK; run in its folder, with what is drawn in MUTANTS, a JSON object.
const { tests, temporary } = JSON.parse(process.env.MUTANTS);

export default {
  mutate: ['src/**/*.ts'],
  plugins: ['@stryker-mutator/tap-runner', import.meta.resolve('./plugins.mjs')],
  checkers: ['drawn'],
  ignorers: ['text'],
  reporters: ['lines'],
  testRunner: 'tap',
  tap: { testFiles: tests, nodeArgs: ['--import', 'tsx', '--test-reporter=tap'] },
  coverageAnalysis: 'perTest',
  timeoutMS: 10_000,
  timeoutFactor: 4,
  tempDirName: temporary,
  // Nothing is compiled, so nothing has to be rewritten for the copy.
  tsconfigFile: 'none',
  logLevel: 'warn',
  allowConsoleColors: false,
};
