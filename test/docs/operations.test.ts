import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { exitMeanings } from '../../src/cli/exit-codes.ts';
import { settings } from '../../src/config/config.ts';
import type { Setting } from '../../src/config/config.ts';
import { metricFamilies } from '../../src/metrics/metric-families.ts';
import { runCommand } from '../support/command.ts';
import { expectTable } from '../support/document-table.ts';
import { root } from '../support/source-files.ts';

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

test('docs/OPERATIONS.md lists the statuses with which commands end', () => {
  expectTable(
    'docs/OPERATIONS.md',
    '| status | of a command |',
    exitMeanings.map(([status, meaning]) => [status, meaning]),
  );
});

test('docs/OPERATIONS.md names every command, and no others', async () => {
  const { out } = await runCommand(['--help']);
  const [, listed = ''] = /\nCommands:\n((?: .*\n)+)/.exec(out) ?? [];
  const commands = [...listed.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name]) => name!);
  expect(commands).toContain('doctor');
  const [, table = ''] =
    /\n\| command \| does \|\n\|---\|---\|\n((?:\|.*\n)+)/.exec(readFileSync(`${root}docs/OPERATIONS.md`, 'utf8')) ??
    [];
  const named = [...table.matchAll(/`([a-z-]+)[^`]*`(?=.*\|.*\|)/g)].map(([, name]) => name!);
  expect([...new Set(named)].sort()).toEqual([...new Set(commands.filter((name) => name !== 'help'))].sort());
});
