import { BlockList, isIP } from 'node:net';

/** Names of ranges that a setting may list, besides `0.0.0.0/0` and the like. */
const named: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'],
};

/** Never reached, unless a listed range lies within one of them: clouds give secrets to whoever asks there. */
const guarded: readonly string[] = [
  '169.254.0.0/16',
  'fe80::/10',
  '::/128',
  '0.0.0.0/8',
  '224.0.0.0/3',
  'ff00::/8',
  '100.100.100.200/32',
  'fd00:ec2::/32',
  // Addresses of IPv4 that gateways reach by those of IPv6: NAT64, 6to4, and the older notation.
  '64:ff9b::a9fe:0/112',
  '64:ff9b::6464:64c8/128',
  '2002:a9fe::/32',
  '::a9fe:0/112',
];

/** What is wrong with an entry of the setting; undefined: nothing. */
export function explainUselessTarget(entry: string): string | undefined {
  if (Object.hasOwn(named, entry)) return undefined;
  return parseRange(entry) === undefined
    ? `${JSON.stringify(entry)} is neither private, loopback, an address nor a range such as 10.0.0.0/8`
    : undefined;
}

interface Range {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

function parseRange(entry: string): Range | undefined {
  const [address = '', length, ...rest] = entry.split('/');
  const kind = isIP(address);
  const bits = kind === 4 ? 32 : 128;
  if (kind === 0 || rest.length > 0) return undefined;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined;
  const prefix = length === undefined ? bits : Number(length);
  return prefix > bits ? undefined : { address, prefix, family: kind === 4 ? 'ipv4' : 'ipv6' };
}

/**
 * Which addresses checks may reach. The server asks what a caller names, from where the server is, so it must not be led to what only the server reaches. Names are judged by
 * the address that they resolve to, and that one is asked.
 */
export class ProbeTargets {
  readonly #allowed: BlockList = new BlockList();
  readonly #guarded: BlockList = new BlockList();
  /** Listed ranges that lie within guarded ones. */
  readonly #lifted: BlockList = new BlockList();

  /** `entries`: of the setting `checkTargets`, all of which are valid. */
  constructor(entries: readonly string[]) {
    for (const entry of guarded) add(this.#guarded, parseRange(entry));
    for (const entry of entries.flatMap((entry) => named[entry] ?? [entry])) {
      const range = parseRange(entry);
      add(this.#allowed, range);
      if (range !== undefined && isGuarded(range)) add(this.#lifted, range);
    }
  }

  /** Whether an address, no name, may be reached. */
  allows(address: string): boolean {
    // An address of IPv4 in the clothes of IPv6 leads to the same machine.
    const plain = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(address)?.[1] ?? address;
    const kind = isIP(plain);
    if (kind === 0) return false;
    const family = kind === 4 ? 'ipv4' : 'ipv6';
    if (this.#guarded.check(plain, family) && !this.#lifted.check(plain, family)) return false;
    return this.#allowed.check(plain, family);
  }
}

/** Whether all of it lies within one guarded range. */
function isGuarded(range: Range): boolean {
  return guarded.some((entry) => {
    const outer = parseRange(entry);
    if (outer === undefined || outer.family !== range.family || outer.prefix > range.prefix) return false;
    const list = new BlockList();
    add(list, outer);
    return list.check(range.address, range.family);
  });
}

function add(list: BlockList, range: Range | undefined): void {
  if (range !== undefined) list.addSubnet(range.address, range.prefix, range.family);
}
