import { expect, test } from 'vitest';

import { loadServer, PlatformError } from '../../src/main/server-loading.ts';
import type { Platform } from '../../src/main/server-loading.ts';

const linux: Platform = { node: '22.1.0', os: 'linux', arch: 'x64', libc: 'glibc' };

/** As uws-pack 20 words it. */
const noBinary = new Error(
  "This version of uWS.js supports only Node.js versions 18, 20, 21 and 22 on (glibc) Linux.\n\nError: Cannot find module './bin/uws_linux_x64_137.node'",
);

test.each([
  [
    'Node 24',
    { ...linux, node: '24.1.0' },
    /no binary for Node 24\.1\.0 on linux x64 with glibc\. It has them for Node 20 and 22/,
  ],
  [
    'musl',
    { ...linux, libc: 'musl' as const },
    /on linux x64 with musl\. On Linux it needs glibc: use an image that has it/,
  ],
  ['another system', { ...linux, os: 'freebsd', libc: undefined }, /Node 22\.1\.0 on freebsd x64\. It has them/],
])('where the socket library has no binary, one line says so and what to do: %s', async (_, platform, message) => {
  const loading = loadServer(() => Promise.reject(noBinary), platform);
  await expect(loading).rejects.toThrow(message);
  await expect(loading).rejects.toBeInstanceOf(PlatformError);
  await expect(loading).rejects.not.toThrow('\n');
});

test('anything else that fails while the server is loaded is no matter of the platform', async () => {
  const bug = new TypeError('x is not a function');
  await expect(loadServer(() => Promise.reject(bug), linux)).rejects.toBe(bug);
});

test('where it can be loaded, it is', async () => {
  const server = await loadServer(() => import('../../src/main/index.ts'));
  expect(server.startServer).toBeTypeOf('function');
});
