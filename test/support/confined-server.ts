import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import type { startServer } from 'slotcast';

/** With ports of its own choice: one that the system chose could not be listened on again while there are connections to it. */
type ConfinedConfig = NonNullable<Parameters<typeof startServer>[0]> & {
  readonly port: number;
  readonly httpPort: number;
};

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What runs in the other process: a server, and whatever else the test tells it, line by line. */
const program = `
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { startFaultyServer } from 'slotcast/testing';

const onFatal = (error) => {
  console.log('fatal ' + error.message);
};
const server = await startFaultyServer(JSON.parse(process.argv[1]), { onFatal });
const hoard = [];
const orders = {
  hoard: () => {
    try {
      for (;;) hoard.push(openSync('/dev/null', 'r'));
    } catch {
      console.log('hoarded');
    }
  },
  release: () => {
    for (const descriptor of hoard.splice(0)) closeSync(descriptor);
  },
  kill: () => server.inflict(0, 'exit'),
};
console.log('listens');
createInterface({ input: process.stdin }).on('line', (line) => orders[line]());
`;

/** A server in a process of its own that may open so many file descriptors. */
export class ConfinedServer {
  readonly process: ChildProcess;
  readonly port: number;
  readonly httpPort: number;
  readonly lines: string[] = [];
  #wake: () => void = () => undefined;
  #hasEnded = false;

  private constructor(descriptorsMax: number, config: ConfinedConfig) {
    this.port = config.port;
    this.httpPort = config.httpPort;
    const command = ['--input-type=module', '-e', program, JSON.stringify(config)];
    this.process = spawn(
      'bash',
      ['-c', `ulimit -n ${descriptorsMax}; exec "$@"`, 'bash', process.execPath, ...command],
      { cwd: root, stdio: ['pipe', 'pipe', 'ignore'], timeout: 60_000 },
    );
    createInterface({ input: this.process.stdout! }).on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.process.once('exit', () => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  static async start(descriptorsMax: number, config: ConfinedConfig): Promise<ConfinedServer> {
    const server = new ConfinedServer(descriptorsMax, { logLevel: 'silent', warmUpMs: 0, ...config });
    await server.#read('listens');
    return server;
  }

  /** Every descriptor that is free is taken, by the process itself. */
  async hoard(): Promise<void> {
    this.#tell('hoard');
    await this.#read('hoarded');
  }

  release(): void {
    this.#tell('release');
  }

  /** Ends its first partition. */
  killPartition(): void {
    this.#tell('kill');
  }

  end(): void {
    this.process.kill('SIGKILL');
  }

  #tell(order: string): void {
    this.process.stdin!.write(`${order}\n`);
  }

  /** The rest of the next line that begins so. */
  async #read(start: string): Promise<string> {
    for (;;) {
      const at = this.lines.findIndex((line) => line.startsWith(start));
      if (at >= 0) return this.lines.splice(at, 1)[0]!.slice(start.length);
      if (this.#hasEnded) throw new Error(`the server ended: ${this.lines.join('; ')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
