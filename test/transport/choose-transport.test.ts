import { expect, test } from 'vitest';

import { chooseTransport, PlatformError } from '../../src/transport/choose-transport.ts';
import type { Platform } from '../../src/transport/platform.ts';
import { PinError } from '../../src/transport/uws-files.ts';

const linux: Platform = { node: '22.1.0', os: 'linux', arch: 'x64', libc: 'glibc' };

/** As uws-pack 20 words it. */
const noBinary = new Error(
  "This version of uWS.js supports only Node.js versions 18, 20, 21 and 22 on (glibc) Linux.\n\nError: Cannot find module './bin/uws_linux_x64_137.node'",
);
const loadOther = (): Promise<never> => Promise.reject(new PinError('x.node has the SHA-256 1, and 2 is pinned'));
const loadNothing = (): Promise<never> => Promise.reject(noBinary);

test.each([
  ['Node 24', { ...linux, node: '24.1.0' }, 'Node 24.1.0 on linux x64 with glibc'],
  ['musl', { ...linux, libc: 'musl' as const }, 'Node 22.1.0 on linux x64 with musl'],
  ['another system', { ...linux, os: 'freebsd', libc: undefined }, 'Node 22.1.0 on freebsd x64'],
])('where uWebSockets.js has no binary, auto takes sockets of Node and says why: %s', async (_, platform, shown) => {
  const { kind, fallback, isSuspicious } = await chooseTransport('auto', platform, loadNothing);
  expect([kind, fallback, isSuspicious]).toEqual(['node', `uWebSockets.js has no binary for ${shown}`, false]);
});

test('whoever wants uws alone is told in one line that it has no binary here, and what to do', async () => {
  const chosen = chooseTransport('uws', linux, loadNothing);
  await expect(chosen).rejects.toBeInstanceOf(PlatformError);
  await expect(chosen).rejects.toThrow(/no binary for Node 22\.1\.0 on linux x64 with glibc\. Use --transport/);
  await expect(chosen).rejects.not.toThrow('\n');
});

test('where its files are not those that are pinned, auto takes sockets of Node, and uws is refused', async () => {
  const { kind, fallback, isSuspicious } = await chooseTransport('auto', linux, loadOther);
  const shown = 'uWebSockets.js is not loaded: x.node has the SHA-256 1, and 2 is pinned';
  expect([kind, fallback, isSuspicious]).toEqual(['node', shown, true]);
  const chosen = chooseTransport('uws', linux, loadOther);
  await expect(chosen).rejects.toBeInstanceOf(PlatformError);
  await expect(chosen).rejects.toThrow(shown);
});

test('anything else that fails while it is loaded is no matter of the platform', async () => {
  const bug = new TypeError('x is not a function');
  await expect(chooseTransport('auto', linux, () => Promise.reject(bug))).rejects.toBe(bug);
  const changed = new Error('/node_modules/uWebSockets.js/dist/uws.mjs was changed while it was being loaded');
  await expect(chooseTransport('auto', linux, () => Promise.reject(changed))).rejects.toBe(changed);
});

test('node is taken where it is wanted, without loading the other', async () => {
  let loads = 0;
  const load = (): Promise<never> => {
    loads += 1;
    return loadNothing();
  };
  expect(await chooseTransport('node', linux, load)).toMatchObject({ kind: 'node', fallback: undefined });
  expect(loads).toBe(0);
});
