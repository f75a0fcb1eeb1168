import { Etcd3 } from 'etcd3';

import type { PeerDriver } from './driver.ts';
import { createDataFolder, findFreePorts, hasProgram, startProgram } from './server-program.ts';

/** Time to live of a client's lease in seconds; the client keeps it alive. */
const leaseSeconds = 60;

function keyOf(service: string, id: string): string {
  return `/services/${service}/${id}`;
}

/** Instances are keys under a lease of their client, services their common prefix, as etcd's own guides have it. */
export const etcd: PeerDriver = {
  name: 'etcd',
  setting:
    'one member, defaults, data in memory where there is /dev/shm; etcd3, a channel and a lease for each client; watchers watch the prefix',
  storesInstances: true,
  findMissing: () =>
    hasProgram('etcd', ['--version']) ? undefined : 'etcd is not installed: apt-get install etcd-server',
  start: async (core) => {
    const [port = 0, peerPort = 0] = await findFreePorts(2);
    const folder = createDataFolder('etcd');
    const client = `http://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    const options = [
      ['--data-dir', folder],
      ['--listen-client-urls', client],
      ['--advertise-client-urls', client],
      ['--listen-peer-urls', peer],
      ['--initial-advertise-peer-urls', peer],
      ['--initial-cluster', `default=${peer}`],
      ['--log-level', 'error'],
    ];
    return startProgram({ name: 'etcd', command: ['etcd', ...options.flat()], port, folder, core });
  },
  connect: async ({ host, port }) => {
    const client = new Etcd3({
      hosts: `http://${host}:${port}`,
      // Each client a connection of its own, as it has in a process of its own.
      grpcOptions: { 'grpc.use_local_subchannel_pool': 1 },
    });
    const lease = client.lease(leaseSeconds);
    await lease.grant();
    return {
      register: async (service, id, content) => {
        await lease.put(keyOf(service, id)).value(content);
      },
      watch: async (service, onContent) => {
        const watcher = await client.watch().prefix(keyOf(service, '')).create();
        watcher.on('put', ({ value }) => onContent(value.toString('latin1')));
      },
      close: async () => {
        await lease.revoke().catch(() => undefined);
        client.close();
      },
    };
  },
};
