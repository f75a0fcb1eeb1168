import type { SessionHost, HostState } from './session-host.ts';

/** How long a session host may take to say what it holds before its last answer is taken instead, in milliseconds. */
const answerTimeoutMs = 1000;

/** Asks session hosts, whose threads may hang, what they hold: nobody waits for one without end, and questions do not pile up. */
export class StateReader {
  readonly #hosts: readonly AskedHost[];

  constructor(hosts: readonly Pick<SessionHost, 'readState'>[]) {
    this.#hosts = hosts.map((host) => new AskedHost(host));
  }

  /** Hosts that have been asked and have not answered; what is read of them is from before. */
  get silentCount(): number {
    return this.#hosts.filter(({ isAsked }) => isAsked).length;
  }

  /** What each host holds, once it has done everything that was sent before. One that has never responded is left out. */
  async read(): Promise<HostState[]> {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, answerTimeoutMs);
    });
    await Promise.race([Promise.all(this.#hosts.map((host) => host.ask())), over]);
    clearTimeout(timer);
    return this.#hosts.flatMap(({ last }) => last ?? []);
  }
}

class AskedHost {
  readonly #host: Pick<SessionHost, 'readState'>;
  #asked: Promise<void> | undefined;
  /** A question that came while an older one was in flight: that answer may be from before. */
  #next: Promise<void> | undefined;
  last: HostState | undefined;

  constructor(host: Pick<SessionHost, 'readState'>) {
    this.#host = host;
  }

  get isAsked(): boolean {
    return this.#asked !== undefined;
  }

  ask(): Promise<void> {
    if (this.#asked === undefined) {
      this.#asked = this.#read().finally(() => (this.#asked = undefined));
      return this.#asked;
    }
    this.#next ??= this.#asked.then(() => {
      this.#next = undefined;
      return this.ask();
    });
    return this.#next;
  }

  async #read(): Promise<void> {
    this.last = await this.#host.readState();
  }
}
