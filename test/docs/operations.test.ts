import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { settings } from '../../src/config/config.ts';
import type { Setting } from '../../src/config/config.ts';

const operations = readFileSync(fileURLToPath(new URL('../../docs/OPERATIONS.md', import.meta.url)), 'utf8');

function wordDefault(name: string, setting: Setting): string {
  if (name === 'partitions') return 'cores less one';
  return Array.isArray(setting.default) ? setting.default.join(',') || 'none' : String(setting.default);
}

function wordRange({ schema }: Setting): string {
  if (Array.isArray(schema.enum)) return schema.enum.join(', ');
  if (schema.type === 'integer') return `${String(schema.minimum)} to ${String(schema.maximum)}`;
  return schema.type === 'array' ? 'strings' : String(schema.type);
}

test('[LI1] docs/OPERATIONS.md lists every setting with its default, range and meaning', () => {
  const section = operations.split('\n## ').find((text) => text.startsWith('Settings\n')) ?? '';
  const rows = [...section.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)]
    .map(([row]) => row)
    .filter((row) => row.split(' | ').length === 4);
  const expected = Object.entries(settings).map(
    ([name, setting]) => `| \`${name}\` | ${wordDefault(name, setting)} | ${wordRange(setting)} | ${setting.meaning} |`,
  );
  expect(rows).toEqual(expected);
});
