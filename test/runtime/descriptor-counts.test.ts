import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { countDescriptors } from '../../src/runtime/descriptor-counts.ts';

test('where there is no /proc, nothing is told', async () => {
  expect(await countDescriptors('/nowhere')).toEqual({});
});

test.each([
  ['Max open files            1024                 524288               files     \n', { max: 1024 }],
  ['Max open files            unlimited            unlimited            files     \n', {}],
  ['Max processes             7823                 7823                 processes \n', {}],
])('the soft limit is read from %j', async (limits, expected) => {
  const proc = mkdtempSync(join(tmpdir(), 'slotcast-'));
  onTestFinished(() => {
    rmSync(proc, { recursive: true });
  });
  mkdirSync(join(proc, 'fd'));
  writeFileSync(
    join(proc, 'limits'),
    `Max cpu time              unlimited            unlimited            seconds   \n${limits}`,
  );
  const { open, ...rest } = await countDescriptors(proc);
  expect(rest).toEqual(expected);
  expect(open).toBeTypeOf('number');
});
