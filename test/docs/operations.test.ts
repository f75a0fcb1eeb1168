import { test } from 'vitest';

import { settings } from '../../src/config/config.ts';
import type { Setting } from '../../src/config/config.ts';
import { metricFamilies } from '../../src/metrics/metric-families.ts';
import { expectTable } from '../support/document-table.ts';

function formatDefault(name: string, setting: Setting): string {
  if (name === 'partitions') return 'cores less one';
  return Array.isArray(setting.default) ? setting.default.join(',') || 'none' : String(setting.default);
}

function formatRange({ schema }: Setting): string {
  if (Array.isArray(schema.enum)) return schema.enum.join(', ');
  if (schema.type === 'integer') return `${String(schema.minimum)} to ${String(schema.maximum)}`;
  return schema.type === 'array' ? 'strings' : String(schema.type);
}

test('[LI1] docs/OPERATIONS.md lists every setting with its default, range and meaning', () => {
  expectTable(
    'docs/OPERATIONS.md',
    '| setting | default | range | meaning |',
    Object.entries(settings).map(([name, setting]) => [
      `\`${name}\``,
      formatDefault(name, setting),
      formatRange(setting),
      setting.meaning,
    ]),
  );
});

test('docs/OPERATIONS.md lists every metric with its type, labels and meaning', () => {
  expectTable(
    'docs/OPERATIONS.md',
    '| metric | type | labels | meaning |',
    metricFamilies.map(({ name, type, labels, help }) => [
      `\`${name}\``,
      type,
      labels.map((label) => `\`${label}\``).join(', ') || '–',
      help,
    ]),
  );
});
