import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { expect, test } from 'vitest';

import { Names } from '../support/document-exchanges.ts';
import { ExchangeClient } from '../support/exchange-client.ts';
import { ioThreads } from '../support/io-threads.ts';
import { askToGo, recordLife } from '../support/session-recorder.ts';
import type { RecordedStep } from '../support/session-recorder.ts';

const folder = fileURLToPath(new URL('recorded/', import.meta.url));
/** A new recording is made, under this name. */
const wanted = process.env['RECORD_SESSION'];

function start(): Promise<Server> {
  return startServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0 });
}

/** Says what the clients said, byte for byte, and hears whether what they were told still comes: more of it may, but nothing less. */
class Replay {
  readonly #server: Server;
  readonly #clients: Map<string, ExchangeClient> = new Map();
  readonly #names: Names = new Names();

  constructor(server: Server) {
    this.#server = server;
  }

  async walk(step: RecordedStep): Promise<void> {
    const { port, httpUrl } = this.#server.address;
    switch (step.kind) {
      case 'open': {
        const client = new ExchangeClient(`ws://127.0.0.1:${port}${step.path}`);
        this.#clients.set(step.client, client);
        await client.opened();
        return;
      }
      case 'send':
        this.#find(step.client).socket.send(this.#names.fill(step.frame));
        return;
      case 'receive':
        await this.#find(step.client).take((frame) => this.#names.matches(step.frame, JSON.parse(frame), 'tolerant'));
        return;
      case 'close':
        this.#find(step.client).socket.close(step.code);
        return;
      case 'break':
        this.#find(step.client).socket.terminate();
        return;
      case 'closed': {
        const code = await this.#find(step.client).closed();
        if (code !== step.code) throw new Error(`closed with ${code}`);
        return;
      }
      case 'askToGo':
        await askToGo(httpUrl!);
        return;
      case 'stop':
        void this.#server.stop();
        return;
      default:
        step satisfies never;
    }
  }

  /** What came and was not in the recording: a client that does not know a message must not be sent it. */
  get unread(): string[] {
    return [...this.#clients.values()].flatMap(({ unread }) => unread);
  }

  #find(name: string): ExchangeClient {
    const client = this.#clients.get(name);
    if (client === undefined) throw new Error(`${name} is not connected`);
    return client;
  }
}

function read(name: string): RecordedStep[] {
  const lines = readFileSync(`${folder}${name}`, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as RecordedStep);
}

test.runIf(wanted !== undefined)('a recording is made, of clients that get as far as to close', async () => {
  const server = await start();
  const steps = await recordLife({
    port: server.address.port,
    httpUrl: server.address.httpUrl!,
    stop: () => server.stop(),
  });
  const lines = steps.map((step) => `${JSON.stringify(step)}\n`);
  writeFileSync(`${folder}${wanted}.jsonl`, lines.join(''), { flag: 'wx' });
  expect(steps.at(-1)).toMatchObject({ kind: 'closed' });
});

test.each(readdirSync(folder))('[WP4] the clients of %s are told all that they were told then', async (name) => {
  const server = await start();
  try {
    const replay = new Replay(server);
    for (const [index, step] of read(name).entries()) {
      await replay.walk(step).catch((error: unknown) => {
        throw new Error(`${name}:${index + 1}: ${JSON.stringify(step)}\n${String(error)}`, { cause: error });
      });
    }
    expect(replay.unread).toEqual([]);
  } finally {
    await server.stop();
  }
});
