import { appendFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { findUws } from '../../src/transport/uws-files.ts';
import { uwsPins } from '../../src/transport/uws-pins.ts';
import { runCommand, RunningCommand } from '../support/command.ts';
import { root } from '../support/source-files.ts';

let server: Server;

beforeAll(async () => {
  server = await startServer({ port: 0, partitions: 1, logLevel: 'silent' });
});
afterAll(() => server.stop());

/** Lets every process of a command fail to load the socket library, as Node 24 and systems with musl do. */
const hook = `export function load(url, context, next) {
  return url.endsWith('/uWebSockets.js/dist/uws.mjs')
    ? { format: 'module', shortCircuit: true, source: 'export default {}; throw new Error("This version of uWS.js supports only some.")' }
    : next(url, context);
}`;
const register = `import { register } from 'node:module'; register(${JSON.stringify(asUrl(hook))});`;
const withoutLibrary = { NODE_OPTIONS: `--import=${asUrl(register)}`, NODE_NO_WARNINGS: '1' };

function asUrl(source: string): string {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

test('where uWebSockets.js has no binary, sockets are Node’s own, and the log says why', async () => {
  const registry = new RunningCommand(['start', '--in-memory', '--port', '0'], withoutLibrary);
  const [, port] = await registry.waitFor(/listens on ws:\/\/127\.0\.0\.1:(\d+)/);
  expect(registry.err).toContain('uWebSockets.js has no binary for Node');
  const { status, out } = await runCommand(['services', '--server', `127.0.0.1:${port}`], withoutLibrary);
  expect([status, out]).toEqual([0, expect.stringContaining('NAMESPACE')]);
  registry.signal('SIGTERM');
  expect(await registry.exited).toBe(0);
});

test('whoever wants uWebSockets.js alone is told in one line that it cannot run, with status 1', async () => {
  const { status, out, err } = await runCommand(
    ['start', '--in-memory', '--port', '0', '--transport', 'uws'],
    withoutLibrary,
  );
  expect(err).toMatch(/^slotcast: the transport uws cannot run here: .*\n$/);
  expect([status, out]).toEqual([1, '']);
});

/** Lets every process of a command find another copy of the library, one byte of whose scripts was added. */
function installOther(): { readonly folder: string; readonly environment: Record<string, string> } {
  const folder = mkdtempSync(path.join(tmpdir(), 'platforms-'));
  const copy = path.join(folder, 'node_modules/uWebSockets.js');
  cpSync(path.join(root, 'node_modules/uWebSockets.js'), copy, { recursive: true });
  appendFileSync(path.join(copy, 'dist/uws.mjs'), 'process.stdout.write("LOADED");');
  const hook = `export function resolve(name, context, next) {
    return next(name === 'uWebSockets.js' ? ${JSON.stringify(pathToFileURL(path.join(copy, 'dist/index.mjs')).href)} : name, context);
  }`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(asUrl(hook))});`;
  return { folder, environment: { NODE_OPTIONS: `--import=${asUrl(register)}`, NODE_NO_WARNINGS: '1' } };
}

/** Without a binary for this Node nothing would be loaded anyway. */
const isPinned = Object.keys(uwsPins.files).some((name) => name.endsWith(`/${findUws().binary}`));

test.runIf(isPinned)(
  'files of uWebSockets.js that are not the pinned ones are not loaded: auto warns and takes Node’s sockets, uws does not start',
  async () => {
    const { folder, environment } = installOther();
    try {
      const registry = new RunningCommand(['start', '--in-memory', '--port', '0', '--log-level', 'warn'], environment);
      await registry.waitFor(/listens on ws:\/\/127\.0\.0\.1:(\d+)/);
      expect(registry.err).toMatch(/uWebSockets\.js is not loaded: .*uws\.mjs has the SHA-256/);
      registry.signal('SIGTERM');
      expect(await registry.exited).toBe(0);
      expect(registry.out).not.toContain('LOADED');
      const { status, out, err } = await runCommand(
        ['start', '--in-memory', '--port', '0', '--transport', 'uws'],
        environment,
      );
      expect(err).toMatch(/^slotcast: the transport uws cannot run here: uWebSockets\.js is not loaded: .*\n$/);
      expect([status, out]).toEqual([1, '']);
      const checked = await runCommand(['start', '--check', '--in-memory', '--port', '0'], environment);
      expect(checked.out).toMatch(/transport .*uws\.mjs has the SHA-256[^]*find out who changed it/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test('commands that talk to a registry work there', async () => {
  const flags = ['--server', `127.0.0.1:${server.address.port}`];
  const held = new RunningCommand(['register', 'orders', '127.0.0.1:1', ...flags], withoutLibrary);
  await held.waitFor(/^registered 127\.0\.0\.1:1 in orders/);
  for (const [args, shown] of [
    [['services'], 'orders'],
    [['instances', 'orders'], '127.0.0.1:1'],
    [['partitions'], 'ready'],
    [['goaway'], 'asked'],
  ] as const) {
    const { status, out, err } = await runCommand([...args, ...flags], withoutLibrary);
    expect([status, err]).toEqual([0, '']);
    expect(out).toContain(shown);
  }
  held.signal('SIGTERM');
  expect(await held.exited).toBe(0);
});
