/** Numbers of a session: the host where it began, and which it is there, from 1 on; 0 stands for what is persistent (`persistent-owner.ts`), on the main thread's host. */
export const sessionsPerHostMax: number = 2 ** 40;
/** Hosts that any life of the process may have had. */
export const hostsMax = 128;

/** The host that holds sessions which began before the process did, wherever they began. */
export const recallingHost = 0;

/** Where sessions began, in memory that threads share: those of lives before are told from those of this one by their numbers. */
export class SessionOrigins {
  readonly memory: SharedArrayBuffer;
  /** By host: the number of the last session that may have begun there in a life before. */
  readonly #before: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(hostsMax * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#before = new Float64Array(memory);
  }

  /** Sessions up to this one of a host belong to lives before. Must be said before any of this life begins. */
  setBefore(host: number, sessions: number): void {
    this.#before[host] = Math.max(this.#before[host] ?? 0, sessions);
  }

  sessionsBefore(host: number): number {
    return this.#before[host] ?? 0;
  }

  isOfBefore(session: number): boolean {
    return session % sessionsPerHostMax <= (this.#before[Math.floor(session / sessionsPerHostMax)] ?? 0);
  }

  /** The host that a session is to be looked for at, unless it has travelled since. */
  hostOf(session: number): number {
    return this.isOfBefore(session) ? recallingHost : Math.floor(session / sessionsPerHostMax);
  }
}
