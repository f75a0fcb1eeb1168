import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import zooKeeper from 'node-zookeeper-client';
import type { Client } from 'node-zookeeper-client';

import type { Target } from '../load/connection.ts';
import type { PeerClient, PeerDriver } from './driver.ts';
import { createDataFolder, findFreePorts, hasProgram, startProgram } from './server-program.ts';

/** Of Debian's package libzookeeper-java; it names what else it needs. */
const jar = '/usr/share/java/zookeeper.jar';
const mainClass = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
const sessionTimeoutMs = 30_000;
const connectTimeoutMs = 5000;
const connectAttemptsMax = 4;
/** Its server may close the connection before its client has heard that the session is over, which then never says so. */
const closeTimeoutMs = 2000;
const root = '/services';
const openAcls = [new zooKeeper.ACL(zooKeeper.Permission.ALL, new zooKeeper.Id('world', 'anyone'))];

function pathOf(service: string): string {
  return `${root}/${service}`;
}

/** Instances are ephemeral nodes with data, services their parents, as in Curator's service discovery. */
export const zookeeper: PeerDriver = {
  name: 'zookeeper',
  setting:
    'standalone, defaults, data in memory where there is /dev/shm; node-zookeeper-client, a session for each client; watchers read the data again after each event',
  storesInstances: true,
  findMissing: () => {
    if (!existsSync(jar)) return 'ZooKeeper is not installed: apt-get install zookeeper';
    return hasProgram('java', ['-version']) ? undefined : 'Java is not installed: apt-get install default-jre-headless';
  },
  start: async (core) => {
    const [port = 0] = await findFreePorts(1);
    const folder = createDataFolder('zookeeper');
    const file = join(folder, 'zoo.cfg');
    const settings = {
      tickTime: 2000,
      dataDir: join(folder, 'data'),
      clientPort: port,
      clientPortAddress: '127.0.0.1',
      // By default 60 from one address.
      maxClientCnxns: 0,
      'admin.enableServer': false,
    };
    writeFileSync(
      file,
      Object.entries(settings)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
    return startProgram({ name: 'ZooKeeper', command: ['java', '-cp', jar, mainClass, file], port, folder, core });
  },
  connect: async (target) => new ZooKeeperClient(await openZooKeeper(target)),
};

/** Opens a session, which the caller closes. */
export async function openZooKeeper({ host, port }: Pick<Target, 'host' | 'port'>): Promise<Client> {
  for (let attempt = 1; ; attempt++) {
    const client = zooKeeper.createClient(`${host}:${port}`, {
      sessionTimeout: sessionTimeoutMs,
      spinDelay: 1000,
      retries: 0,
    });
    if (await opens(client)) return client;
    client.close();
    if (attempt === connectAttemptsMax) throw new Error(`ZooKeeper gave no session in ${attempt} attempts`);
  }
}

/** Whether the client gets a session in time. Now and then it never does, though its server is there, and another one does at once. */
function opens(client: Client): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), connectTimeoutMs);
    client.once('connected', () => {
      clearTimeout(timer);
      resolve(true);
    });
    client.connect();
  });
}

class ZooKeeperClient implements PeerClient {
  readonly #client: Client;
  readonly #created: Set<string> = new Set();

  constructor(client: Client) {
    this.#client = client;
  }

  async register(service: string, id: string, content: string): Promise<void> {
    const path = `${pathOf(service)}/${id}`;
    if (this.#created.has(path)) {
      await this.#call((done) => this.#client.setData(path, Buffer.from(content), -1, done));
      return;
    }
    await this.#obtainParent(pathOf(service));
    await this.#call((done) =>
      this.#client.create(path, Buffer.from(content), openAcls, zooKeeper.CreateMode.EPHEMERAL, done),
    );
    this.#created.add(path);
  }

  async watch(service: string, onContent: (content: string) => void): Promise<void> {
    const parent = pathOf(service);
    const children = await new Promise<readonly string[]>((resolve, reject) => {
      this.#client.getChildren(parent, (error, names) => (error instanceof Error ? reject(error) : resolve(names)));
    });
    await Promise.all(children.map((name) => this.#watchData(`${parent}/${name}`, onContent, true)));
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, closeTimeoutMs);
      this.#client.once('disconnected', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#client.close();
    });
  }

  /** A watch tells once, and not what: so the data is read, and watched again, after each event. */
  #watchData(path: string, onContent: (content: string) => void, isFirst: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.getData(
        path,
        () => {
          this.#watchData(path, onContent, false).catch(() => undefined);
        },
        (error, data) => {
          if (error instanceof Error) {
            reject(error);
            return;
          }
          if (!isFirst) onContent(data.toString('latin1'));
          resolve();
        },
      );
    });
  }

  async #obtainParent(path: string): Promise<void> {
    if (this.#created.has(path)) return;
    await new Promise<void>((resolve, reject) => {
      this.#client.mkdirp(path, (error) => (error instanceof Error ? reject(error) : resolve()));
    });
    this.#created.add(path);
  }

  #call(start: (done: (error: unknown) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      start((error) => (error instanceof Error ? reject(error) : resolve()));
    });
  }
}
