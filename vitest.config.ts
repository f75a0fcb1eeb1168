import { defineConfig } from 'vitest/config';
import type { ViteUserConfig } from 'vitest/config';

const shared = {
  // Only what hangs meets them: a machine that is short of time is no fault.
  testTimeout: 240_000,
  hookTimeout: 120_000,
  pool: 'forks',
} as const;

const config: ViteUserConfig = defineConfig({
  test: {
    // Servers, partitions and load generators share the cores with the tests: more workers than this only add noise.
    maxWorkers: 2,
    projects: [
      { test: { ...shared, name: 'main', include: ['test/**/*.test.ts'] } },
      {
        // What holds with sessions on the main thread holds with sessions on I/O threads, by the same tests.
        test: {
          ...shared,
          name: 'io-threads',
          include: [
            'test/rules/**/*.test.ts',
            'test/server/**/*.test.ts',
            'test/bad-input/**/*.test.ts',
            'test/chaos/chaos.test.ts',
            'test/protocol/document.test.ts',
            'test/protocol/recorded-sessions.test.ts',
            'test/cli/start.test.ts',
          ],
          env: { TEST_IO_THREADS: '2' },
        },
      },
    ],
  },
});
export default config;
