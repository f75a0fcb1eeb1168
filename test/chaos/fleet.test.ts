import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

const command = fileURLToPath(new URL('../../dist/chaos/run.js', import.meta.url));

test('[PU5] with all defaults nobody is shown fewer while the registry is down and after', () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [command, '--down', '3', '--json'], {
    encoding: 'utf8',
    timeout: 110_000,
  });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toMatchObject({
    failures: [],
    lines: [expect.stringContaining('the shortest list had 30 of 30')],
  });
  expect(status).toBe(0);
}, 120_000);
