import { defineConfig } from 'vitest/config';
import type { ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // Servers, partitions and load generators share the cores with the tests: more workers than this only add noise.
    maxWorkers: 2,
    pool: 'forks',
  },
});
export default config;
