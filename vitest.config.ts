import { defineConfig } from 'vitest/config';
import type { ViteUserConfig } from 'vitest/config';

const shared = {
  // Only what hangs meets them: a machine that is short of time is no fault.
  testTimeout: 240_000,
  hookTimeout: 120_000,
  pool: 'forks',
} as const;

/** What holds with sessions on the main thread holds with sessions on I/O threads, by the same tests: here those of the rules, and of what threads of sockets do by themselves. */
const ioThreadTests = [
  'test/rules/**/*.test.ts',
  'test/server/sessions.test.ts',
  'test/server/healing.test.ts',
  'test/protocol/document.test.ts',
  'test/protocol/recorded-sessions.test.ts',
];
/** The others, which take minutes. */
const moreIoThreadTests = [
  'test/server/**/*.test.ts',
  'test/bad-input/**/*.test.ts',
  'test/chaos/chaos.test.ts',
  'test/cli/start.test.ts',
];
const isWhole = process.env['TEST_WHOLE'] !== undefined;
if (!isWhole)
  process.stdout.write(`Left out with I/O threads (TEST_WHOLE=1 runs them): ${moreIoThreadTests.join(', ')}\n`);

const config: ViteUserConfig = defineConfig({
  test: {
    // Servers, partitions and load generators share the cores with the tests: more workers than this only add noise.
    maxWorkers: 2,
    projects: [
      { test: { ...shared, name: 'main', include: ['test/**/*.test.ts'] } },
      {
        test: {
          ...shared,
          name: 'io-threads',
          include: isWhole ? [...ioThreadTests, ...moreIoThreadTests] : ioThreadTests,
          env: { TEST_IO_THREADS: '2' },
        },
      },
    ],
  },
});
export default config;
