/**
 * Writes a CycloneDX list of what is shipped: what the lockfile installs without development, and what is bundled with the console. The argument is the file. The same lockfile gives
 * the same bytes with the same npm: the date is that of SOURCE_DATE_EPOCH, if there is one.
 *
 * npm makes the list of everything, from which this takes what is shipped: with `--omit dev` npm 11 leaves out what development needs as well, such as ajv.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** This file runs compiled, two folders below. */
const root = fileURLToPath(new URL('../../', import.meta.url));
/** Development installs them, and the files of the console contain them. */
const bundled = new Set(['node_modules/preact', 'node_modules/uplot']);

interface Component {
  readonly 'bom-ref': string;
  name: string;
  scope?: string;
  properties?: readonly object[];
  components?: readonly object[];
}

interface Bom {
  serialNumber?: string;
  readonly metadata: { timestamp?: string; readonly component: Component };
  components: Component[];
  dependencies: { readonly ref: string; dependsOn: string[] }[];
}

interface Lockfile {
  readonly packages: Readonly<
    Record<string, { readonly name?: string; readonly version?: string; readonly dev?: boolean }>
  >;
}

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(path.join(root, name), 'utf8'));
}

/** `name@version` of everything that is shipped: npm's references. */
function listShipped(): Set<string> {
  const { packages } = readJson('package-lock.json') as Lockfile;
  const folder = 'node_modules/';
  const refs = Object.entries(packages)
    .filter(([place, { dev }]) => place.startsWith(folder) && (dev !== true || bundled.has(place)))
    .map(([place, { name, version }]) => {
      const alias = place.slice(place.lastIndexOf(folder) + folder.length);
      return `${name ?? alias}@${version ?? ''}`;
    });
  return new Set(refs);
}

function askNpm(): Bom {
  const options = ['--package-lock-only', '--offline', '--workspaces=false', '--sbom-type=application'];
  const text = execFileSync('npm', ['sbom', '--sbom-format=cyclonedx', ...options], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    shell: process.platform === 'win32',
  });
  return JSON.parse(text) as Bom;
}

function nameOf(ref: string): string {
  return ref.slice(0, ref.lastIndexOf('@'));
}

/** What it is for us: npm calls what is bundled optional, names an alias, and knows nothing of what is in the binaries. */
function describeComponent(component: Component): Component {
  const name = nameOf(component['bom-ref']);
  const described = { ...component, name, scope: 'required', properties: [] };
  if (name !== 'uws-pack') return described;
  const inside = { type: 'library', name: 'uWebSockets.js', licenses: [{ license: { id: 'Apache-2.0' } }] };
  return { ...described, components: [inside] };
}

function makeBom(): Bom {
  const bom = askNpm();
  const shipped = listShipped();
  const { component } = bom.metadata;
  // npm takes the name of the folder.
  component.name = nameOf(component['bom-ref']);
  bom.components = bom.components.filter((each) => shipped.has(each['bom-ref'])).map((each) => describeComponent(each));
  bom.dependencies = bom.dependencies
    .filter(({ ref }) => shipped.has(ref) || ref === component['bom-ref'])
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((other) => shipped.has(other)) }));
  const { SOURCE_DATE_EPOCH: epoch } = process.env;
  delete bom.metadata.timestamp;
  if (epoch !== undefined) bom.metadata.timestamp = new Date(Number(epoch) * 1000).toISOString();
  delete bom.serialNumber;
  bom.serialNumber = `urn:uuid:${makeUuid(JSON.stringify(bom))}`;
  return bom;
}

/** A UUID of version 8, from what it stands for. */
function makeUuid(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const [, , file = path.join(root, 'dist/slotcast.cdx.json')] = process.argv;
writeFileSync(file, `${JSON.stringify(makeBom(), undefined, 2)}\n`);
