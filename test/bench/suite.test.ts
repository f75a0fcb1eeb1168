import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { BenchResult } from '../../src/bench/result.ts';

const runTimeoutMs = 90_000;
const scenarioNames = [
  'register-storm',
  'steady-churn',
  'hot-service',
  'many-services',
  'rolling-deploy',
  'reconnect-storm',
  'slow-consumers',
  'idle-density',
  'million',
  'restart',
];

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function bench(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const command = ['dist/src/cli/slotcast.js', 'bench', ...args];
    const child = execFile(process.execPath, command, { timeout: runTimeoutMs }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

const folder = mkdtempSync(join(tmpdir(), 'slotcast-suite-'));
const [json, html, comparison] = ['all.json', 'all.html', 'compared.html'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
afterAll(() => rmSync(folder, { recursive: true }));

describe('slotcast bench at its smoke size', () => {
  let outcome: Outcome;
  let result: BenchResult;

  beforeAll(async () => {
    outcome = await bench('all', '--size', 'smoke', '--quiet', '--json', json, '--html', html);
    result = JSON.parse(readFileSync(json, 'utf8')) as BenchResult;
  }, runTimeoutMs);

  test.each(scenarioNames)('%s runs to its end, and all that it checks holds', (name) => {
    const run = result.runs.find(({ scenario }) => scenario === name);
    expect(run?.checks.filter(({ isHeld }) => !isHeld)).toEqual([]);
    expect(run?.status).toBe('passed');
    expect(run?.checks.length).toBeGreaterThan(0);
    expect(outcome.stdout).toContain(name);
    expect(outcome.code).toBe(0);
  });

  test('the report is one page that refers to nothing else', () => {
    const page = readFileSync(html, 'utf8');
    expect(page).toMatch(/^<!doctype html>[^]*<\/html>\n$/);
    expect(page).toContain('<svg');
    expect(page).not.toMatch(/<(script|link|img|iframe|object)\b|\bsrc=|@import|url\(|href="(?!#)/i);
    for (const name of scenarioNames) expect(page).toContain(`<h2>${name} `);
  });

  test(
    'another run is set beside this one, and the server has I/O threads if asked',
    async () => {
      const server = ['--io-threads', '1', '--partitions', '2'];
      const files = ['--compare', json, '--html', comparison];
      const compared = await bench('register-storm', '--size', 'smoke', '--quiet', ...server, ...files);
      expect(compared.code).toBe(0);
      expect(readFileSync(comparison, 'utf8')).toContain('now / before');
    },
    runTimeoutMs,
  );
});

describe('slotcast bench says what is wrong with', () => {
  test.each([
    ['a scenario that does not exist', ['no-such'], /there is no scenario "no-such"; known are register-storm/],
    ['nothing to run', [], /name a scenario/],
    ['a size that means nothing there', ['register-storm', '--stopped', '5'], /--stopped means nothing to/],
    ['a size out of bounds', ['million', '--metadata-bytes', '1'], /must be from 24 to 8192/],
    ['threads of a server that runs', ['million', '--url', 'ws://127.0.0.1:1', '--io-threads', '1'], /--io-threads/],
  ])('%s', async (_, args, message) => {
    const outcome = await bench(...args);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.code).toBe(2);
  });

  test('a file to compare with that is no result', async () => {
    const file = join(folder, 'other.json');
    writeFileSync(file, '{}');
    const outcome = await bench('register-storm', '--compare', file);
    expect(outcome.stderr).toContain('not a result of this bench');
    expect(outcome.code).toBe(2);
  });
});
