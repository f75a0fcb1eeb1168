import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { afterEach, expect, test } from 'vitest';

import { Random } from '../support/random.ts';
import { WriterLedger } from '../support/writer-ledger.ts';

const writer = fileURLToPath(new URL('../support/store-writer.mjs', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-crashes-'));
let unmount: () => void = () => undefined;

afterEach(() => {
  unmount();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a writer; `disturb` is called once it has found what is there, and it is killed when that resolves. */
async function live(ledger: WriterLedger, where: string, disturb: () => Promise<unknown>): Promise<void> {
  const child = spawn(process.execPath, [writer, where], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  let text = '';
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => {
      reject(new Error(`the writer ended with ${code}: ${text}`));
    });
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
      if (text.includes('found ')) resolve();
    });
  });
  await disturb();
  child.removeAllListeners('exit');
  child.kill('SIGKILL');
  await ended;
  // The last line may be half written.
  for (const line of text.split('\n').slice(0, -1)) ledger.note(line);
}

test(
  '[ST1] whenever the process is killed, every acknowledged commit is there, whole, and versions rise',
  { timeout: 3_600_000 },
  async () => {
    const random = new Random(7);
    const ledger = new WriterLedger();
    const lives = process.env['TEST_CHAOS'] === undefined ? 12 : 500;
    for (let at = 0; at < lives; at++) await live(ledger, folder, () => delay(random.below(40) ** 2 / 10));
    await live(ledger, folder, () => Promise.resolve());
    expect(ledger.complaints).toEqual([]);
    expect(ledger.acknowledgements).toBeGreaterThan(lives * 3);
  },
);

const mount = path.join(folder, 'small');

/** A disk of a few pages, where this process may mount one. */
function mountSmall(): boolean {
  mkdirSync(mount, { recursive: true });
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount]).status !== 0) return false;
  unmount = (): void => {
    spawnSync('umount', [mount]);
    unmount = () => undefined;
  };
  return true;
}

const canMount = mountSmall();
unmount();

test.runIf(canMount)(
  '[ST3] on a full disk commits are refused, what was acknowledged stays, and it goes on when there is room',
  async () => {
    expect(mountSmall()).toBe(true);
    const ledger = new WriterLedger();
    const data = path.join(mount, 'data');
    // The rows need more than is left.
    writeFileSync(path.join(mount, 'filler'), Buffer.alloc(700 * 1024));
    await live(ledger, data, () => delay(1500));
    const { acknowledgements, refusals } = ledger;
    expect(refusals).toBeGreaterThan(0);
    await live(ledger, data, async () => {
      await delay(500);
      rmSync(path.join(mount, 'filler'));
      await delay(1500);
    });
    expect(ledger.acknowledgements).toBeGreaterThan(acknowledgements);
    await live(ledger, data, () => Promise.resolve());
    expect(ledger.complaints.some((line) => line.includes('nothing can be stored'))).toBe(true);
    expect(ledger.complaints.some((line) => line.includes('damaged'))).toBe(false);
  },
);
