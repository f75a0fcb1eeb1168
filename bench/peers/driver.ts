import type { Target } from '../load/connection.ts';

/** Peers by the names that `--peers` takes. A new one is added here and in `drivers.ts`, as a file of its own. */
export type PeerName = 'slotcast' | 'bare' | 'etcd' | 'zookeeper';

/** A registry, or what people use as one, that the same work can be given to. */
export interface PeerDriver {
  readonly name: PeerName;
  /** How it is run and by which client it is spoken to, in one line: figures mean nothing without. */
  readonly setting: string;
  /** False: it keeps nothing, so there is no memory per instance. */
  readonly storesInstances: boolean;
  /** What is missing on this machine, and how to install it; undefined: it can be started. */
  findMissing(): string | undefined;
  /** Starts a fresh, empty server of its own on 127.0.0.1, bound to a core if one is given. */
  start(core: number | undefined): Promise<PeerServer>;
  /** A client with a connection of its own. Resolves when it is connected. */
  connect(target: Target): Promise<PeerClient>;
}

export interface PeerServer {
  readonly target: Target;
  /** Ends it, and removes what it wrote. */
  stop(): Promise<void>;
}

/** One service, as a client of a peer. What it registers lives as long as its session or lease. */
export interface PeerClient {
  /** Registers an instance, or gives it other content. Resolves when that is acknowledged. */
  register(service: string, id: string, content: string): Promise<void>;
  /** Calls back with the content that an instance of the service was changed to, each time. Resolves when changes from now on are told. */
  watch(service: string, onContent: (content: string) => void): Promise<void>;
  close(): Promise<void>;
}
