import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';

/**
 * Starts an embedded server in a process of its own, registers an instance and subscribes to it, then kills a partition's thread from
 * outside: Node announces each new worker to the process, those of I/O threads first, then the store's, so the product needs no switch for this.
 */
const script = `
  const workers = [];
  process.on('worker', (worker) => workers.push(worker));
  const { startServer } = await import('slotcast');
  const { default: WebSocket } = await import('ws');
  const server = await startServer({ port: 0, partitions: 2, ioThreads: ${ioThreads}, logLevel: 'fatal', partitionRestartsMax: 0 });
  const socket = new WebSocket(server.address.url);
  socket.on('message', (frame) => {
    const { id, method } = JSON.parse(String(frame));
    process.stdout.write(JSON.stringify({ id, method }) + '\\n');
    if (id === 2) HOW;
  });
  socket.on('open', () => {
    socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'instance.register', params: { service: 'pay', instance: { host: 'h', port: 1 } } }));
    socket.send(JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'service.subscribe', params: { service: 'pay' } }));
  });
`;

function parseLines(text: string): Record<string, unknown>[] {
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function run(
  how: string,
): Promise<{ code: number | null; out: { id?: number; method?: string }[]; log: Record<string, unknown>[] }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script.replace('HOW', how)], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 15_000,
  });
  let out = '';
  let log = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (log += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out: parseLines(out), log: parseLines(log) };
}

test('[PU5] partitions that keep dying stop the process with a clear fatal line, and nobody is shown an empty list', async () => {
  const { code, out, log } = await run(`for (const worker of workers.slice(${ioThreads + 1})) worker.terminate()`);
  expect(code).toBe(70);
  expect(log).toMatchObject([
    {
      level: 60,
      msg: expect.stringMatching(
        /^partition \d died: .*partitions keep dying, and the server cannot go on without their slots$/,
      ),
    },
  ]);
  expect(out.filter(({ method }) => method === 'service.changed')).toEqual([]);
});
