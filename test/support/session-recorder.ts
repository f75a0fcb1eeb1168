import { connect } from 'slotcast/client';
import type { Client, WebSocketConstructor, WebSocketEvent, WebSocketLike } from 'slotcast/client';
import { WebSocket } from 'ws';

import { Names } from './document-exchanges.ts';
import type { Step } from './document-exchanges.ts';

/** One step of a recorded session, a line of its file. In frames `$name` stands for a value that differs from run to run. */
export type RecordedStep =
  | Exclude<Step, { kind: 'call' | 'sendBinary' }>
  /** An operator asks all sessions to connect anew. */
  | { readonly kind: 'askToGo' };

/** The server that is recorded with. */
export interface RecordedServer {
  readonly port: number;
  readonly httpUrl: string;
  stop(): Promise<void>;
}

/** Nothing was said for this long: what a step of the scenario brings about has been said. */
const quietMs = 300;

const namedByValue = new Set(['session', 'secret', 'resume', 'registry', 'heartbeatMs', 'cursor']);
const namedByPlace = new Set(['message', 'reconnectAfterMs']);
const versions = new Set(['version', 'from', 'to']);

/** Asks all sessions to reconnect, at once. */
export async function askToGo(httpUrl: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${httpUrl}/v1/sessions/goaway`, {
    method: 'POST',
    headers,
    body: '{"spreadMs":0}',
  });
  if (!answer.ok) throw new Error(`nobody was asked to go: ${answer.status} ${await answer.text()}`);
}

/** Writes down what clients of the SDK and a server say to each other. */
class SessionRecorder {
  readonly steps: RecordedStep[] = [];
  /** Placeholders by what they stand for. */
  readonly #placeholders: Map<string, string> = new Map();
  /** How many placeholders of each kind there are. */
  readonly #counts: Map<string, number> = new Map();
  /** The service that each request is about: versions of different services may be equal by chance. */
  readonly #services: Map<string, string> = new Map();
  readonly #newest: Map<string, RecordedSocket> = new Map();
  /** What placeholders stand for, to see that frames can be restored from them. */
  readonly #names: Names = new Names();
  #lastAtMs = 0;

  note(step: RecordedStep): void {
    this.steps.push(step);
    this.#lastAtMs = performance.now();
  }

  /** A client whose frames are written down. */
  connect(name: string, port: number, options: Partial<Parameters<typeof connect>[0]> = {}): Client {
    return connect({
      servers: [`ws://127.0.0.1:${port}`],
      app: name,
      // Else a quick return is no break that others could do anything in.
      backoffMinMs: 300,
      random: () => 0,
      WebSocket: this.#watch(name),
      ...options,
    });
  }

  /** Breaks the connection of a client. */
  cut(name: string): void {
    this.#newest.get(name)?.terminate();
  }

  /** Loses what the server still says to a client on its present connection. */
  deafen(name: string): void {
    const socket = this.#newest.get(name);
    if (socket !== undefined) socket.isDeaf = true;
  }

  async quiet(): Promise<void> {
    this.#lastAtMs = performance.now();
    for (let leftMs = quietMs; leftMs > 0; leftMs = quietMs - (performance.now() - this.#lastAtMs)) {
      await new Promise((resolve) => {
        setTimeout(resolve, leftMs);
      });
    }
  }

  /** A class of sockets that tell what goes over them; those that never open are passed over. */
  #watch(name: string): WebSocketConstructor {
    const watch = (socket: RecordedSocket): Watch => {
      this.#newest.set(name, socket);
      const number = this.#count(`connection of ${name}`);
      return new Watch(`${name}-${number}`, {
        note: (step) => {
          this.note(step);
        },
        formatSent: (client, text) => this.#formatSent(client, text),
        formatReceived: (client, text) => this.#formatReceived(client, text),
      });
    };
    return class extends RecordedSocket {
      constructor(url: string) {
        super(url, watch);
      }
    };
  }

  #formatSent(client: string, text: string): string {
    const value: unknown = JSON.parse(text);
    for (const request of Array.isArray(value) ? value : [value]) {
      const { id, params } = request as { id?: number; params?: { service?: string } };
      this.#services.set(`${client} ${id}`, params?.service ?? '');
    }
    const worded = this.#word(client, value);
    if (this.#names.fill(worded) !== text) throw new Error(`cannot be restored: ${text}`);
    return worded;
  }

  #formatReceived(client: string, text: string): string {
    const value: unknown = JSON.parse(text);
    const worded = this.#word(client, value);
    if (!this.#names.matches(worded, value)) throw new Error(`cannot be matched: ${text}`);
    return worded;
  }

  #word(client: string, value: unknown): string {
    const messages = Array.isArray(value) ? value : [value];
    const replaced = messages.map((message: { id?: number; params?: { service?: string } }) => {
      const service = message.params?.service ?? this.#services.get(`${client} ${message.id}`) ?? '';
      return this.#replace(message, '', service);
    });
    // A text that begins so is a placeholder: they stand bare.
    return JSON.stringify(Array.isArray(value) ? replaced : replaced[0]).replaceAll(/"(\$\w+)"/g, '$1');
  }

  #replace(value: unknown, field: string, service: string): unknown {
    if (Array.isArray(value)) return value.map((entry) => this.#replace(entry, '', service));
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([name, entry]) => [
          name,
          // What the server may be set to is nothing that clients rely on.
          this.#replace(entry, field === 'limits' ? 'bound' : name, service),
        ]),
      );
    }
    if (namedByPlace.has(field)) return `$${field}${this.#count(field)}`;
    if (versions.has(field) && typeof value === 'number') return this.#placeholderOf(service, `version ${value}`);
    if (field === 'bound' && typeof value === 'number') return this.#placeholderOf(field, String(value));
    return namedByValue.has(field) ? this.#placeholderOf(field === 'resume' ? 'secret' : field, String(value)) : value;
  }

  #placeholderOf(kind: string, value: string): string {
    const what = `${kind} ${value}`;
    const placeholder = this.#placeholders.get(what) ?? `$${kind}${this.#count(kind)}`;
    this.#placeholders.set(what, placeholder);
    return placeholder;
  }

  #count(kind: string): number {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    return count;
  }
}

/** A socket as the SDK uses it. */
class RecordedSocket implements WebSocketLike {
  /** What comes is written down, but the client hears nothing of it. */
  isDeaf = false;
  readonly #socket: WebSocket;
  #watch: Watch | undefined;

  constructor(url: string, watch: (socket: RecordedSocket) => Watch) {
    this.#socket = new WebSocket(url);
    // Before the client's own listeners, so that what it does then is written down after it.
    this.#socket.on('open', () => {
      this.#watch = watch(this);
      this.#watch.opened(new URL(url).pathname);
    });
    this.#socket.on('message', (bytes: Buffer) => this.#watch?.received(bytes.toString()));
    this.#socket.on('close', (code) => this.#watch?.closed(code));
  }

  send(text: string): void {
    this.#watch?.sent(text);
    this.#socket.send(text);
  }

  close(code?: number, reason?: string): void {
    this.#watch?.closes(code ?? 1005);
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#watch?.breaks();
    this.#socket.terminate();
  }

  addEventListener(type: 'open' | 'message' | 'close' | 'error', listener: (event: WebSocketEvent) => void): void {
    this.#socket.addEventListener(type as 'message', (event) => {
      if (type !== 'message' || !this.isDeaf) listener(event);
    });
  }
}

interface Notebook {
  note(step: RecordedStep): void;
  formatSent(client: string, text: string): string;
  formatReceived(client: string, text: string): string;
}

/** One connection, as it is written down. */
class Watch {
  readonly #client: string;
  readonly #notebook: Notebook;
  /** Broken off by this side, which hears nothing any more. */
  #isBroken = false;

  constructor(client: string, notebook: Notebook) {
    this.#client = client;
    this.#notebook = notebook;
  }

  opened(path: string): void {
    this.#notebook.note({ kind: 'open', client: this.#client, path });
  }

  sent(text: string): void {
    if (this.#isBroken) return;
    this.#notebook.note({ kind: 'send', client: this.#client, frame: this.#notebook.formatSent(this.#client, text) });
  }

  received(text: string): void {
    if (this.#isBroken) return;
    const frame = this.#notebook.formatReceived(this.#client, text);
    this.#notebook.note({ kind: 'receive', client: this.#client, frame });
  }

  closes(code: number): void {
    this.#notebook.note({ kind: 'close', client: this.#client, code });
  }

  breaks(): void {
    if (!this.#isBroken) this.#notebook.note({ kind: 'break', client: this.#client });
    this.#isBroken = true;
  }

  closed(code: number): void {
    if (!this.#isBroken) this.#notebook.note({ kind: 'closed', client: this.#client, code });
    this.#isBroken = true;
  }
}

function ignoreError(call: Promise<unknown>): Promise<unknown> {
  return call.catch((error: unknown) => error);
}

/** What a service does in its life, with all that the SDK can ask for: its frames are what is written down. */
export async function recordLife(server: RecordedServer): Promise<readonly RecordedStep[]> {
  const recorder = new SessionRecorder();
  const { port, httpUrl } = server;
  const open = async (name: string): Promise<Client> => {
    const client = recorder.connect(name, port);
    await client.whenConnected();
    return client;
  };
  const after = async <T>(step: Promise<T>): Promise<T> => {
    const result = await step;
    await recorder.quiet();
    return result;
  };

  const provider = await after(open('provider'));
  const one = { host: '10.0.0.1', port: 8080, zone: 'eu-1', metadata: { tier: 'gold', version: '2.1' } };
  // Together: one batch.
  await after(
    Promise.all([
      provider.register('orders', one),
      provider.register({ namespace: 'shop', group: 'blue', service: 'billing' }, { id: 'b', host: 'h', port: 1 }),
    ]),
  );
  await after(ignoreError(provider.register('orders', { host: '10.0.0.9', port: 80, weight: 10_001 })));
  const deltas = await after(open('deltas'));
  await after(Promise.all([deltas.subscribe('orders'), deltas.subscribe('absent')]));
  await after(deltas.subscribe('filtered', { zone: 'eu-1', enabledOnly: true, selector: { tier: 'gold' } }));
  const snapshots = await after(open('snapshots'));
  await after(snapshots.subscribe('orders', { mode: 'snapshot' }));
  const two = await after(provider.register('orders', { id: 'two', host: '10.0.0.2', port: 8080, weight: 50 }));
  await after(provider.register('filtered', one));
  await after(provider.register('filtered', { ...one, enabled: false }));
  await after(two.deregister());

  const rival = await after(open('rival'));
  await after(rival.register('orders', { ...one, weight: 7 }));
  await after(rival.deregister('orders', '10.0.0.1:8080'));
  await after(rival.query('orders'));
  await after(rival.query('orders', { zone: 'us-1' }));
  const { cursor } = await after(rival.list({ limit: 1 }));
  if (cursor === undefined) throw new Error('there should be a second page');
  await after(rival.list({ limit: 10, cursor }));

  // A break in which nothing changes, and one in which something goes.
  recorder.cut('provider');
  await recorder.quiet();
  await after(provider.whenConnected());
  const disconnected = new Promise((resolve) => {
    provider.on('disconnected', resolve);
  });
  recorder.cut('provider');
  await disconnected;
  await provider.deregister({ namespace: 'shop', group: 'blue', service: 'billing' }, 'b');
  await after(provider.whenConnected());
  await recorder.quiet();
  // An answer that is lost: the client must find out what its session holds.
  recorder.deafen('provider');
  const unsure = provider.register('orders', { ...one, weight: 55 });
  await recorder.quiet();
  recorder.cut('provider');
  await after(unsure);
  // A subscriber misses something.
  recorder.cut('deltas');
  await provider.register('orders', { id: 'three', host: '10.0.0.3', port: 8080 });
  await after(deltas.whenConnected());
  await recorder.quiet();

  await rival.close();
  await recorder.quiet();
  recorder.note({ kind: 'askToGo' });
  await after(askToGo(httpUrl));
  await recorder.quiet();
  const list = await after(snapshots.subscribe('orders'));
  list.close();
  await recorder.quiet();
  await after(provider.close());
  recorder.note({ kind: 'stop' });
  await server.stop();
  await Promise.all([deltas.close(), snapshots.close()]);
  return recorder.steps;
}
