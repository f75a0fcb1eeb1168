import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

/**
 * A thread that ends while it holds sockets takes the process with it, by SIGABRT. Each of these starts a server with I/O threads in a process of its own, with
 * a client connected, and then lets something end.
 */
const script = `
  const workers = [];
  process.on('worker', (worker) => workers.push(worker));
  const { startServer } = await import('slotcast');
  const { default: WebSocket } = await import('ws');
  const server = await startServer({ port: 0, partitions: 2, ioThreads: 2, logLevel: 'fatal', partitionRestartsMax: 0 });
  const sockets = [1, 2, 3, 4].map(() => new WebSocket(server.address.url));
  for (const socket of sockets) socket.on('close', (code) => process.stdout.write(code + ' '));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on('open', resolve))));
  HOW;
`;

async function run(how: string): Promise<{ code: number | null; signal: string | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script.replace('HOW', how)], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 15_000,
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (err += String(chunk)));
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code, signal, out, err });
    });
  });
}

test('the process may be ended at any time, and ends with the status that it was given', async () => {
  expect(await run('process.exit(9)')).toMatchObject({ code: 9, err: '' });
});

test('an exception on the main thread that nobody catches ends the process as ever', async () => {
  const { code, err } = await run("setImmediate(() => { throw new Error('mine') })");
  expect(code).toBe(1);
  expect(err).toContain('Error: mine');
});

test('a bug on an I/O thread closes all connections, and ends the process with status 70 and the reason', async () => {
  const { code, out, err } = await run('workers[0].postMessage(null)');
  expect({ code, out }).toEqual({ code: 70, out: '1001 1001 1001 1001 ' });
  expect(JSON.parse(err)).toMatchObject({
    level: 60,
    msg: expect.stringMatching(/^I\/O thread 1 failed: Cannot read properties of null/) as string,
  });
});

test('partitions that keep dying close the connections of all threads, and end the process with status 70', async () => {
  // I/O threads come first, then the store's.
  const { code, out, err } = await run('for (const worker of workers.slice(3)) worker.terminate()');
  expect({ code, out }).toEqual({ code: 70, out: '1001 1001 1001 1001 ' });
  expect(err).toContain('partitions keep dying');
});

test('a server that is stopped leaves no thread behind', async () => {
  expect(await run("await server.stop(); process.stdout.write('stopped')")).toMatchObject({
    code: 0,
    out: '1001 1001 1001 1001 stopped',
    err: '',
  });
});
