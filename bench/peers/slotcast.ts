import { connect } from '../../src/client/index.ts';
import { createSlotcast, startSubject } from '../subjects.ts';
import { contentOf, toInstance } from './content.ts';
import type { PeerDriver } from './driver.ts';

const connectTimeoutMs = 30_000;

export const slotcast: PeerDriver = {
  name: 'slotcast',
  setting:
    'as it starts by default, 1 partition; its own SDK, a session for each client; instances live with the session',
  storesInstances: true,
  findMissing: () => undefined,
  start: (core) => startSubject(createSlotcast({}), core),
  connect: async ({ host, port }) => {
    const client = connect({ servers: [`ws://${host}:${port}`], requestTimeoutMs: connectTimeoutMs });
    await client.whenConnected();
    return {
      register: async (service, id, content) => {
        await client.register(service, toInstance(id, content));
      },
      watch: async (service, onContent) => {
        const subscription = await client.subscribe(service);
        subscription.on('change', ({ put }) => {
          for (const { metadata } of put) onContent(contentOf(metadata));
        });
      },
      close: () => client.close(),
    };
  },
};
