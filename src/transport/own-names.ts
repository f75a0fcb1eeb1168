/** What a server is called, beside the addresses and names that cannot lead a browser astray. */
export interface OwnNamesOptions {
  /** Where it listens. */
  readonly host: string;
  /** Of the machine. */
  readonly machine: string;
  /** `.example.com` stands for all names below it, `*` for all. */
  readonly allowedHosts: readonly string[];
}

/** The names by which browsers may reach this server: a name of a stranger's may lead to this machine, too (DNS rebinding). */
export class OwnNames {
  readonly #allowed: ReadonlySet<string>;
  readonly #suffixes: readonly string[];

  constructor({ host, machine, allowedHosts }: OwnNamesOptions) {
    const allowed = allowedHosts.map((name) => name.toLowerCase());
    this.#allowed = new Set([...allowed, host.toLowerCase(), machine.toLowerCase()]);
    this.#suffixes = allowed.filter((name) => name.startsWith('.'));
  }

  /** `name`: as {@link readHostName} gives it. */
  has(name: string): boolean {
    if (isAddress(name) || !name.includes('.') || name.endsWith('.localhost')) return true;
    return this.#allowed.has('*') || this.#allowed.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix));
  }
}

/** A `Host` header without its port, in lower case; undefined if it names none. */
export function readHostName(host: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([0-9a-f:.%]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  const name = bracketed === undefined ? plain : `[${bracketed}]`;
  // A name that ends with a dot is the same name.
  return name?.toLowerCase().replace(/\.$/, '') || undefined;
}

/** Browsers take numbers in other forms for addresses, too, and send them as they are meant. */
function isAddress(name: string): boolean {
  return name.startsWith('[') || /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
}
