import { readFileSync } from 'node:fs';

import { root } from './source-files.ts';

export interface LockedPackage {
  /** Where it is installed, from the root. */
  readonly place: string;
  readonly name: string;
  readonly version: string;
  readonly license: string | undefined;
}

interface LockEntry {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, object>>;
}

/** Everything that the packages of `package.json` need when they run, found as Node would find it: by following what each depends on through the lockfile, not by its marks. */
export function listProductionPackages(): LockedPackage[] {
  const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')) as {
    readonly packages: Readonly<Record<string, LockEntry>>;
  };
  const places = new Set(['']);
  for (const place of places) {
    const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = packages[place] ?? {};
    const optional = { ...optionalDependencies, ...peerDependenciesMeta };
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const found = findPlace(packages, place, name);
      if (found !== undefined) places.add(found);
      else if (!Object.hasOwn(optional, name)) throw new Error(`${place} needs ${name}, which is not locked`);
    }
  }
  places.delete('');
  return Array.from(places, (place) => {
    const { name, version = '', license } = packages[place] ?? {};
    return { place, name: name ?? place.slice(place.lastIndexOf(folder) + folder.length), version, license };
  });
}

const folder = 'node_modules/';

/** From the package's own folder of dependencies outwards. */
function findPlace(packages: Readonly<Record<string, LockEntry>>, from: string, name: string): string | undefined {
  for (let place = from; ; place = place.slice(0, Math.max(0, place.lastIndexOf(`/${folder}`)))) {
    const candidate = `${place === '' ? '' : `${place}/`}${folder}${name}`;
    if (candidate in packages) return candidate;
    if (place === '') return undefined;
  }
}
