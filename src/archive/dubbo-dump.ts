import { protocolLimits } from '../protocol/limits.ts';
import type { DumpReader, DumpTarget } from './dump-reader.ts';
import { LineSplitter } from './line-splitter.ts';
import { RecordIntake } from './record-intake.ts';
import type { ArchiveRecord } from './records.ts';

const urlParts = /^([a-z][a-z0-9+.-]*):\/\/([^/?]*)\/?([^?]*)(?:\?(.*))?$/i;
/** A user before it means nothing here. */
const authorityParts = /^(?:[^@]*@)?(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/;

/**
 * Reads the tree that Dubbo has in ZooKeeper: lines that are provider URLs, percent-encoded or not, paths that end with one, or lists of them in brackets: what `ls -R /dubbo` or `ls
 * /dubbo/INTERFACE/providers` of ZooKeeper's own client say.
 */
export class DubboDumpReader implements DumpReader {
  readonly #intake: RecordIntake;
  readonly #lines: LineSplitter;

  constructor(target: DumpTarget) {
    this.#intake = new RecordIntake(target);
    this.#lines = new LineSplitter((line, number) => this.#readLine(line, number));
  }

  read(part: Uint8Array): readonly ArchiveRecord[] {
    this.#lines.write(part);
    return this.#intake.drain();
  }

  end(): readonly ArchiveRecord[] {
    this.#lines.end();
    return this.#intake.drain();
  }

  #readLine(line: string, number: number): void {
    const text = line.trim();
    const [, list] = /^\[(.*)\]$/.exec(text) ?? [];
    const entries = list === undefined ? [text] : list.split(', ');
    for (const entry of entries) if (entry !== '') this.#readEntry(entry, `line ${number}`);
  }

  #readEntry(entry: string, place: string): void {
    const isPath = entry.startsWith('/');
    const at = entry.lastIndexOf('/');
    const url = parseUrl(isPath ? entry.slice(at + 1) : entry);
    if (url === undefined) {
      // The nodes on the way to those that are URLs hold nothing.
      if (!isPath) this.#intake.leaveOut('a line that is no URL of Dubbo', `${place}: ${entry}`);
      return;
    }
    const { params } = url;
    const category = params.get('category') ?? (isPath ? entry.slice(0, at).split('/').at(-1) : 'providers');
    if (category === 'providers' && url.protocol !== 'consumer') this.#addProvider(url, place);
    else
      this.#intake.leaveOut(
        'no provider, but a consumer, a router or a configurator',
        `${place}: ${url.protocol} ${url.path}`,
      );
  }

  #addProvider({ protocol, host, port, path, params }: DubboUrl, place: string): void {
    const name = params.get('interface') ?? path;
    const version = params.get('version');
    const group = params.get('group');
    const weight = Number(params.get('weight') ?? protocolLimits.weightDefault);
    this.#intake.addInstance(
      // Consumers of one version are not served by another.
      { service: version === undefined ? name : `${name}:${version}`, ...(group === undefined ? {} : { group }) },
      {
        host,
        port,
        weight,
        enabled: params.get('disabled') !== 'true' && params.get('enabled') !== 'false',
        metadata: Object.fromEntries([...params, ['protocol', protocol]]),
      },
      `${place}: ${name} at ${host}:${port}`,
    );
  }
}

interface DubboUrl {
  readonly protocol: string;
  readonly host: string;
  readonly port: number;
  /** Without its first slash. */
  readonly path: string;
  readonly params: ReadonlyMap<string, string>;
}

/** As Dubbo reads them, which decodes a node as a whole, and no value by itself. */
function parseUrl(text: string): DubboUrl | undefined {
  const [, protocol = '', authority = '', path = '', query = ''] = urlParts.exec(decode(text)) ?? [];
  const [, bracketed, plain, port] = authorityParts.exec(authority) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return undefined;
  const params = query.split('&').map((param): [string, string] => {
    const at = param.indexOf('=');
    return at < 0 ? [param, param] : [param.slice(0, at), param.slice(at + 1)];
  });
  return { protocol, host, port: Number(port ?? 0), path, params: new Map(params.filter(([, value]) => value !== '')) };
}

function decode(text: string): string {
  if (text.includes('://')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
