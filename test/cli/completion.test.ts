import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { runCommand } from '../support/command.ts';
import { runInTerminal } from '../support/terminal.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slotcast-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function isInstalled(shell: string): boolean {
  try {
    execFileSync(shell, ['--version']);
    return true;
  } catch {
    console.log(`Left out: there is no ${shell}.`);
    return false;
  }
}

async function writeScript(shell: string): Promise<string> {
  const { status, out } = await runCommand(['completion', shell]);
  expect(status).toBe(0);
  const file = join(folder, `slotcast.${shell}`);
  writeFileSync(file, out);
  return file;
}

/** What is typed, with tabs, and what the shell then runs. */
const lines: [typed: string, run: string][] = [
  ['sess\t --stat\tbrok\t', 'sessions --state broken'],
  ['kv lo\tkey --wait-\t', 'kv lock key --wait-ms'],
  ['config sh\t--jso\t', 'config show --json'],
  ['completion fi\t', 'completion fish'],
  ['start --http-port 1 --transport uw\t', 'start --http-port 1 --transport uws'],
  ['instances kv --outp\tya\t', 'instances kv --output yaml'],
];

const shells = {
  bash: { args: ['--norc', '--noprofile', '-i'], before: 'PS1="ready> "' },
  zsh: { args: ['-f', '-i'], before: 'PS1="ready> "; autoload -U compinit; compinit -D' },
} as const;

test.each(['bash', 'zsh'] as const)('%s completes what is typed in a terminal', async (shell) => {
  if (!isInstalled(shell)) return;
  const script = await writeScript(shell);
  const { args, before } = shells[shell];
  const result = await runInTerminal([shell, ...args], {
    rows: 40,
    columns: 200,
    steps: [
      ['', `${before}; slotcast() { echo "ran: $*;"; }; source ${script}; echo set' 'up\n`],
      ['set up', ''],
      ...lines.flatMap(([typed]): [string, string][] => [
        ['ready> ', `slotcast ${typed}\n`],
        ['ran: ', ''],
      ]),
      ['ready> ', 'exit\n'],
    ],
  });
  if (result === undefined) return;
  const ran = [...result.written.matchAll(/^ran: (.*);\r?$/gm)].map(([, run]) => run?.trimEnd());
  expect(ran).toEqual(lines.map(([, run]) => run));
});

test('fish completes what is typed, and describes it', async () => {
  if (!isInstalled('fish')) return;
  const script = await writeScript('fish');
  const complete = (line: string): string[] =>
    execFileSync('fish', ['--no-config', '-c', `source ${script}; complete -C "slotcast ${line}"`], {
      encoding: 'utf8',
    })
      .trimEnd()
      .split('\n');
  expect(complete('sess')).toEqual([expect.stringMatching(/^sessions\tlist who is connected/)]);
  expect(complete('sessions --state bro')).toEqual([expect.stringMatching(/^broken\t/)]);
  expect(complete('kv lo')).toEqual([expect.stringMatching(/^lock\t/)]);
  expect(complete('completion fi')).toEqual([expect.stringMatching(/^fish\b/)]);
  expect(complete('kv lock key --wait-')).toEqual([expect.stringMatching(/^--wait-ms\t/)]);
  expect(complete('instances kv --output ya')).toEqual([expect.stringMatching(/^yaml\t/)]);
});

test('a shell that is not known is refused', async () => {
  const { status, err } = await runCommand(['completion', 'tcsh']);
  expect([status, err]).toEqual([2, expect.stringContaining('Allowed choices are bash, zsh, fish')]);
});
