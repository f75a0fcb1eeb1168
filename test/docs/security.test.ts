import { existsSync, readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { settings } from '../../src/config/config.ts';
import { metricFamilies } from '../../src/metrics/metric-families.ts';
import { root } from '../support/source-files.ts';

const text = readFileSync(`${root}docs/SECURITY.md`, 'utf8');

interface Row {
  readonly threat: string;
  readonly answer: string;
  readonly tests: readonly string[];
}

/** The rows of all tables of threats. */
function readRows(): Row[] {
  const tables = [...text.matchAll(/^\| threat \|.*\n\|[-|]+\|\n((?:\|.*\n)+)/gm)].map(([, rows = '']) => rows);
  return tables.flatMap((table) =>
    table
      .trim()
      .split('\n')
      .map((line) => {
        const [threat = '', answer = '', tests = ''] = line.replace(/^\| | \|$/g, '').split(' | ');
        return { threat, answer, tests: [...tests.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name) };
      }),
  );
}

test('every threat has an answer, and tests that hold it', () => {
  const rows = readRows();
  expect(rows.length).toBeGreaterThan(30);
  const unheld = rows.filter(({ answer, tests }) => answer === '' || !tests.some((name) => name.endsWith('.test.ts')));
  expect(unheld).toEqual([]);
});

test('every file that is named exists', () => {
  const named = [...text.matchAll(/`((?:test|src|docs|deploy)\/[\w./-]+)`/g)].map(([, name = '']) => name);
  expect(named.filter((name) => !existsSync(`${root}${name}`))).toEqual([]);
});

test('every script, setting and metric that is named exists', () => {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { scripts: Record<string, string> };
  const named = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name);
  expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  const hardening = /^## Hardening\n([^]*?)^## /m.exec(text)?.[1] ?? '';
  const words = [...hardening.matchAll(/`([a-z]+[A-Z]\w*|slotcast_\w+)`/g)].map(([, name = '']) => name);
  expect(words.length).toBeGreaterThan(10);
  const families = new Set(metricFamilies.map(({ name }) => name));
  expect(words.filter((name) => !Object.hasOwn(settings, name) && !families.has(name))).toEqual([]);
});

test('what is known of the socket library is of the version that is pinned', () => {
  const { version } = JSON.parse(readFileSync(`${root}node_modules/uWebSockets.js/package.json`, 'utf8')) as {
    version: string;
  };
  expect(text).toContain(`\`uws-pack\` ${version},`);
});
