import type { ServerConfig } from '../src/config/config.ts';
import type { Target } from './load/connection.ts';
import { receive, startProcess, stopProcess } from './processes.ts';

/** What a server process tells its parent once it accepts connections. */
export interface ServerReport {
  readonly kind: 'listening';
  readonly host: string;
  readonly port: number;
  /** Where it is asked over HTTP, if it is. */
  readonly httpUrl?: string | undefined;
}

/** A server that can be measured: a process that reports where it listens and speaks the exchange of `load/requests.ts`. */
export interface Subject {
  readonly name: SubjectName;
  readonly entry: URL;
  readonly args: readonly string[];
}

/** `nodeSockets`: slotcast with Node's own sockets rather than those of uWebSockets.js. */
export type SubjectName = 'slotcast' | 'nodeSockets' | 'bare';

export const subjectNames: readonly SubjectName[] = ['slotcast', 'nodeSockets', 'bare'];

export function createSubjects(partitions: number, ioThreads: number = 0): Readonly<Record<SubjectName, Subject>> {
  return {
    slotcast: createSlotcast({ partitions, ioThreads }),
    nodeSockets: { ...createSlotcast({ partitions, ioThreads, transport: 'node' }), name: 'nodeSockets' },
    bare: { name: 'bare', entry: new URL('baseline/bare-process.js', import.meta.url), args: [] },
  };
}

/** Settings in which a registry that is measured differs from one with a single partition, no I/O threads, and nothing that outlives it. */
export type SlotcastSettings = Readonly<
  Partial<Pick<ServerConfig, 'partitions' | 'ioThreads' | 'transport' | 'dataDir' | 'audit' | 'tlsCert' | 'tlsKey'>>
>;

export function createSlotcast(settings: SlotcastSettings): Subject {
  const entry = new URL('slotcast-process.js', import.meta.url);
  return { name: 'slotcast', entry, args: [JSON.stringify(settings)] };
}

export interface RunningSubject {
  readonly target: Target;
  stop(): Promise<void>;
}

const startTimeoutMs = 20_000;

export async function startSubject({ name, entry, args }: Subject, core: number | undefined): Promise<RunningSubject> {
  const child = startProcess(entry, args, core);
  const { host, port } = await receive<ServerReport>(child, `the ${name} server`, startTimeoutMs);
  return { target: { host, port, pid: child.pid! }, stop: () => stopProcess(child) };
}
