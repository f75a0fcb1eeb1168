import { Connection, closeConnections } from '../load/connection.ts';
import { buildTextFrame } from '../load/frames.ts';
import { createSubjects, startSubject } from '../subjects.ts';
import { contentOf, toInstance } from './content.ts';
import type { PeerDriver } from './driver.ts';

interface Frame {
  readonly id?: number;
  readonly error?: unknown;
  readonly params?: { readonly put: readonly { readonly metadata?: Readonly<Record<string, string>> }[] };
}

/** The floor: what the exchange costs on a WebSocket server that checks and keeps nothing. */
export const bare: PeerDriver = {
  name: 'bare',
  setting: 'uWebSockets.js alone: parses, answers, relays; checks and keeps nothing; a bare WebSocket for each client',
  storesInstances: false,
  findMissing: () => undefined,
  start: (core) => startSubject(createSubjects(1).bare, core),
  connect: async (target) => {
    const connection = new Connection(target);
    await connection.opened;
    const waiting = new Map<number, () => void>();
    let onChange: ((content: string) => void) | undefined;
    let requests = 0;
    connection.onText = (bytes, start, end) => {
      const frame = JSON.parse(bytes.toString('utf8', start, end)) as Frame;
      if (frame.error !== undefined) throw new Error(`the bare server refused: ${JSON.stringify(frame.error)}`);
      for (const { metadata } of frame.params?.put ?? []) onChange?.(contentOf(metadata));
      waiting.get(frame.id ?? 0)?.();
      waiting.delete(frame.id ?? 0);
    };
    const ask = (method: string, params: unknown): Promise<void> =>
      new Promise((resolve) => {
        requests += 1;
        waiting.set(requests, resolve);
        connection.send(buildTextFrame(JSON.stringify({ jsonrpc: '2.0', id: requests, method, params })));
      });
    return {
      register: (service, id, content) =>
        ask('instance.register', { service, instance: { id, ...toInstance(id, content) } }),
      watch: (service, onContent) => {
        onChange = onContent;
        return ask('service.subscribe', { service });
      },
      close: () => closeConnections([connection]),
    };
  },
};
