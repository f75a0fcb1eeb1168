import { createHash } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { findUws, PinError, verifyUws } from '../../src/transport/uws-files.ts';
import type { UwsPlace } from '../../src/transport/uws-files.ts';
import { uwsPins } from '../../src/transport/uws-pins.ts';
import { root } from '../support/source-files.ts';

const installed = path.join(root, 'node_modules/uWebSockets.js');
/** A binary that is there whatever Node runs this. */
const binary = 'uws_linux_x64_115.node';
const scripts = ['dist/index.mjs', 'dist/uws.mjs'];
const wrongPins = { ...uwsPins, files: Object.fromEntries(Object.keys(uwsPins.files).map((name) => [name, 'ab'])) };

let folder: string;
let place: UwsPlace;

/** A copy of what would be loaded: what is installed is not touched. */
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'uws-files-'));
  mkdirSync(path.join(folder, 'dist/bin'), { recursive: true });
  for (const name of [...scripts, `dist/bin/${binary}`])
    copyFileSync(path.join(installed, name), path.join(folder, name));
  place = { entry: path.join(folder, 'dist/index.mjs'), binary };
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('the pins are those of the version that the lockfile names', () => {
  const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')) as {
    readonly packages: Readonly<Record<string, object>>;
  };
  const { package: name, version, integrity } = uwsPins;
  expect(packages['node_modules/uWebSockets.js']).toMatchObject({ name, version, integrity });
});

test('every file of the library that Node can load is pinned, and is what is installed', () => {
  const names = readdirSync(installed, { recursive: true, encoding: 'utf8' });
  const loadable = names.filter((name) => /\.(node|[cm]?js)$/.test(name));
  const hashes = loadable.map((name) => {
    const bytes = readFileSync(path.join(installed, name));
    return [name, createHash('sha256').update(bytes).digest('hex')];
  });
  expect(uwsPins.files).toEqual(Object.fromEntries(hashes));
});

test('what is installed is what is looked at', () => {
  expect(findUws().entry).toBe(path.join(installed, uwsPins.entry));
});

test.each([...scripts, `dist/bin/${binary}`])(
  'a byte more in %s is refused before anything is loaded',
  async (name) => {
    const file = path.join(folder, name);
    appendFileSync(file, '\n');
    const verified = verifyUws(uwsPins, place);
    await expect(verified).rejects.toBeInstanceOf(PinError);
    await expect(verified).rejects.toThrow(`${file} has the SHA-256 `);
  },
);

test('so is a file that is missing, and an entry that is not pinned', async () => {
  await expect(verifyUws(uwsPins, { ...place, entry: path.join(folder, 'dist/uws.mjs') })).rejects.toBeInstanceOf(
    PinError,
  );
  rmSync(path.join(folder, 'dist/uws.mjs'));
  await expect(verifyUws(uwsPins, place)).rejects.toBeInstanceOf(PinError);
});

test('a binary for a platform that has no pin counts as none, even if there is a file', async () => {
  const name = 'uws_linux_x64_999.node';
  copyFileSync(path.join(folder, 'dist/bin', binary), path.join(folder, 'dist/bin', name));
  const verified = verifyUws(uwsPins, { ...place, binary: name });
  await expect(verified).rejects.toThrow(`uWebSockets.js has no ${name}`);
  await expect(verified).rejects.not.toBeInstanceOf(PinError);
});

test('a file that is exchanged while it is being loaded is noticed', async () => {
  const verified = await verifyUws(uwsPins, place);
  await verified.confirm();
  const file = path.join(folder, 'dist/bin', binary);
  rmSync(file);
  copyFileSync(path.join(installed, 'dist/bin', binary), file);
  await expect(verified.confirm()).rejects.toThrow(`${file} was changed while it was being loaded`);
});

test('files are hashed once per process: a thread looks only whether they are still the same', async () => {
  const verifyInThread = (): Promise<unknown> => {
    const module = new URL('../../dist/src/transport/uws-files.js', import.meta.url);
    const worker = new Worker(
      `import('${module.href}').then(async ({ verifyUws }) => {
        const { parentPort, workerData } = await import('node:worker_threads');
        parentPort.postMessage(await verifyUws(...workerData).then(() => 'verified', ({ name }) => name));
      })`,
      { eval: true, workerData: [wrongPins, place] },
    );
    return new Promise((resolve, reject) => {
      worker.once('message', resolve).once('error', reject);
    });
  };
  // It would be refused if it were hashed.
  expect(await verifyInThread()).toBe('PinError');
  await verifyUws(uwsPins, place);
  expect(await verifyInThread()).toBe('verified');
  appendFileSync(path.join(folder, 'dist/bin', binary), '\n');
  expect(await verifyInThread()).toBe('PinError');
});

test('upstream’s own package, whose files lie side by side, can be pinned as well', async () => {
  const upstream = { entry: 'ESM_wrapper.mjs', names: ['ESM_wrapper.mjs', 'uws.js', binary] };
  const files = upstream.names.map((name) => {
    const content = `content of ${name}`;
    writeFileSync(path.join(folder, name), content);
    return [name, createHash('sha256').update(content).digest('hex')] as const;
  });
  const pins = { entry: upstream.entry, files: Object.fromEntries(files) };
  const where = { entry: path.join(folder, upstream.entry), binary };
  await (await verifyUws(pins, where)).confirm();
  appendFileSync(path.join(folder, 'uws.js'), '\n');
  await expect(verifyUws(pins, where)).rejects.toBeInstanceOf(PinError);
});
