import type { MessagePort } from 'node:worker_threads';

import type { ServerConfig } from '../config/config.ts';
import type { CallMessage, CallResult } from '../runtime/thread-calls.ts';
import type { TlsMaterial } from '../tls/tls-material.ts';

/** What a thread that holds sessions is started with. */
export interface HostThreadStart {
  /** Of its session host. */
  readonly number: number;
  readonly config: ServerConfig;
  /** The slot table. */
  readonly table: SharedArrayBuffer;
  /** The number of the last request of any host, one 64-bit word. */
  readonly lastRequest: SharedArrayBuffer;
  /** See `StoreVersion`. */
  readonly storeVersion: SharedArrayBuffer;
  /** See `WarmUp`. */
  readonly warmUp: SharedArrayBuffer;
  /** See `NamespaceLimits`. */
  readonly namespaceLimits: SharedArrayBuffer;
  /** See `AuditState`; undefined: nothing is noted. */
  readonly audit: SharedArrayBuffer | undefined;
  /** Whether sessions that hold something are noted for the next life of the process. */
  readonly isKept: boolean;
  /** See `SessionOrigins`. */
  readonly origins: SharedArrayBuffer;
  /** Wall clock when the registry started, in µs. */
  readonly startedAtMicros: number;
  /** Names the registry and its history. */
  readonly registry: string;
  /** Whether the log level includes sessions that connect and leave. */
  readonly isVerbose: boolean;
  /** For the calls of its session host. */
  readonly hostPort: MessagePort;
  /** One 32-bit word that the thread raises while it lives. */
  readonly pulse: SharedArrayBuffer;
  /** See `ThreadGauges`. */
  readonly gauges: SharedArrayBuffer;
}

/** What an I/O thread is started with. */
export interface IoThreadStart extends HostThreadStart {
  /** See `SharedSessionCounts`. */
  readonly sessionCounts: SharedArrayBuffer;
  /** See `DescriptorBudget`. */
  readonly descriptors: SharedArrayBuffer;
  /** See `AdmissionRate`. */
  readonly admissionRate: SharedArrayBuffer;
  /** What its connections are encrypted with; undefined: they are in the clear. */
  readonly tls: TlsMaterial | undefined;
  /** See `HttpPort`. */
  readonly httpPort: SharedArrayBuffer;
  /** One 32-bit word: raised to 1 once all sockets are closed, for a main thread that cannot wait in turns any more. */
  readonly closed: SharedArrayBuffer;
}

/** What an edge thread is started with. */
export interface EdgeThreadStart extends HostThreadStart {
  /** Sessions that a thread of the same number, which has ended, had begun. */
  readonly sessionsBefore: number;
  /** What its connections are encrypted with; undefined: they are in the clear. */
  readonly tls: TlsMaterial | undefined;
}

/** What the main thread says to an I/O thread, in addition to calls of its session host. */
export type ToIoThread =
  | ({ readonly kind: 'result' } & CallResult)
  /** What new connections are encrypted with from now on. */
  | { readonly kind: 'tls'; readonly material: TlsMaterial }
  /** Close all sockets. */
  | { readonly kind: 'close' }
  /** End; all sockets are closed. */
  | { readonly kind: 'end' };

/** What an I/O thread says to the main thread, in addition to answers of its session host. */
export type FromIoThread =
  /** `taker`: by which connections are handed to it. */
  | { readonly kind: 'ready'; readonly taker: unknown }
  /** A call of `MainCalls`. */
  | ({ readonly kind: 'call' } & CallMessage)
  | { readonly kind: 'closed' }
  /** A bug: an unexpected exception. The thread continues until it is told to close. */
  | { readonly kind: 'failed'; readonly message: string; readonly stack: string };

/** What the main thread says to an edge thread, in addition to calls of its session host. */
export type ToEdgeThread =
  | ({ readonly kind: 'result' } & CallResult)
  /** What new connections are encrypted with from now on. */
  | { readonly kind: 'tls'; readonly material: TlsMaterial }
  /** `isShared`: other threads listen on the same port. */
  | { readonly kind: 'listen'; readonly host: string; readonly port: number; readonly isShared: boolean }
  /** Take no more connections; those that are open stay. */
  | { readonly kind: 'stop listening' }
  /** Close all connections, and end. */
  | { readonly kind: 'end' };

/** What an edge thread says to the main thread, in addition to answers of its session host. What it throws ends it. */
export type FromEdgeThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'cannot listen'; readonly message: string }
  | ({ readonly kind: 'call' } & CallMessage);
