import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { readHostName } from '../../transport/own-names.ts';
import { matchesTag } from './tagged-answer.ts';

/** Where the console is served. */
export const consolePath = '/console';
const indexName = 'index.html';

/** An answer in bytes. */
export interface FileAnswer {
  readonly status: number;
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a request for a file says. */
export interface FileCaller {
  /** The `Host` header, which has been checked. */
  readonly host: string;
  readonly acceptEncoding: string;
  readonly ifNoneMatch: string;
}

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** Variants that the build makes beside each file, in order of preference. */
const codings = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const;

interface StoredFile {
  readonly contentType: string;
  readonly plain: Buffer;
  readonly coded: ReadonlyMap<string, Buffer>;
  readonly hash: string;
}

/** What the page may do: no script and no style but its own, no connection but to this server. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const fileHeaders: Readonly<Record<string, string>> = {
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  Vary: 'Origin, Accept-Encoding',
};

/** The files of the console, all in memory: what is not among them has no path here. */
export class ConsoleFiles {
  readonly #files: ReadonlyMap<string, StoredFile>;
  readonly #sessionScheme: 'ws' | 'wss';

  private constructor(files: ReadonlyMap<string, StoredFile>, sessionScheme: 'ws' | 'wss') {
    this.#files = files;
    this.#sessionScheme = sessionScheme;
  }

  /** `folder`: what the build made; if there is none, no file is served. `sessionScheme`: of where sessions are opened. */
  static read(folder: string, sessionScheme: 'ws' | 'wss'): ConsoleFiles {
    const names = existsSync(folder) ? readdirSync(folder) : [];
    const served = names.filter((name) => contentTypes[path.extname(name)] !== undefined);
    return new ConsoleFiles(new Map(served.map((name) => [name, readFile(folder, name, names)])), sessionScheme);
  }

  /** `sessionPort`: where sessions are opened; undefined: not yet known. Undefined: there is no such file. */
  answer(requested: string, caller: FileCaller, sessionPort: number | undefined): FileAnswer | undefined {
    const name = requested === consolePath ? indexName : requested.slice(consolePath.length + 1);
    const file = this.#files.get(name);
    if (file === undefined || (name === indexName && requested !== consolePath)) return undefined;
    const [coding, body] = chooseVariant(file, caller.acceptEncoding);
    const page =
      name === indexName ? { 'Content-Security-Policy': restrict(caller.host, this.#sessionScheme, sessionPort) } : {};
    const tag = tagOf(file.hash, coding ?? '', page['Content-Security-Policy'] ?? '');
    const headers = {
      ...fileHeaders,
      ...page,
      'Content-Type': file.contentType,
      // The names of all other files change with their content.
      'Cache-Control': name === indexName ? 'no-cache' : 'public, max-age=31536000, immutable',
      ETag: tag,
      ...(coding === undefined ? {} : { 'Content-Encoding': coding }),
    };
    if (matchesTag(caller.ifNoneMatch, tag)) return { status: 304, body: Buffer.alloc(0), headers };
    return { status: 200, body, headers };
  }
}

function readFile(folder: string, name: string, names: readonly string[]): StoredFile {
  const plain = readFileSync(path.join(folder, name));
  const coded = codings
    .filter(([, ending]) => names.includes(name + ending))
    .map(([coding, ending]): [string, Buffer] => [coding, readFileSync(path.join(folder, name + ending))]);
  const hash = createHash('sha256').update(plain).digest('base64url');
  return { contentType: contentTypes[path.extname(name)]!, plain, coded: new Map(coded), hash };
}

function tagOf(...parts: readonly string[]): string {
  return `"${createHash('sha1').update(parts.join('\n')).digest('base64url')}"`;
}

function chooseVariant(
  { plain, coded }: StoredFile,
  acceptEncoding: string,
): readonly [coding: string | undefined, body: Buffer] {
  const accepted = acceptEncoding.split(',').map((each) => each.trim().toLowerCase());
  for (const [coding] of codings) {
    const body = coded.get(coding);
    // What is accepted with a quality of its own is accepted, unless that is 0.
    const isAccepted = accepted.some(
      (each) => each === coding || /^(\w+)\s*;\s*q=(?!0(?:\.0*)?$)/.exec(each)?.[1] === coding,
    );
    if (body !== undefined && isAccepted) return [coding, body];
  }
  return [undefined, plain];
}

/** Sessions are opened at another port, which `'self'` does not cover. */
function restrict(host: string, scheme: 'ws' | 'wss', sessionPort: number | undefined): string {
  const name = readHostName(host);
  // The grammar of policies knows no addresses of IPv6.
  const source = name === undefined || name.startsWith('[') ? '*' : name;
  const sessions = sessionPort === undefined ? '' : ` ${scheme}://${source}:${sessionPort}`;
  return `${policy}; connect-src 'self'${sessions}`;
}
